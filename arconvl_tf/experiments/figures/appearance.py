"""What the figures have in common: colours, and names as they can be drawn."""

import numpy as np

MAX_NAMED_CLASSES = 100  # names and numbers of more could not be read, and figures wide enough would not fit in memory
DPI = 130
MAJORITY_COLOUR, MINORITY_COLOUR = "#30638e", "#d1495b"
# Told apart by colour-blind people as well (Okabe and Ito's order begins likewise); black is left to centres and words.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc3311", "#8e44ad", "#56b4e9", "#7f6000", "#e377c2", "#5b5b5b", "#a6c000")
MARKERS = "os^Dv"


def look(number: int) -> dict:
    """Colour and marker of a class; of fifty no two have both in common.

    Example:
        >>> look(0) == look(50), len({tuple(look(number).values()) for number in range(50)})
        (True, 50)
    """
    row, column = divmod(number, len(COLOURS))
    return {"color": COLOURS[column], "marker": MARKERS[(row + column) % len(MARKERS)]}


def is_rare(class_counts) -> np.ndarray:
    """Which classes have fewer training samples than the average class."""
    counts = np.asarray(class_counts)
    return counts < counts.mean()


def shown(name, length: int = 40) -> str:
    """A name as it can be drawn: no formula between dollar signs, nothing that is no letter, on one line and not too long.

    Example:
        >>> shown("100 $"), shown("a/very long name.png", length=12)
        ('100 \\\\$', 'a/very…e.png')
    """
    name = " ".join(str(name).encode(errors="replace").decode().split())
    if len(name) > length:
        kept = length - 1
        name = f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"
    return name.replace("$", r"\$")
