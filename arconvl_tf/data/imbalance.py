"""Which classes lose samples, and how many they keep."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from arconvl_tf.data.checks import require_whole

MINORITIES = ("even", "odd", "last")
PROFILES = ("step", "exponential")
# Rounding may leave a whole number just below itself (5000 · 100^−1 = 49.99…).
ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Imbalance:
    """How many samples the classes of a training set keep.

    Wherever a function takes an `imbalance`, a number stands for `Imbalance(number)`. Two that ask for the same are equal:
    classes are kept as text (`1` and `"1"` call the same one), sorted, and `Imbalance(**values)` gives an equal one back
    from `values = dataclasses.asdict(imbalance)`, also by way of JSON.

    Args:
        factor: `q` ≥ 1, how many times fewer samples the rarest classes keep.
        minority: which classes the step profile thins: `"even"` (the paper's choice: classes 0, 2, 4, …), `"odd"`, `"last"`
            (the second half of the classes, as in the step profile of CIFAR-10-LT), or a sequence of classes, each called
            by its name, or by its number where names are no numbers themselves.
        profile: `"step"`, the paper's: minority classes keep `⌊N_j / q⌋` samples, the others all; or `"exponential"`,
            that of CIFAR-10-LT: class j keeps `⌊max N · q^(−j / (k − 1))⌋`, or all it has if that is less.
        keep: instead of all these, `{class: samples to keep}`; a class that isn't named keeps all it has.
        seed: chooses which samples are kept and how training, validation and test side are divided, where they aren't
            given; `None` leaves it to the data's own seed, which then decides all that is drawn.

    Raises:
        ValueError: on a factor that isn't a finite number ≥ 1, an unknown word, a count or seed that isn't a whole number,
            a choice of minority classes for the exponential profile, which has none, or `keep` beside other choices.

    Example:
        >>> Imbalance(100, minority=[0, 2])
        Imbalance(factor=100.0, minority=('0', '2'), profile='step', keep=None, seed=None)
        >>> Imbalance(keep={"owl": 7}) == Imbalance(**dataclasses.asdict(Imbalance(keep={"owl": 7})))
        True
    """

    factor: float = 1.0
    _: dataclasses.KW_ONLY
    minority: str | Sequence[str | int] = "even"
    profile: str = "step"
    keep: Mapping[str | int, int] | None = dataclasses.field(default=None, hash=False)
    seed: int | None = None

    def __post_init__(self):
        if not (isinstance(self.factor, numbers.Real) and 1 <= self.factor < math.inf):
            raise ValueError(f"Expected an imbalance factor, a finite number ≥ 1. Received: factor={self.factor!r}")
        if self.profile not in PROFILES:
            raise ValueError(f'Expected `profile` to be "step" or "exponential". Received: profile={self.profile!r}')
        if self.seed is not None:
            require_whole(self.seed, "seed", 0)
        for name, value in (
            ("factor", float(self.factor)),
            ("minority", _as_text(self.minority)),
            ("keep", _as_counts(self.keep)),
            ("seed", None if self.seed is None else int(self.seed)),
        ):
            object.__setattr__(self, name, value)
        if self.profile == "exponential" and self.minority != "even":
            raise ValueError(f"Expected no `minority` with the exponential profile. Received: minority={self.minority!r}")
        if self.keep and (self.factor, self.minority, self.profile) != (1, "even", "step"):
            raise ValueError(
                "Expected `keep` alone, without a factor, `minority` or `profile`. "
                f"Received: factor={self.factor:g}, minority={self.minority!r}, profile={self.profile!r}"
            )

    @classmethod
    def of(cls, value: float | Imbalance) -> Imbalance:
        """A number as an `Imbalance`; one that is an `Imbalance` already as it is."""
        return value if isinstance(value, cls) else cls(value)

    def counts(self, class_counts: Sequence[int], class_names: Sequence[str] | None = None) -> np.ndarray:
        """How many samples each class keeps.

        Args:
            class_counts: samples of each class at hand, shape (k,), k ≥ 2.
            class_names: k names; by default the numbers 0..k−1.

        Returns:
            Integer array of shape (k,).

        Raises:
            ValueError: on a factor so large that a class would vanish, an unknown class, one that `keep` calls by two names,
                or when no class is left as a majority or fewer samples are at hand than `keep` asks for.

        Example:
            >>> Imbalance(100).counts([5923, 6742, 5958]).tolist()
            [59, 6742, 59]
            >>> Imbalance(100, profile="exponential").counts([5000] * 4).tolist()
            [5000, 1077, 232, 50]
            >>> Imbalance(keep={"newt": 7}).counts([50, 60, 70], ["owl", "cat", "newt"]).tolist()
            [50, 60, 7]
        """
        at_hand = np.asarray(class_counts, dtype="int64")
        names = [str(name) for name in (range(len(at_hand)) if class_names is None else class_names)]
        if self.keep:
            return self._kept_by_name(at_hand, names)
        kept = self._stepwise(at_hand, names) if self.profile == "step" else self._exponential(at_hand)
        vanished = np.flatnonzero(kept == 0)
        if len(vanished):
            raise ValueError(
                f"Expected an imbalance that leaves every class at least one sample. Received: factor={self.factor:g}, "
                f"which leaves none of class {names[vanished[0]]} with its {at_hand[vanished[0]]} samples. Lower it"
            )
        return kept

    def _stepwise(self, at_hand, names):
        chosen = self.minority
        if not isinstance(chosen, str):
            chosen = [class_number(label, names) for label in chosen]
        divisors = np.ones(len(at_hand))
        divisors[minority_classes(len(at_hand), chosen)] = self.factor
        return np.floor(at_hand / divisors + ROUNDING).astype("int64")

    def _exponential(self, at_hand):
        shares = self.factor ** (-np.arange(len(at_hand)) / (len(at_hand) - 1))
        return np.minimum(at_hand, np.floor(at_hand.max() * shares + ROUNDING).astype("int64"))

    def _kept_by_name(self, at_hand, names):
        kept, named = at_hand.copy(), set()
        for label, count in self.keep.items():
            number = class_number(label, names)
            if number in named:
                raise ValueError(f"Expected one count for class {names[number]}. Received: a second one, {count}")
            if count > at_hand[number]:
                raise ValueError(f"Expected 1 to {at_hand[number]} samples of class {names[number]}. Received: {count}")
            kept[number] = count
            named.add(number)
        return kept


def minority_classes(num_classes: int, minority: str | Iterable[int] = "even") -> np.ndarray:
    """Resolves a choice of minority classes to sorted class numbers.

    Args:
        num_classes: `k`.
        minority: a word (see `Imbalance`) or class numbers.

    Raises:
        ValueError: on another word, a number outside 0..k−1, or when no class is left as a majority.

    Example:
        >>> minority_classes(5, "even").tolist()
        [0, 2, 4]
    """
    if isinstance(minority, str):
        _require_known(minority)
        if minority == "last":
            return np.arange((num_classes + 1) // 2, num_classes)
        return np.arange(int(minority == "odd"), num_classes, 2)
    chosen = np.unique(np.asarray(list(minority), dtype="int64"))
    if len(chosen) and (chosen[0] < 0 or chosen[-1] >= num_classes):
        raise ValueError(f"Expected minority classes within 0..{num_classes - 1}. Received: {chosen.tolist()}")
    if len(chosen) == num_classes:
        raise ValueError(f"Expected at least one class that keeps its samples. Received: minority={chosen.tolist()}")
    return chosen


def class_number(label: str | int, class_names: Sequence[str]) -> int:
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
    raise ValueError(f"Expected classes among {', '.join(class_names)}. Received: {name!r}")


def _as_text(minority):
    """A word as it is, classes as sorted text: a number and its text call the same class."""
    if isinstance(minority, str) or not isinstance(minority, Iterable):
        _require_known(minority)
        return minority
    return tuple(sorted({str(label) for label in minority}))


def _require_known(minority):
    if minority not in MINORITIES:
        choices = ", ".join(f'"{choice}"' for choice in MINORITIES)
        raise ValueError(f"Expected `minority` to be {choices} or a list of classes. Received: {minority!r}")


def _as_counts(keep):
    """Whole numbers by sorted text; none where no class is named."""
    if keep is None:
        return None
    if not isinstance(keep, Mapping):
        raise ValueError(f"Expected `keep` to map classes to samples. Received: {keep!r}")
    for label, count in keep.items():
        require_whole(count, f"keep[{label!r}]", 1)
    counts = {str(label): int(count) for label, count in keep.items()}
    if len(counts) < len(keep):
        raise ValueError(f"Expected one count for a class. Received: keep={dict(keep)}, with one in two forms")
    return dict(sorted(counts.items())) or None
