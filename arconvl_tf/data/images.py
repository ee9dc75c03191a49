"""Picture files: decoded as Pillow sees them, brought to a model's size, and examined before training."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import multiprocessing.pool
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from arconvl_tf.data.checks import FULL_SCALES
from arconvl_tf.data.options import FITS

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")  # no others: some of Pillow's start programs
ANIMATED_FORMATS = ("PNG", "GIF", "TIFF", "WEBP")  # a JPEG's further pictures are previews and depth maps
# A JPEG is decoded at a half, a quarter or an eighth of its size where this many times what is wanted is left: pixels move
# by 0.2 of 255 on average (between fine lines by 1.5), and a camera's picture takes a fifth to a half of the time.
SPARE_SIZE = 4


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a picture file becomes a model's input.

    Pillow is the judge of what a picture looks like. It is turned as its EXIF data say; of an animation or of several
    pages the first counts. Transparency is composed on the background before anything else, so that a drawing that lives
    in the alpha channel alone is seen. Shrinking averages over what becomes one pixel.

    Attributes:
        image_shape: (height, width, channels); 1 channel turns colour into grey, 3 turn grey into colour.
        fit: what happens to another aspect ratio: `"resize"` stretches, `"pad"` keeps it and fills evenly with the
            background, `"crop"` keeps it and cuts the middle out.
        background: a colour that Pillow's ImageColor knows, such as `"white"` or `"#808080"`.
        full_scale: the value that becomes 255 in pictures of more than 8 bits, see `full_scale_of`. Those in colour
            Pillow reads with 8 bits, the higher ones of 16. Pictures of floats hold 0–1 or 0–255.

    Raises:
        ValueError: on a shape, fit, background or full scale that make no sense.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("LA", (9, 12), (77, 255)).save(file, "PNG")
        >>> Reading((1, 1, 3)).decode(file.getvalue()).tolist()
        [[[77, 77, 77]]]
    """

    image_shape: tuple[int, int, int]
    fit: str = "resize"
    background: str = "white"
    full_scale: int = FULL_SCALES[-1]

    def __post_init__(self):
        object.__setattr__(self, "image_shape", tuple(map(int, self.image_shape)))
        if len(self.image_shape) != 3 or min(self.image_shape) < 1 or self.image_shape[2] not in (1, 3):
            raise ValueError(f"Expected an image shape (height, width, 1 or 3). Received: {self.image_shape}")
        if self.fit not in FITS:
            raise ValueError(f"Expected `fit` to be one of {', '.join(FITS)}. Received: {self.fit!r}")
        if not self.full_scale >= 1:
            raise ValueError(f"Expected a full scale ≥ 1. Received: {self.full_scale}")
        try:
            ImageColor.getrgb(self.background)
        except ValueError as error:
            raise ValueError(
                f"Expected `background` to be a colour's name or #RRGGBB. Received: {self.background!r}"
            ) from error

    def to_dict(self) -> dict:
        """The attributes as JSON takes them."""
        return dataclasses.asdict(self) | {"image_shape": list(self.image_shape)}

    @classmethod
    def from_dict(cls, attributes: Mapping) -> Reading:
        """What `to_dict` wrote."""
        return cls(**attributes)

    def decode(self, contents: bytes) -> np.ndarray:
        """The pixels of a file's contents, uint8 of `image_shape`.

        Raises:
            ValueError: if they are no picture, one that breaks off or is too large, or pixels beyond their range.
        """
        try:
            return self._pixels(_opened(contents, SPARE_SIZE * max(self.image_shape[:2])))
        except ValueError as error:
            raise ValueError(f"Expected a picture ({', '.join(FORMATS)}). Received: {error}") from error

    def read(self, path: str | os.PathLike) -> np.ndarray:
        """As `decode`, from a file; nothing but regular files is opened.

        Raises:
            ValueError: also if the file can't be read.
        """
        try:
            return self._pixels(_opened(_contents(path), SPARE_SIZE * max(self.image_shape[:2])))
        except ValueError as error:
            raise ValueError(f"Expected a picture ({', '.join(FORMATS)}). Received: {path} ({error})") from error

    def _pixels(self, image):
        height, width, channels = self.image_shape
        if _is_deep(image):
            image = _eight_bits(image, self.full_scale)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, self.background), image)
        if image.mode not in ("L", "RGB"):
            image = image.convert("RGB")  # not everything becomes grey directly
        wanted = "L" if channels == 1 else "RGB"
        image = self._fitted(image if image.mode == wanted else image.convert(wanted), (width, height))
        return np.array(image).reshape(self.image_shape)

    def _fitted(self, image, size):
        if self.fit == "pad":
            scale = min(size[0] / image.width, size[1] / image.height)
            inner = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)
            canvas = Image.new(image.mode, size, self.background)
            canvas.paste(inner, ((size[0] - inner.width) // 2, (size[1] - inner.height) // 2))
            return canvas
        if self.fit == "crop":
            return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
        return image.resize(size, Image.Resampling.BILINEAR)


class Examined(NamedTuple):
    """What `examine` found out about picture files.

    Attributes:
        paths: the readable ones, in order.
        shapes: (height, width, channels) of each of these as it stands upright; 1 channel if its mode is a grey one.
        digests: uint8 (n, 16), equal for files of equal contents.
        unreadable: {path: why} of the others.
        animations: how many hold several frames or pages, of which only the first is taken.
        largest_deep: the largest value in grey pictures of more than 8 bits, 0 where there are none.
    """

    paths: list
    shapes: list[tuple[int, int, int]]
    digests: np.ndarray
    unreadable: dict
    animations: int
    largest_deep: int


def examine(paths: Sequence[str | os.PathLike], threads: int, progress: Callable[[int], None] | None = None) -> Examined:
    """Reads and decodes every file once, so that a broken one is known before training begins.

    Args:
        paths: of picture files.
        threads: how many files are decoded at a time, each of which takes its memory.
        progress: called with the number of files done so far, after each.

    Returns:
        `Examined`.
    """
    findings = []
    with multiprocessing.pool.ThreadPool(threads) as pool:
        for finding in pool.imap(_look_at, paths, chunksize=8):
            findings.append(finding)
            if progress is not None:
                progress(len(findings))
    readable = [(path, finding) for path, finding in zip(paths, findings) if isinstance(finding, _Finding)]
    return Examined(
        paths=[path for path, _ in readable],
        shapes=[finding.shape for _, finding in readable],
        digests=np.frombuffer(b"".join(finding.digest for _, finding in readable), "uint8").reshape(-1, 16),
        unreadable={path: why for path, why in zip(paths, findings) if isinstance(why, str)},
        animations=sum(finding.animated for _, finding in readable),
        largest_deep=max((finding.largest_deep for _, finding in readable), default=0),
    )


def full_scale_of(largest: int) -> int:
    """The value that stands for white in pictures of 8, 10, 12, 14 or 16 bits, by the largest among all of them.

    A file of 16 bits often holds fewer: the high byte of 12-bit values has but sixteen grey levels.

    Args:
        largest: `largest_deep` of `Examined`; 0, without such pictures, gives that of 16 bits.

    Example:
        >>> full_scale_of(4000), full_scale_of(4096), full_scale_of(0)
        (4095, 16383, 65535)
    """
    return next(scale for scale in FULL_SCALES if scale >= largest) if largest else FULL_SCALES[-1]


def complaint(unreadable: Mapping[str | os.PathLike, str]) -> str:
    """What to say of files that can't be decoded, the first ten by name.

    Example:
        >>> complaint({"broken.png": "no picture"})
        "Expected pictures that can be decoded. Received: 1 that can't: broken.png (no picture)"
    """
    named = [f"{path} ({why})" for path, why in list(unreadable.items())[:10]] + ["…"] * (len(unreadable) > 10)
    return f"Expected pictures that can be decoded. Received: {len(unreadable)} that can't: {', '.join(named)}"


class _Finding(NamedTuple):
    shape: tuple
    digest: bytes
    animated: bool
    largest_deep: int


def _look_at(path):
    """`_Finding`, or why it can't be read."""
    try:
        contents = _contents(path)
        image = _opened(contents)
        values = _values(image) if _is_deep(image) else None  # also for their range
    except ValueError as error:
        return str(error)
    channels = 1 if _is_deep(image) or image.mode in ("1", "L", "LA") else 3
    return _Finding(
        shape=(image.height, image.width, channels),
        digest=hashlib.blake2b(contents, digest_size=16).digest(),
        animated=image.format in ANIMATED_FORMATS and getattr(image, "is_animated", False),
        largest_deep=0 if values is None or image.mode == "F" else int(values.max()),
    )


def _contents(path):
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait for ever
            raise ValueError("no regular file")
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ValueError(error.strerror) from error


def _opened(contents, least_size=None):
    """The picture, loaded and upright, in size or smaller, if that is enough; ValueError says why there is none."""
    try:
        image = Image.open(io.BytesIO(contents), formats=FORMATS)
        if least_size is not None:
            image.draft(None, (least_size, least_size))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
    except UnidentifiedImageError as error:
        raise ValueError("no picture" if contents else "an empty file") from error
    except Exception as error:  # the parsers of formats stumble over broken files in every way there is
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
    return image


def _is_deep(image):
    return image.mode[0] in "IF"


def _values(image):
    """The pixels of a picture of more than 8 bits, (height, width); ValueError if they are beyond what is known."""
    values = np.asarray(image)
    smallest, largest = values.min(), values.max()
    if image.mode == "F":
        # Between 1 and 2 lies what interpolation adds to 0–1, not a black picture of 0–255.
        if not (smallest >= 0 and (largest <= 1 or 2 <= largest <= FULL_SCALES[0])):
            raise ValueError(f"floats {smallest:g} to {largest:g}, neither of 0–1 nor of 0–255")
    elif smallest < 0 or largest > FULL_SCALES[-1]:
        raise ValueError(f"values {smallest} to {largest}, not of 0–{FULL_SCALES[-1]}")
    return values


def _eight_bits(image, full_scale):
    values = _values(image)
    if image.mode == "F":
        full_scale = 1 if values.max() <= 1 else FULL_SCALES[0]
    grey = Image.fromarray(np.rint(np.minimum(values * np.float32(255 / full_scale), 255)).astype("uint8"))
    if "transparency" in image.info:
        grey.putalpha(Image.fromarray(np.uint8(255) * (values != image.info["transparency"])))
    return grey
