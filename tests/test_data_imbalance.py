import dataclasses
import itertools
import json

import numpy as np
import tensorflow as tf

from arconvl_tf.data import Imbalance, imbalance, sampling
from arconvl_tf.experiments.tables import published_class_counts

NAMES = ("Mnist", "Fashion", "SVHN", "Cifar10")


class OptionsTest(tf.test.TestCase):
    def test_a_number_stands_for_an_imbalance(self):
        asked = Imbalance(10, minority="odd")
        self.assertIs(Imbalance.of(asked), asked)
        for number in (10, 10.0, np.float32(10), np.int64(10)):
            self.assertEqual(Imbalance.of(number), Imbalance(10.0))
            self.assertIs(type(Imbalance.of(number).factor), float)

    def test_what_is_written_down_is_read_again_as_an_equal_one(self):
        for asked in [
            Imbalance(),
            Imbalance(100, minority="last", seed=3),
            Imbalance(2.2, minority=[3, 1]),
            Imbalance(5, minority=np.array(["owl", "cat"])),
            Imbalance(50, profile="exponential", seed=np.int64(7)),
            Imbalance(keep={3: 5, "owl": np.int64(1), 10: 2}),
        ]:
            written = json.dumps(dataclasses.asdict(asked))
            again = Imbalance(**json.loads(written))
            self.assertEqual(again, asked)
            self.assertEqual(hash(again), hash(asked))
            self.assertEqual(json.dumps(dataclasses.asdict(again)), written)

    def test_who_asks_for_the_same_is_equal(self):
        self.assertEqual(Imbalance(5, minority=(1, 3, 1)), Imbalance(5.0, minority=["3", "1"]))
        self.assertEqual(Imbalance(keep={"b": 1, "a": 2}), Imbalance(keep={"a": 2, "b": 1}))
        self.assertEqual(Imbalance(keep={}), Imbalance())
        for other in (Imbalance(4), Imbalance(5, seed=0), Imbalance(5, minority="odd"), Imbalance(keep={"a": 1})):
            self.assertNotEqual(Imbalance(5), other)
        self.assertNotEqual(Imbalance(keep={"a": 1}), Imbalance(keep={"a": 2}))

    def test_it_cannot_be_changed(self):
        with self.assertRaises(dataclasses.FrozenInstanceError):
            Imbalance(5).factor = 6
        counts = {"a": 1}
        asked = Imbalance(keep=counts)
        counts["a"] = 2
        self.assertEqual(asked.keep, {"a": 1})

    def test_the_choices_beside_the_factor_are_named(self):
        with self.assertRaises(TypeError):
            Imbalance(10, "odd")

    def test_what_makes_no_sense_is_refused_before_the_classes_are_known(self):
        for factor in (0.5, -3, float("nan"), float("inf"), "10", None, [10]):
            with self.assertRaisesRegex(ValueError, "finite number ≥ 1. Received: factor="):
                Imbalance(factor)
        for options, text in [
            ({"minority": "first"}, '"even", "odd", "last" or a list of classes. Received: \'first\''),
            ({"minority": 3}, "a list of classes. Received: 3"),
            ({"profile": "linear"}, '"step" or "exponential". Received: profile=\'linear\''),
            ({"profile": "exponential", "minority": [1]}, r"no `minority` .*minority=\('1',\)"),
            ({"keep": {1: 4}, "factor": 2}, "`keep` alone.*factor=2"),
            ({"keep": {1: 4}, "profile": "exponential"}, "`keep` alone"),
            ({"keep": {1: 4}, "minority": "odd"}, "`keep` alone"),
            ({"keep": [1, 2, 3]}, "to map classes"),
            ({"seed": -1}, "`seed` to be a whole number ≥ 0"),
            ({"seed": 0.5}, "seed=0.5"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                Imbalance(**options)

    def test_minorities_by_name_and_by_number(self):
        names = ["owl", "cat", "newt"]
        for minority in (["cat", "newt"], [1, 2], ("newt", 1, "cat")):
            self.assertAllEqual(Imbalance(10, minority=minority).counts([50, 60, 70], names), [50, 6, 7])
        self.assertAllEqual(Imbalance(10, minority=[0, 2]).counts([50, 60, 70]), [5, 60, 7])
        with self.assertRaisesRegex(ValueError, "among owl, cat, newt. Received: 'fox'"):
            Imbalance(10, minority=["fox"]).counts([50, 60, 70], names)
        with self.assertRaisesRegex(ValueError, r"leaves none of class cat with its 60 samples"):
            Imbalance(61, minority="odd").counts([50, 60, 70], names)


class PublishedCountsTest(tf.test.TestCase):
    def test_all_twenty_data_sets_of_the_supplement(self):
        """From the counts at imbalance 1 follow those at 10, 20, 50 and 100."""
        published = published_class_counts()
        for name in NAMES:
            balanced = published[f"{name}-1"][0]
            for q in (1, 10, 20, 50, 100):
                self.assertAllEqual(Imbalance(q).counts(balanced), published[f"{name}-{q}"][0], f"{name}-{q}")


class ExponentialProfileTest(tf.test.TestCase):
    def test_counts_of_the_literature(self):
        counts = Imbalance(100, profile="exponential").counts([5000] * 10)
        self.assertAllEqual(counts, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])
        hundred = Imbalance(100, profile="exponential").counts([500] * 100)
        self.assertEqual((hundred[0], hundred[-1], hundred.sum()), (500, 5, 10847))

    def test_has_no_minority_classes_to_choose(self):
        with self.assertRaisesRegex(ValueError, "minority='odd'"):
            Imbalance(4, minority="odd", profile="exponential")

    def test_a_class_keeps_at_most_what_it_has(self):
        self.assertAllEqual(Imbalance(4, profile="exponential").counts([100, 20, 100]), [100, 20, 25])


class SubsampleTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.labels = np.random.default_rng(0).integers(0, 4, 1000)
        self.counts = np.bincount(self.labels)

    def test_exact_counts_without_replacement(self):
        target = Imbalance(10).counts(self.counts)
        chosen = sampling.subsample(self.labels, target, seed=3)
        self.assertAllEqual(np.bincount(self.labels[chosen]), target)
        self.assertLen(np.unique(chosen), len(chosen))

    def test_depends_on_the_seed_alone(self):
        target = Imbalance(10).counts(self.counts)
        first, again, other = [sampling.subsample(self.labels, target, seed) for seed in (3, 3, 4)]
        self.assertAllEqual(first, again)
        self.assertNotEqual(set(first), set(other))

    def test_larger_imbalance_keeps_a_part_of_what_a_smaller_one_keeps(self):
        draws = [
            set(sampling.subsample(self.labels, Imbalance(q).counts(self.counts), seed=0))
            for q in (1, 10, 20, 50)
        ]
        for larger, smaller in itertools.pairwise(draws):
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
            Imbalance(2, profile="linear")
        for q, text in [(0.5, "≥ 1"), (float("nan"), "≥ 1"), (51, "none of class 0")]:
            with self.assertRaisesRegex(ValueError, text):
                Imbalance(q).counts([50, 100])


class StratifiedCountsTest(tf.test.TestCase):
    def test_whole_numbers_by_largest_remainder(self):
        self.assertAllEqual(sampling.stratified_counts([10, 10, 10, 10], 0.25), [3, 3, 2, 2])
        self.assertAllEqual(sampling.stratified_counts([7, 4, 1], 0.5), [4, 2, 0])
        for share in (0.0, 0.1, 1 / 3, 1.0):
            counts = np.array([3, 50, 701, 1])
            drawn = sampling.stratified_counts(counts, share)
            self.assertEqual(drawn.sum(), int(np.floor(counts.sum() * share)))
            self.assertAllInRange(drawn - counts * share, -1, 1)


class ExplicitCountsTest(tf.test.TestCase):
    def test_named_classes_lose_samples(self):
        names = ["owl", "cat", "newt"]
        self.assertAllEqual(Imbalance(keep={"owl": 50, 2: 1}).counts([50, 60, 70], names), [50, 60, 1])
        self.assertAllEqual(Imbalance(keep={3: 1}).counts([50, 60, 70], ["1", "3", "4"]), [50, 1, 70])

    def test_refuses_what_is_not_at_hand(self):
        for keep, text in [
            ({"fox": 1}, "among owl, cat, newt. Received: 'fox'"),
            ({3: 1}, "among owl, cat, newt. Received: '3'"),
            ({"cat": 61}, "1 to 60 samples of class cat"),
            ({"cat": 0}, r"`keep\['cat'\]` to be a whole number ≥ 1. Received: keep\['cat'\]=0"),
            ({"cat": 2.5}, r"whole number ≥ 1. Received: keep\['cat'\]=2.5"),
            ({"cat": 5, 7: 1, "7": 2}, "one count for a class.*in two forms"),
            (["cat"], "to map classes to samples"),
            ({"cat": 5, 1: 6}, "one count for class cat"),
        ]:
            with self.assertRaisesRegex(ValueError, text):
                Imbalance(keep=keep).counts([50, 60, 70], ["owl", "cat", "newt"])
        with self.assertRaisesRegex(ValueError, "Received: '0'"):
            imbalance.class_number(0, ["1", "2"])

    def test_a_fraction_of_a_sample_is_no_rounding_error(self):
        self.assertAllEqual(Imbalance(2.2).counts([66, 66]), [30, 66])
