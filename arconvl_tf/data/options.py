"""How the samples of a data set on disk are read, and which of them stay together."""

from __future__ import annotations

import dataclasses

from arconvl_tf.data.checks import require_whole

FITS = ("resize", "pad", "crop")
OVERLAPS = ("exclude", "count")


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """What can be chosen about pictures on disk; plain data, as `config.json` keeps it.

    Args:
        image_size: height and width that pictures are brought to; by default 224 for a pretrained network, else their own
            if all are alike and no side is longer than 256, else 64.
        fit: how: `"resize"` stretches, `"pad"` keeps the shape and adds a border of the background's colour, `"crop"` keeps
            the shape and cuts the longer side off.
        background: colour that transparent pictures are laid on: a name, or `"#RRGGBB"`.
        group_by: what keeps own pictures on one side of every split: a folder level below the class (`"1"`, …) or a regular
            expression that is searched in the path; by default the column `group` of a CSV file, if there is one.
        keep_duplicates_together: whether near-duplicate pictures count as one group.
        skip_corrupt: whether unreadable own pictures are left out instead of refusing the data set.
        overlap: what becomes of a CelebA picture with several hair attributes: `"exclude"` or `"count"`.

    Raises:
        ValueError: on a value that makes no sense.

    Example:
        >>> DataOptions(image_size=64).fit
        'resize'
    """

    _: dataclasses.KW_ONLY
    image_size: int | None = None
    fit: str = "resize"
    background: str = "white"
    group_by: str | None = None
    keep_duplicates_together: bool = False
    skip_corrupt: bool = False
    overlap: str = "exclude"

    def __post_init__(self):
        if self.image_size is not None:
            require_whole(self.image_size, "image_size", 1)
        for name, choices in (("fit", FITS), ("overlap", OVERLAPS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"Expected `{name}` to be one of {', '.join(choices)}. Received: {getattr(self, name)!r}")

    def changed(self) -> dict:
        """The options that are not as usual, by name."""
        usual = DataOptions()
        return {name: value for name, value in dataclasses.asdict(self).items() if value != getattr(usual, name)}
