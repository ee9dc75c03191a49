import numpy as np
import tensorflow as tf

from arconvl_tf.data import imbalance
from arconvl_tf.experiments.tables import published_class_counts

NAMES = ("Mnist", "Fashion", "SVHN", "Cifar10")


class PublishedCountsTest(tf.test.TestCase):
    def test_all_twenty_data_sets_of_the_supplement(self):
        """From the counts at imbalance 1 follow those at 10, 20, 50 and 100."""
        published = published_class_counts()
        for name in NAMES:
            balanced = published[f"{name}-1"][0]
            for q in (1, 10, 20, 50, 100):
                self.assertAllEqual(imbalance.imbalanced_counts(balanced, q), published[f"{name}-{q}"][0], f"{name}-{q}")


class ExponentialProfileTest(tf.test.TestCase):
    def test_counts_of_the_literature(self):
        counts = imbalance.imbalanced_counts([5000] * 10, 100, profile="exponential")
        self.assertAllEqual(counts, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])
        hundred = imbalance.imbalanced_counts([500] * 100, 100, profile="exponential")
        self.assertEqual((hundred[0], hundred[-1], hundred.sum()), (500, 5, 10847))

    def test_has_no_minority_classes_to_choose(self):
        with self.assertRaisesRegex(ValueError, "minority='odd'"):
            imbalance.imbalanced_counts([100, 20], 4, minority="odd", profile="exponential")

    def test_a_class_keeps_at_most_what_it_has(self):
        self.assertAllEqual(imbalance.imbalanced_counts([100, 20, 100], 4, profile="exponential"), [100, 20, 25])


class SubsampleTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.labels = np.random.default_rng(0).integers(0, 4, 1000)
        self.counts = np.bincount(self.labels)

    def test_exact_counts_without_replacement(self):
        target = imbalance.imbalanced_counts(self.counts, 10)
        chosen = imbalance.subsample(self.labels, target, seed=3)
        self.assertAllEqual(np.bincount(self.labels[chosen]), target)
        self.assertLen(np.unique(chosen), len(chosen))

    def test_depends_on_the_seed_alone(self):
        target = imbalance.imbalanced_counts(self.counts, 10)
        first, again, other = [imbalance.subsample(self.labels, target, seed) for seed in (3, 3, 4)]
        self.assertAllEqual(first, again)
        self.assertNotEqual(set(first), set(other))

    def test_larger_imbalance_keeps_a_part_of_what_a_smaller_one_keeps(self):
        draws = [
            set(imbalance.subsample(self.labels, imbalance.imbalanced_counts(self.counts, q), seed=0)) for q in (1, 10, 20, 50)
        ]
        for larger, smaller in zip(draws, draws[1:]):
            self.assertTrue(smaller < larger)


class MinorityTest(tf.test.TestCase):
    def test_choices(self):
        self.assertAllEqual(imbalance.minority_classes(5, "even"), [0, 2, 4])
        self.assertAllEqual(imbalance.minority_classes(5, "odd"), [1, 3])
        self.assertAllEqual(imbalance.minority_classes(10, "last"), [5, 6, 7, 8, 9])
        self.assertAllEqual(imbalance.minority_classes(5, [3, 1, 3]), [1, 3])

    def test_refuses_what_makes_no_sense(self):
        for arguments, text in [((5, "first"), "even"), ((5, [5]), r"0\.\.4"), ((2, [0, 1]), "at least one")]:
            with self.assertRaisesRegex(ValueError, text):
                imbalance.minority_classes(*arguments)
        with self.assertRaisesRegex(ValueError, "exponential"):
            imbalance.imbalanced_counts([50, 100], 2, profile="linear")
        for q, text in [(0.5, "≥ 1"), (float("nan"), "≥ 1"), (51, "none of class 0")]:
            with self.assertRaisesRegex(ValueError, text):
                imbalance.imbalanced_counts([50, 100], q)


class StratifiedCountsTest(tf.test.TestCase):
    def test_whole_numbers_by_largest_remainder(self):
        self.assertAllEqual(imbalance.stratified_counts([10, 10, 10, 10], 0.25), [3, 3, 2, 2])
        self.assertAllEqual(imbalance.stratified_counts([7, 4, 1], 0.5), [4, 2, 0])
        for share in (0.0, 0.1, 1 / 3, 1.0):
            counts = np.array([3, 50, 701, 1])
            drawn = imbalance.stratified_counts(counts, share)
            self.assertEqual(drawn.sum(), int(np.floor(counts.sum() * share)))
            self.assertAllInRange(drawn - counts * share, -1, 1)


class ExplicitCountsTest(tf.test.TestCase):
    def test_named_classes_lose_samples(self):
        names = ["owl", "cat", "newt"]
        self.assertAllEqual(imbalance.explicit_counts([50, 60, 70], {"owl": 50, 2: 1}, names), [50, 60, 1])
        self.assertAllEqual(imbalance.explicit_counts([50, 60, 70], {3: 1}, ["1", "3", "4"]), [50, 1, 70])

    def test_refuses_what_is_not_at_hand(self):
        for keep, text in [
            ({"fox": 1}, "among owl, cat, newt. Received: 'fox'"),
            ({3: 1}, "Received: 3"),
            ({"cat": 61}, "1 to 60 samples of class cat"),
            ({"cat": 0}, "1 to 60"),
            ({"cat": 2.5}, "Received: 2.5"),
            ({"cat": 5, 1: 6}, "one count for class cat"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                imbalance.explicit_counts([50, 60, 70], keep, ["owl", "cat", "newt"])
        with self.assertRaisesRegex(ValueError, "Received: 0"):
            imbalance.class_number(0, ["1", "2"])

    def test_a_fraction_of_a_sample_is_no_rounding_error(self):
        self.assertAllEqual(imbalance.imbalanced_counts([66, 66], 2.2), [30, 66])
