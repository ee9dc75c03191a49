import itertools

import numpy as np
import tensorflow as tf
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from arconvl_tf.data.folds import folds, held_out, shared_groups
from arconvl_tf.data.sampling import stratified_split


def random_data(rng, mixed):
    """(labels, groups) of a few classes; groups are of one class each, or of several if `mixed`."""
    number, classes = rng.integers(4, 10), rng.integers(2, 5)
    groups = np.concatenate([np.arange(number), rng.integers(0, number, rng.integers(1, 30))])
    labels = rng.integers(0, classes, number)[groups]
    if mixed:
        labels = np.where(rng.random(len(groups)) < 0.6, labels, rng.integers(0, classes, len(groups)))
    return np.unique(labels, return_inverse=True)[1], groups


def members_of(labels, groups):
    members = np.zeros((groups.max() + 1, labels.max() + 1), int)
    np.add.at(members, (groups, labels), 1)
    return members


def can_be_divided(members):
    """Whether some side holds every class of two groups or more while the other does so too; tries all."""
    groups_of_class = (members > 0).sum(axis=0)
    bound = members[:, groups_of_class == 1].any(axis=1)
    wanted = groups_of_class > 1
    for bits in itertools.product([False, True], repeat=len(members)):
        side = np.array(bits)
        if not (side & bound).any() and all((members[part].sum(axis=0)[wanted] > 0).all() for part in (side, ~side)):
            return True
    return False


class FoldsTest(tf.test.TestCase):
    def test_every_sample_is_tested_once_and_no_group_is_torn(self):
        rng = np.random.default_rng(0)
        labels = rng.choice(3, 300, p=[0.7, 0.2, 0.1])
        for groups in (None, rng.integers(0, 80, 300), rng.integers(0, 80, 300).astype("str")):
            for seed in range(3):
                found = folds(labels, groups, 5, seed)
                self.assertLen(found, 5)
                self.assertAllEqual(np.sort(np.concatenate([test for _, test in found])), np.arange(300))
                for train, test in found:
                    self.assertAllEqual(np.sort(np.concatenate([train, test])), np.arange(300))
                    self.assertAllEqual(np.unique(labels[train]), [0, 1, 2])
                    if groups is not None:
                        self.assertEmpty(shared_groups(groups[train], groups[test]))
                    shares = np.bincount(labels[test], minlength=3) / np.bincount(labels)
                    self.assertAllClose(shares, np.full(3, 0.2), atol=0.08)

    def test_they_are_scikit_learns(self):
        rng = np.random.default_rng(1)
        labels, groups = rng.integers(0, 3, 120), rng.integers(0, 40, 120)
        for found, reference in (
            (folds(labels, None, 4, seed=7), StratifiedKFold(4, shuffle=True, random_state=7).split(labels, labels)),
            (
                folds(labels, groups, 4, seed=7),
                StratifiedGroupKFold(4, shuffle=True, random_state=7).split(labels, labels, groups),
            ),
        ):
            for (train, test), (expected_train, expected_test) in zip(found, reference):
                self.assertAllEqual(train, expected_train)
                self.assertAllEqual(test, expected_test)

    def test_groups_of_one_sample_each_change_nothing(self):
        labels = np.arange(40) % 3
        for (_, test), (_, expected) in zip(folds(labels, np.arange(40)[::-1], 5, 0), folds(labels, None, 5, 0)):
            self.assertAllEqual(test, expected)

    def test_seeds(self):
        labels = np.arange(60) % 3
        tested = [np.concatenate([test for _, test in folds(labels, None, 3, seed)]).tolist() for seed in (0, 0, 1)]
        self.assertEqual(tested[0], tested[1])
        self.assertNotEqual(tested[0], tested[2])

    def test_a_scarce_class_is_named_with_what_to_do(self):
        labels = np.repeat([0, 1, 2], [20, 4, 9])
        grouped = np.repeat(np.arange(11), 3)  # class 1 shares a group with each neighbour
        for groups, number, names, text in [
            (None, 5, None, "least 5 samples of every class for 5 folds. Received: 4 of class 1. Take 4 folds, add samples"),
            (None, 5, ["a", "b", "c"], "4 of class 'b'. .* merge it with another class, or leave it out"),
            (grouped, 3, ["a", "b", "c"], "least 3 groups of every class .* Received: 2 of class 'b'. Take 2 folds"),
            (None, 2, ["a", "b", "c", "d"], "Received: 0 of class 'd'. Add samples of it"),
            (np.minimum(np.arange(33), 29), 5, None, "Received: 4 of class"),
            (None, 1, None, "number of folds.* ≥ 2"),
        ]:
            with self.subTest(text=text), self.assertRaisesRegex(ValueError, f"^Expected .*{text}[^\n]*$"):
                folds(labels, groups, number, 0, names)

    def test_training_that_would_lack_a_class_is_refused(self):
        """Enough groups, but one fold would take all of a class: found by a search over small mixed groups."""
        rng, refused = np.random.default_rng(0), 0
        for _ in range(300):
            labels, groups = random_data(rng, mixed=True)
            try:
                found = folds(labels, groups, 2, 0)
            except ValueError as error:
                self.assertRegex(str(error), "^Expected (at least 2 groups|groups that leave)")
                refused += "groups that leave" in str(error)
                continue
            for train, _ in found:
                self.assertAllEqual(np.unique(labels[train]), np.unique(labels))
        self.assertGreater(refused, 0)


class HeldOutTest(tf.test.TestCase):
    def test_no_group_on_both_sides_and_every_class_wherever_it_can_be(self):
        rng = np.random.default_rng(0)
        for trial in range(200):
            mixed = bool(trial % 2)
            labels, groups = random_data(rng, mixed)
            members = members_of(labels, groups)
            try:
                kept, apart = held_out(labels, groups, share=(0.1, 0.2, 0.34, 0.5)[trial // 2 % 4], seed=trial)
            except ValueError as error:
                self.assertRegex(str(error), "^Expected enough groups")
                lonely = (members > 0).sum(axis=0) == 1
                self.assertTrue(members[:, lonely].any(axis=1).all())
                continue
            self.assertAllEqual(np.sort(np.concatenate([kept, apart])), np.arange(len(labels)))
            self.assertEmpty(shared_groups(groups[kept], groups[apart]))
            self.assertAllEqual(np.unique(labels[kept]), np.unique(labels))
            if not mixed or can_be_divided(members):
                several = np.flatnonzero((members > 0).sum(axis=0) > 1)
                self.assertContainsSubset(several, np.unique(labels[apart]))

    def test_shares_of_every_class_are_near_the_wanted_one(self):
        rng = np.random.default_rng(0)
        groups = rng.integers(0, 300, 1500)
        labels = rng.choice(4, 300, p=[0.6, 0.2, 0.15, 0.05])[groups]
        for share in (0.1, 0.2, 0.5):
            _, apart = held_out(labels, groups, share, seed=0)
            shares = np.bincount(labels[apart], minlength=4) / np.bincount(labels)
            self.assertAllClose(shares, np.full(4, share), atol=0.05)

    def test_a_class_of_one_group_stays(self):
        labels, groups = np.repeat([0, 1], [12, 5]), np.r_[np.repeat(np.arange(6), 2), np.full(5, 9)]
        kept, apart = held_out(labels, groups, 0.2, seed=0)
        self.assertAllEqual(np.bincount(labels[kept]), [10, 5])
        self.assertAllEqual(labels[apart], [0, 0])

    def test_without_groups_it_is_the_stratified_split(self):
        labels = np.repeat([0, 1, 2], [30, 8, 1])
        for groups in (None, np.arange(39), [f"g{number}" for number in range(39)]):
            for found, expected in zip(held_out(labels, groups, 0.2, 3), stratified_split(labels, 0.2, 3)):
                self.assertAllEqual(found, expected)

    def test_seeds(self):
        labels, groups = np.arange(80) % 2, np.repeat(np.arange(20), 4)
        sides = [held_out(labels, groups, 0.2, seed)[1].tolist() for seed in (0, 0, 1)]
        self.assertEqual(sides[0], sides[1])
        self.assertNotEqual(sides[0], sides[2])

    def test_what_cannot_be_divided(self):
        for labels, groups, share, text in [
            ([0, 0, 1, 1], [0, 0, 1, 1], 0.2, "enough groups .* Received: 2 groups of 2 classes. Give test and validation"),
            ([0, 0, 1, 1], [5, 5, 5, 5], 0.2, "Received: 1 groups"),
            ([0, 0, 1, 1], None, 0.6, "share to hold out in 0..0.5. Received: 0.6"),
            ([0, 0, 1, 1], None, 0, "Received: 0"),
        ]:
            with self.subTest(text=text), self.assertRaisesRegex(ValueError, f"^Expected .*{text}[^\n]*$"):
                held_out(np.array(labels), groups, share, 0)


class SharedGroupsTest(tf.test.TestCase):
    def test_numbers_and_words(self):
        self.assertEqual(shared_groups(np.array([3, 1, 1]), np.array([1, 3, 4, 4])), [1, 3])
        self.assertEqual(shared_groups(np.array(["b"]), np.array(["a"])), [])
