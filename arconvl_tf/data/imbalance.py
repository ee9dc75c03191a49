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


def imbalanced_counts(class_counts, imbalance, minority="even", profile="step"):
    """How many samples of each class are kept.

    Args:
        class_counts: samples of each class at hand, shape (k,).
        imbalance: `q` ≥ 1, how many times fewer samples the rarest classes keep.
        minority: which classes the step profile thins, see `minority_classes`.
        profile: `"step"`, the paper's: minority classes keep `⌊N_j / q⌋` samples, the others all; or `"exponential"`,
            that of CIFAR-10-LT: class j keeps `⌊max N · q^(−j / (k − 1))⌋`, or all it has if that is less.

    Returns:
        Integer array of shape (k,).

    Raises:
        ValueError: if q < 1, or so large that a class would vanish; on an unknown profile.

    Example:
        >>> imbalanced_counts([5923, 6742, 5958], imbalance=100).tolist()
        [59, 6742, 59]
        >>> imbalanced_counts([5000] * 4, imbalance=100, profile="exponential").tolist()
        [5000, 1077, 232, 50]
    """
    at_hand = np.asarray(class_counts, dtype="int64")
    if not imbalance >= 1 or not np.isfinite(imbalance):
        raise ValueError(f"Expected `imbalance` to be a number ≥ 1. Received: imbalance={imbalance}")
    if profile == "step":
        divisors = np.ones(len(at_hand))
        divisors[minority_classes(len(at_hand), minority)] = imbalance
        counts = np.floor(at_hand / divisors).astype("int64")
    elif profile == "exponential":
        shares = float(imbalance) ** (-np.arange(len(at_hand)) / (len(at_hand) - 1))
        # Rounding may leave a whole number just below itself (5000 · 100^−1 = 49.99…).
        counts = np.minimum(at_hand, np.floor(at_hand.max() * shares + 1e-9).astype("int64"))
    else:
        raise ValueError(f'Expected `profile` to be "step" or "exponential". Received: profile={profile!r}')
    vanished = np.flatnonzero(counts == 0)
    if len(vanished):
        raise ValueError(
            f"Expected an `imbalance` that leaves every class at least one sample; imbalance={imbalance:g} leaves "
            f"none of class {vanished[0]}, which has {at_hand[vanished[0]]} samples"
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
