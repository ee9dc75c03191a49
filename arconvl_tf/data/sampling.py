"""Which samples are drawn: the options that all data sets share, and draws that depend on the seed alone."""

import dataclasses

import numpy as np
from sklearn.model_selection import train_test_split

from arconvl_tf.data.augmentation import AUGMENTATIONS
from arconvl_tf.data.checks import require_whole
from arconvl_tf.data.imbalance import Imbalance


@dataclasses.dataclass(frozen=True)
class Sampling:
    """What is drawn from a data set, in which order and how it is changed; checked before any picture is read.

    Args:
        imbalance: `Imbalance`, or its factor.
        seed, batch_size, augmentation: see `arrays.make_splits`.
        split_seed: divides the samples among the sides; by default that of the imbalance, or `seed`.
        validation_share: of the training samples, in 0..1; 0 sets none aside.
        epoch_cap: how many samples of a class an epoch draws at most, in multiples of the classes' mean; every epoch draws
            others. By default all of them.

    Raises:
        ValueError: on a value that makes no sense.

    Example:
        >>> Sampling(10, seed=3).sides_seed, Sampling(Imbalance(10, seed=0), seed=3).sides_seed
        (3, 0)
    """

    imbalance: float | Imbalance = 1.0
    seed: int = 0
    batch_size: int = 128
    augmentation: str = "none"
    split_seed: int | None = None
    validation_share: float = 0.1
    epoch_cap: float | None = None

    def __post_init__(self):
        object.__setattr__(self, "imbalance", Imbalance.of(self.imbalance))
        require_whole(self.seed, "seed", 0)
        require_whole(self.batch_size, "batch_size", 1)
        if self.split_seed is not None:
            require_whole(self.split_seed, "split_seed", 0)
        if self.augmentation not in AUGMENTATIONS:
            names = ", ".join(AUGMENTATIONS)
            raise ValueError(f"Expected `augmentation` to be one of {names}. Received: {self.augmentation!r}")

    @property
    def sides_seed(self) -> int:
        """Chooses samples and divides them among the sides; `seed` decides order and augmentation."""
        return next(seed for seed in (self.split_seed, self.imbalance.seed, self.seed) if seed is not None)


def stratified_counts(class_counts: np.ndarray, share: float) -> np.ndarray:
    """How many samples of each class make up a share of all of them.

    Whole numbers by the largest remainders, equal remainders to the lower class: a quarter of iNaturalist 2018 gives
    the supplement's counts.

    Args:
        class_counts: samples of each class, shape (k,).
        share: in 0..1.

    Returns:
        Integer array of shape (k,), whose sum is `⌊share · Σ N⌋`.

    Example:
        >>> stratified_counts([6, 10, 2], share=0.25).tolist()
        [2, 2, 0]
    """
    exact = np.asarray(class_counts) * share
    counts = np.floor(exact).astype("int64")
    remaining = int(np.floor(np.sum(class_counts) * share)) - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:remaining]] += 1
    return counts


def subsample(labels: np.ndarray, target_counts: np.ndarray, seed: int) -> np.ndarray:
    """Draws `target_counts[j]` samples of every class j without replacement.

    Draws are nested: with the same seed a smaller count is a part of a larger one, so a sweep over the imbalance
    compares like with like.

    Args:
        labels: integers in 0..k−1, shape (n,).
        target_counts: shape (k,), at most the counts at hand.
        seed: integer.

    Returns:
        Sorted indices into `labels`.

    Raises:
        ValueError: if a class has too few samples.

    Example:
        >>> labels = np.array([0, 1, 1, 1, 0, 1])
        >>> labels[subsample(labels, [2, 3], seed=0)].tolist()
        [0, 1, 1, 0, 1]
    """
    chosen = []
    for label, target in enumerate(target_counts):
        at_hand = np.flatnonzero(labels == label)
        if target > len(at_hand):
            raise ValueError(f"Expected at most {len(at_hand)} samples of class {label}. Received: {int(target)}")
        order = np.random.default_rng([seed, label]).permutation(len(at_hand))
        chosen.append(at_hand[order[:target]])
    return np.sort(np.concatenate(chosen))


def stratified_split(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Holds a stratified share out, of every class of two samples or more; one sample alone stays.

    Args:
        labels: integers, shape (n,).
        share: in 0..1.
        seed: integer.

    Returns:
        (kept, held out): sorted indices into `labels`.

    Raises:
        ValueError: if there are too few samples for all classes to stand on both sides.

    Example:
        >>> labels = np.array([0, 0, 0, 0, 1, 1, 2])
        >>> kept, held_out = stratified_split(labels, share=0.3, seed=0)
        >>> labels[kept].tolist(), labels[held_out].tolist()
        ([0, 0, 0, 1, 2], [0, 1])
    """
    lonely = np.bincount(labels)[labels] < 2
    splittable = np.flatnonzero(~lonely)
    strata = labels[splittable]
    present = np.unique(strata)
    size = max(round(share * len(splittable)), len(present))
    if not len(present) or len(splittable) - size < len(present):
        raise ValueError(
            f"Expected enough samples to hold a share of {share} of every class out. "
            f"Received: {len(labels)} samples of {len(np.unique(labels))} classes"
        )
    kept, held_out = train_test_split(np.arange(len(splittable)), test_size=size, stratify=strata, random_state=seed)
    # A share of a few samples may round to none.
    absent = np.setdiff1d(present, strata[held_out])
    moved = np.array([kept[strata[kept] == label].min() for label in absent], dtype="int64")
    kept, held_out = np.setdiff1d(kept, moved), np.concatenate([held_out, moved])
    return np.sort(np.concatenate([splittable[kept], np.flatnonzero(lonely)])), np.sort(splittable[held_out])
