"""Splits that can be believed: stratified by class, and samples of one group never on both sides."""

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from arconvl_tf.data.checks import require_whole
from arconvl_tf.data.sampling import stratified_split


def folds(
    labels: np.ndarray,
    groups: np.ndarray | None,
    number: int,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divides samples into folds, each of which is tested once by a model of all others.

    Every class has training samples in every fold. Groups may be too unequal for test samples of every class in every
    fold: predictions are pooled before they are judged. Groups of one sample each are as good as none.

    Args:
        labels: integers in 0..k−1, shape (n,).
        groups: numbers or words, shape (n,): samples of one group stand in one fold together. Or `None`.
        number: of folds, at least 2.
        seed: decides who stands together; with groups only as far as equal ones change places.
        class_names: k names, for messages.

    Returns:
        List of (training indices, test indices), sorted; the test indices of all folds together are 0..n−1.

    Raises:
        ValueError: if a class has fewer samples, or groups, than there are folds.

    Example:
        >>> labels, groups = np.array([0, 0, 0, 0, 1, 1]), np.array(list("aabbcd"))
        >>> [(groups[train].tolist(), groups[test].tolist()) for train, test in folds(labels, groups, 2, seed=0)]
        [(['a', 'a', 'd'], ['b', 'b', 'c']), (['b', 'b', 'c'], ['a', 'a', 'd'])]
    """
    require_whole(number, "number of folds", 2)
    labels, groups = np.asarray(labels), _numbered(groups)
    names = range(labels.max() + 1) if class_names is None else class_names
    _require_enough(labels, groups, number, names)
    if groups is None:
        return list(StratifiedKFold(number, shuffle=True, random_state=seed).split(labels, labels))
    found = _grouped_folds(labels, groups, number, seed)
    for train, _ in found:
        absent = np.setdiff1d(labels, labels[train])
        if len(absent):
            raise ValueError(
                f"Expected groups that leave training samples of every class in each of {number} folds. Received: groups of "
                f"several classes that leave none of class {names[absent[0]]!r}. Take more folds, or smaller groups"
            )
    return found


def held_out(labels: np.ndarray, groups: np.ndarray | None, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Holds a stratified share out, groups as a whole.

    A class whose samples are all of one group stays. Every other class stands on both sides wherever groups are of one
    class each; where they hold several classes, that is tried but not promised. Nor is the share: large groups are not
    divided to meet it. Without groups, or with groups of one sample each, it is `sampling.stratified_split`.

    Half a millisecond a group, where a tenth is held out.

    Args:
        labels: integers in 0..k−1, shape (n,).
        groups: numbers or words, shape (n,), or `None`.
        share: to be held out of every class, in 0..½.
        seed: integer.

    Returns:
        (kept, held out): sorted indices into `labels`; no group stands on both sides.

    Raises:
        ValueError: on another share, or if there are too few samples or groups.

    Example:
        >>> labels, groups = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1]), np.array(list("aaabcddef"))
        >>> kept, apart = held_out(labels, groups, share=0.3, seed=0)
        >>> "".join(groups[kept]), "".join(groups[apart])
        ('aaabdde', 'cf')
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"Expected a share to hold out in 0..0.5. Received: {share}")
    labels, groups = np.asarray(labels), _numbered(groups)
    if groups is None:
        return stratified_split(labels, share, seed)
    members = _members(labels, groups)
    # Whatever holds all samples of a class stays with training.
    lonely = (members > 0).sum(axis=0) == 1
    bound = members[:, lonely].any(axis=1)
    number = min(round(1 / share), np.bincount(labels).max(), len(members))
    if number < 2 or bound.all():
        raise ValueError(
            f"Expected enough groups to hold a share of {share} out. Received: {len(members)} groups of "
            f"{len(np.unique(labels))} classes. Give test and validation samples of your own, or smaller groups"
        )
    sides = []
    for _, apart in _grouped_folds(labels, groups, number, seed):
        side = np.isin(np.arange(len(members)), groups[apart]) & ~bound
        sides.append(_with_every_class(members, side, bound))
    side = min(sides, key=lambda side: _cost(members, side, share))
    return np.flatnonzero(~side[groups]), np.flatnonzero(side[groups])


def shared_groups(train_groups: np.ndarray, test_groups: np.ndarray) -> list:
    """The groups that stand on both sides of a given split, sorted.

    Example:
        >>> shared_groups(np.array(["a", "b", "b"]), np.array(["b", "c"]))
        ['b']
    """
    return np.intersect1d(train_groups, test_groups).tolist()


def _numbered(groups):
    """Groups as 0..g−1, `None` where they group nothing."""
    if groups is None:
        return None
    names, numbers = np.unique(groups, return_inverse=True)
    return numbers if len(names) < len(numbers) else None


def _grouped_folds(labels, groups, number, seed):
    with warnings.catch_warnings():
        # Of classes with fewer samples than folds, which `folds` refuses and `held_out` allows.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return list(StratifiedGroupKFold(number, shuffle=True, random_state=seed).split(labels, labels, groups))


def _members(labels, groups):
    """Samples of every group and class, shape (g, k)."""
    members = np.zeros((groups.max() + 1, labels.max() + 1), "int64")
    np.add.at(members, (groups, labels), 1)
    return members


def _require_enough(labels, groups, number, names):
    of = labels if groups is None else np.unique(np.stack([labels, groups]), axis=1)[0]
    counts = np.bincount(of, minlength=len(names))
    scarce = counts.argmin()
    if counts[scarce] < number:
        what = "samples" if groups is None else "groups"
        fewer = f"Take {counts[scarce]} folds, add" if counts[scarce] > 1 else "Add"
        raise ValueError(
            f"Expected at least {number} {what} of every class for {number} folds. Received: {counts[scarce]} of class "
            f"{names[scarce]!r}. {fewer} {what} of it, or merge it with another class, or leave it out"
        )


def _with_every_class(members, side, bound):
    """Moves the smallest groups that bring a class to a side which has none of it, and take none from the other."""
    side = side.astype("int64")
    samples = np.stack([members[side == target].sum(axis=0) for target in (0, 1)])
    for target, label in np.argwhere(samples == 0):
        if samples[target, label]:  # came with a group of another class
            continue
        candidates = np.flatnonzero((side != target) & ~bound & (members[:, label] > 0))
        own = members[candidates]
        candidates = candidates[((own == 0) | (own < samples[1 - target])).all(axis=1)]
        if len(candidates):
            smallest = candidates[members[candidates].sum(axis=1).argmin()]
            side[smallest] = target
            samples[target] += members[smallest]
            samples[1 - target] -= members[smallest]
    return side == 1


def _cost(members, side, share):
    """(classes that a side lacks, mean distance of the classes' shares from the wanted one)."""
    totals, apart = members.sum(axis=0), members[side].sum(axis=0)
    present = totals > 0
    lacking = ((apart == 0) | (apart == totals))[present].sum()
    return lacking, np.abs(apart[present] / totals[present] - share).mean()
