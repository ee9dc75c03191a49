"""Which classes lose samples, how many they keep, and which samples those are."""

import numpy as np


def minority_classes(num_classes, minority="even"):
    """Resolves a choice of minority classes to sorted class numbers.

    Args:
        num_classes: `k`.
        minority: `"even"` (the paper's choice: classes 0, 2, 4, …), `"odd"`, or a list of class numbers.

    Raises:
        ValueError: on another word, a number outside 0..k−1, or when no class is left as a majority.

    Example:
        >>> minority_classes(5, "even").tolist()
        [0, 2, 4]
    """
    if isinstance(minority, str):
        if minority not in ("even", "odd"):
            raise ValueError(f'Expected `minority` to be "even", "odd" or a list of classes. Received: {minority!r}')
        return np.arange(int(minority == "odd"), num_classes, 2)
    chosen = np.unique(np.asarray(list(minority), dtype="int64"))
    if len(chosen) and (chosen[0] < 0 or chosen[-1] >= num_classes):
        raise ValueError(f"Expected minority classes within 0..{num_classes - 1}. Received: {chosen.tolist()}")
    if len(chosen) == num_classes:
        raise ValueError(f"Expected at least one class that keeps its samples. Received: minority={chosen.tolist()}")
    return chosen


def imbalanced_counts(class_counts, imbalance, minority="even"):
    """The paper's step profile: minority classes keep `⌊N_j / q⌋` of their samples, the others all.

    Args:
        class_counts: samples of each class at hand, shape (k,).
        imbalance: `q` ≥ 1.
        minority: see `minority_classes`.

    Returns:
        Integer array of shape (k,).

    Raises:
        ValueError: if q < 1, or so large that a class would vanish.

    Example:
        >>> imbalanced_counts([5923, 6742, 5958], imbalance=100).tolist()
        [59, 6742, 59]
    """
    counts = np.array(class_counts, dtype="int64")
    if not imbalance >= 1 or not np.isfinite(imbalance):
        raise ValueError(f"Expected `imbalance` to be a number ≥ 1. Received: imbalance={imbalance}")
    classes = minority_classes(len(counts), minority)
    counts[classes] = np.floor(counts[classes] / imbalance).astype("int64")
    vanished = np.flatnonzero(counts == 0)
    if len(vanished):
        raise ValueError(
            f"Expected an `imbalance` that leaves every class at least one sample; imbalance={imbalance:g} leaves "
            f"none of class {vanished[0]}, which has {int(np.asarray(class_counts)[vanished[0]])} samples"
        )
    return counts


def subsample(labels, target_counts, seed):
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
    """
    chosen = []
    for label, target in enumerate(target_counts):
        at_hand = np.flatnonzero(labels == label)
        if target > len(at_hand):
            raise ValueError(f"Expected at most {len(at_hand)} samples of class {label}. Received: {int(target)}")
        order = np.random.default_rng([seed, label]).permutation(len(at_hand))
        chosen.append(at_hand[order[:target]])
    return np.sort(np.concatenate(chosen))
