import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import binomtest, gmean

from arconvl_tf.experiments.pooling import bootstrap_interval, recall_intervals


def clustered(rng, groups_of_class, concentration=4.0, hit_rates=(0.9, 0.75, 0.6)):
    """Labels, predictions and groups; each group has a hit rate of its own, Beta with the class's mean."""
    labels, predicted, groups = [], [], []
    for label, number in enumerate(groups_of_class):
        for _ in range(number):
            size = rng.integers(1, 7)
            rate = rng.beta(concentration * hit_rates[label], concentration * (1 - hit_rates[label]))
            hits = rng.random(size) < rate
            predicted += np.where(hits, label, (label + 1) % 3).tolist()
            labels += [label] * size
            groups += [len(groups) and groups[-1] + 1] * size
    return np.array(labels), np.array(predicted), np.array(groups)


def slow_interval(labels, predicted, groups, average, repeats, seed):
    """One resample after the other."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    values = []
    for _ in range(repeats):
        chosen = np.concatenate([members[number] for number in rng.integers(0, len(members), len(members))])
        hits = labels[chosen] == predicted[chosen]
        values.append(average([hits[labels[chosen] == label].mean() for label in np.unique(labels[chosen])]))
    return np.quantile(values, [0.025, 0.975])


class BootstrapTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_equals_one_resample_after_the_other(self):
        """Of 4000 resamples each, whose quantiles scatter by about a hundredth of the interval's width."""
        rng = np.random.default_rng(0)
        labels, predicted, groups = clustered(rng, (20, 8, 3))
        mixed = np.where(np.arange(len(groups)) % 3, groups, groups[::-1])
        for own, measure in ((groups, "g_mean"), (mixed, "g_mean"), (mixed, "class_wise_accuracy"), (None, "g_mean")):
            fast = bootstrap_interval(labels, predicted, own, measure=measure, repeats=4000)
            average = gmean if measure == "g_mean" else np.mean
            slow = slow_interval(labels, predicted, np.arange(len(labels)) if own is None else own, average, 4000, seed=1)
            self.assertAllClose(fast, slow, atol=0.05 * (slow[1] - slow[0]), msg=f"{measure}, {own is None}")

    def test_copies_of_a_sample_are_no_further_witnesses(self):
        rng = np.random.default_rng(0)
        labels = np.repeat([0, 1], [40, 20])
        predicted = np.where(rng.random(60) < 0.8, labels, 1 - labels)
        copied = [np.repeat(values, 9) for values in (labels, predicted)]
        alone = bootstrap_interval(labels, predicted)
        self.assertAllEqual(bootstrap_interval(*copied, np.repeat(np.arange(60), 9)), alone)
        low, high = bootstrap_interval(*copied)
        self.assertAllClose(high - low, (alone[1] - alone[0]) / 3, rtol=0.15)  # √9

    def test_closed_forms(self):
        labels = np.repeat([0, 1, 2], 30)
        for predicted, expected in ((labels, 1.0), (np.where(labels == 2, 0, labels), 0.0)):
            self.assertEqual(bootstrap_interval(labels, predicted), (expected, expected))
        # Two samples of one class: recall 0, ½ and 1 in a quarter, a half and a quarter of the resamples.
        for level, expected in ((0.4, (0.5, 0.5)), (0.6, (0.0, 1.0))):
            self.assertEqual(bootstrap_interval([0, 0], [0, 1], level=level), expected)

    def test_a_class_that_a_resample_lacks_is_left_out(self):
        """Class 1, of one group and never found, is lacking in 37 % of the resamples, whose G-mean is then 1."""
        labels, predicted = np.repeat([0, 1], [50, 5]), np.zeros(55, int)
        groups = np.r_[np.arange(50), np.full(5, 50)]
        self.assertEqual(bootstrap_interval(labels, predicted, groups), (0.0, 1.0))
        self.assertEqual(bootstrap_interval(labels, predicted, groups, level=0.2), (0.0, 0.0))

    def test_seeds_repeats_and_names_of_groups(self):
        labels, predicted, groups = clustered(np.random.default_rng(0), (12, 9, 7))
        first = bootstrap_interval(labels, predicted, groups, seed=3)
        words = np.array([f"tile {group:03}" for group in groups])
        self.assertEqual(bootstrap_interval(labels, predicted, words, seed=3), first)
        self.assertNotEqual(bootstrap_interval(labels, predicted, groups, seed=4), first)
        one = bootstrap_interval(labels, predicted, groups, repeats=1)
        self.assertEqual(one[0], one[1])

    @pytest.mark.slow
    def test_covers_the_truth(self):
        """300 simulated sets of 40, 25 and 15 groups a class; at 95 % the standard error is 1.3 points."""
        rng, truth = np.random.default_rng(0), gmean([0.9, 0.75, 0.6])
        covered = {"groups": 0, "samples": 0}
        for trial in range(300):
            labels, predicted, groups = clustered(rng, (40, 25, 15), concentration=1.5)
            for name, own in (("groups", groups), ("samples", None)):
                low, high = bootstrap_interval(labels, predicted, own, repeats=300, seed=trial)
                covered[name] += low <= truth <= high
        self.assertGreater(covered["groups"] / 300, 0.88)
        self.assertLess(covered["samples"] / 300, 0.85)  # why groups matter

    def test_what_makes_no_sense(self):
        for arguments, options, text in [
            (([0, 1], [0, 1]), {"measure": "accuracy"}, "g_mean, class_wise_accuracy. Received: 'accuracy'"),
            (([0, 1], [0]), {}, "one length ≥ 1. Received: 2, 1 and 2"),
            (([0, 1], [0, 1], [3]), {}, "Received: 2, 2 and 1"),
            (([], []), {}, "Received: 0, 0 and 0"),
        ]:
            with self.assertRaisesRegex(ValueError, f"^Expected .*{text}$"):
                bootstrap_interval(*arguments, **options)


class RecallIntervalsTest(tf.test.TestCase):
    def test_equal_scipys(self):
        confusion = np.array([[50, 3, 2], [0, 7, 0], [4, 0, 0]])
        for level in (0.9, 0.95):
            found = recall_intervals(confusion, level)
            for own, (hits, samples) in zip(found, [(50, 55), (7, 7), (0, 4)]):
                expected = binomtest(hits, samples).proportion_ci(level, method="wilson")
                self.assertAllClose(own, [expected.low, expected.high], atol=1e-12)
        self.assertEqual((found[1, 1], found[2, 0]), (1.0, 0.0))

    def test_a_class_without_samples_has_none(self):
        self.assertAllEqual(np.isnan(recall_intervals([[3, 1], [0, 0]])), [[False, False], [True, True]])
