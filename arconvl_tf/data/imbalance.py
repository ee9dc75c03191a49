"""Which classes lose samples, how many they keep, and which samples those are."""

import collections.abc

import numpy as np

MINORITIES = ("even", "odd", "last")
# Rounding may leave a whole number just below itself (5000 · 100^−1 = 49.99…).
ROUNDING = 1e-9


def minority_classes(num_classes, minority="even"):
    """Resolves a choice of minority classes to sorted class numbers.

    Args:
        num_classes: `k`.
        minority: `"even"` (the paper's choice: classes 0, 2, 4, …), `"odd"`, `"last"` (the second half of the classes,
            as in the step profile of CIFAR-10-LT), or a list of class numbers.

    Raises:
        ValueError: on another word, a number outside 0..k−1, or when no class is left as a majority.

    Example:
        >>> minority_classes(5, "even").tolist()
        [0, 2, 4]
    """
    if isinstance(minority, str):
        if minority not in MINORITIES:
            choices = ", ".join(f'"{choice}"' for choice in MINORITIES)
            raise ValueError(f"Expected `minority` to be {choices} or a list of classes. Received: {minority!r}")
        if minority == "last":
            return np.arange((num_classes + 1) // 2, num_classes)
        return np.arange(int(minority == "odd"), num_classes, 2)
    chosen = np.unique(np.asarray(list(minority), dtype="int64"))
    if len(chosen) and (chosen[0] < 0 or chosen[-1] >= num_classes):
        raise ValueError(f"Expected minority classes within 0..{num_classes - 1}. Received: {chosen.tolist()}")
    if len(chosen) == num_classes:
        raise ValueError(f"Expected at least one class that keeps its samples. Received: minority={chosen.tolist()}")
    return chosen


def imbalanced_counts(class_counts, imbalance, minority="even", profile="step", class_names=None):
    """How many samples of each class are kept.

    Args:
        class_counts: samples of each class at hand, shape (k,).
        imbalance: `q` ≥ 1, how many times fewer samples the rarest classes keep.
        minority: which classes the step profile thins, see `minority_classes`.
        profile: `"step"`, the paper's: minority classes keep `⌊N_j / q⌋` samples, the others all; or `"exponential"`,
            that of CIFAR-10-LT: class j keeps `⌊max N · q^(−j / (k − 1))⌋`, or all it has if that is less.
        class_names: optional list of k names, for the message of an error.

    Returns:
        Integer array of shape (k,).

    Raises:
        ValueError: if q < 1, or so large that a class would vanish; on an unknown profile; on a choice of minority
            classes for the exponential profile, which has none.

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
        counts = np.floor(at_hand / divisors + ROUNDING).astype("int64")
    elif profile == "exponential":
        if minority != "even":
            raise ValueError(f"Expected no `minority` with the exponential profile. Received: minority={minority!r}")
        shares = float(imbalance) ** (-np.arange(len(at_hand)) / (len(at_hand) - 1))
        counts = np.minimum(at_hand, np.floor(at_hand.max() * shares + ROUNDING).astype("int64"))
    else:
        raise ValueError(f'Expected `profile` to be "step" or "exponential". Received: profile={profile!r}')
    vanished = np.flatnonzero(counts == 0)
    if len(vanished):
        raise ValueError(
            f"Expected an `imbalance` that leaves every class at least one sample; imbalance={imbalance:g} leaves "
            f"none of class {(class_names or range(len(counts)))[vanished[0]]}, which has {at_hand[vanished[0]]} samples"
        )
    return counts


def class_number(label, class_names):
    """The number of a class that a user calls by its name, or by its number if names aren't whole numbers themselves.

    Raises:
        ValueError: if there is no such class.

    Example:
        >>> class_number("cat", ["owl", "cat"]), class_number(1, ["owl", "cat"]), class_number(1, ["1", "2"])
        (1, 1, 0)
    """
    name = str(label)
    if name in class_names:
        return class_names.index(name)
    numeric = any(known.lstrip("-").isdigit() for known in class_names)
    if not numeric and name.isdigit() and int(name) < len(class_names):
        return int(name)
    raise ValueError(f"Expected classes among {', '.join(class_names)}. Received: {label!r}")


def explicit_counts(class_counts, keep, class_names):
    """The counts a user asks for by class; classes that aren't named keep all they have.

    Args:
        class_counts: samples of each class at hand, shape (k,).
        keep: {class: samples}, see `class_number`.
        class_names: list of k names.

    Returns:
        Integer array of shape (k,).

    Raises:
        ValueError: on an unknown class, one that is named twice, or a count that isn't in 1..samples at hand.

    Example:
        >>> explicit_counts([50, 60, 70], {"newt": 7}, ["owl", "cat", "newt"]).tolist()
        [50, 60, 7]
    """
    if not isinstance(keep, collections.abc.Mapping):
        raise ValueError(f"Expected `keep` to map classes to samples. Received: {keep!r}")
    counts, named = np.array(class_counts, dtype="int64"), set()
    for label, count in keep.items():
        number = class_number(label, class_names)
        if number in named:
            raise ValueError(f"Expected one count for class {class_names[number]}. Received: a second one, {count}")
        if not (isinstance(count, (int, np.integer)) and 1 <= count <= counts[number]):
            raise ValueError(f"Expected 1 to {counts[number]} samples of class {class_names[number]}. Received: {count}")
        counts[number] = count
        named.add(number)
    return counts


def stratified_counts(class_counts, share):
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
