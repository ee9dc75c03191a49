"""What data must be like, whichever door they come in by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MAX_CHANNELS = 4  # with transparency
# Bicubic resizing leaves the range of pixels by less than this part of it.
OVERSHOOT = 1 / 8
# Pixels that are centred and scaled by their deviation lie around 0, those of 8 bits reach up to 255.
UNIT, BEYOND_UNIT = 1, 2
NO_NUMBERS = "OSUc"  # kinds of numpy types that are no real numbers; bfloat16 is of the kind V
FULL_SCALES = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits


class Pixels(NamedTuple):
    """The values of some pictures: smallest, largest, and whether they are of about 0–1 with fractions among them."""

    smallest: float
    largest: float
    fractions: bool

    @classmethod
    def of(cls, images: np.ndarray) -> Pixels:
        """Looks through pictures, of any shape but none without pixels; NaN and infinity show in the extremes.

        Example:
            >>> Pixels.of(np.array([0.0, 0.5]))
            Pixels(smallest=0.0, largest=0.5, fractions=True)
        """
        smallest, largest = float(images.min()), float(images.max())
        # Whole numbers up to 1 are a dark picture, or one in black and white: they say nothing of the range.
        whole = images.dtype.kind in "biu" or largest > UNIT + OVERSHOOT
        return cls(smallest, largest, fractions=not whole and bool(np.any(images != np.rint(images))))

    def joined(self, other: Pixels) -> Pixels:
        """Those of both together."""
        smallest, largest = min(self.smallest, other.smallest), max(self.largest, other.largest)
        return Pixels(smallest, largest, self.fractions or other.fractions)

    def unit(self) -> bool:
        """Whether they are of about 0–1, by fractions that show it."""
        return self.fractions and self.largest <= UNIT + OVERSHOOT

    def finite(self) -> bool:
        """Whether there is neither NaN nor infinity among them."""
        return bool(np.isfinite([self.smallest, self.largest]).all())


def require_one_range(sides: dict[str, Pixels]) -> None:
    """Refuses pixels in 0–1 on one side beside larger ones on another: the model would be judged on black pictures.

    Sides of one value, of whole numbers only or of negative ones, as after centring, give no ground for it.

    Args:
        sides: finite `Pixels` of each side by its name.

    Example:
        >>> require_one_range({"training": Pixels(0, 255, False), "test": Pixels(0, 1, False)})  # dark, or black and white
    """
    varied = {side: pixels for side, pixels in sides.items() if pixels.smallest < pixels.largest}
    unit = [side for side, pixels in varied.items() if pixels.unit()]
    large = [
        side
        for side, (smallest, largest, _) in varied.items()
        if largest > BEYOND_UNIT and smallest >= -OVERSHOOT * largest
    ]
    if unit and large:
        received = ", ".join(f"{sides[side][0]:g} to {sides[side][1]:g} in {side}" for side in (large[0], unit[0]))
        raise ValueError(f"Expected pixels of one range on all sides. Received: {received}. Bring all sides to 0–255")


def require_eight_bits(kind: np.dtype, pixels: Pixels, side: str) -> None:
    """Refuses integers beyond 255, as cameras and scanners with more than 8 bits give them, and says how to scale them.

    Args:
        kind: of the array; floats are not looked at.
        pixels: finite `Pixels` of the side.
        side: its name.

    Example:
        >>> require_eight_bits(np.dtype("uint16"), Pixels(0, 255, False), "training")
    """
    if kind.kind in "iu" and pixels.largest > FULL_SCALES[0]:
        scale = next((scale for scale in FULL_SCALES if scale >= pixels.largest), int(pixels.largest))
        raise ValueError(
            f"Expected {side} images in 0–255. Received: {kind} up to {pixels.largest:.0f}. "
            f"Multiply all sides by 255 / {scale}, or what else is the largest value that may occur"
        )


def require_channels_last(shape: tuple, side: str) -> None:
    """Refuses pictures as other frameworks lay them out, (channels, height, width).

    Pictures of at most four rows are taken for such only if they are larger than that in the two other axes: anything
    smaller may be meant.

    Args:
        shape: of one picture; other than three axes are not looked at.
        side: its name.

    Example:
        >>> require_channels_last((3, 32, 3), "training")
    """
    if len(shape) == 3 and shape[0] <= MAX_CHANNELS < min(shape[1:]):
        raise ValueError(
            f"Expected {side} images with channels last, (n, height, width, channels). Received: shape (n, "
            f"{', '.join(map(str, shape))}), which is channels first. Transpose their axes to (0, 2, 3, 1)"
        )


def require_every_class(class_counts: np.ndarray) -> None:
    """Refuses training data that lack a class."""
    empty = np.flatnonzero(class_counts == 0)
    if len(empty):
        raise ValueError(
            f"Expected training samples of every class 0..{len(class_counts) - 1}. Received: none of class {empty[0]}"
        )


def require_whole(value: object, name: str, least: int) -> None:
    """Refuses an option that isn't a whole number of at least `least`."""
    if not (isinstance(value, (int, np.integer)) and value >= least):
        raise ValueError(f"Expected `{name}` to be a whole number ≥ {least}. Received: {name}={value}")
