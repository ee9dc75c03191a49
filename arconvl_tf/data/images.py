"""Pictures on disk: finding, checking and decoding them."""

import multiprocessing.pool
import os
import pathlib
from collections.abc import Iterable, Sequence

import tensorflow as tf

from arconvl_tf.data.pipeline import PARALLEL_CALLS

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def find_images(paths: Iterable[str | os.PathLike]) -> list[pathlib.Path]:
    """The picture files among `paths`; a folder stands for all pictures below it, sorted. Links to folders below it are
    not entered.

    Raises:
        ValueError: if a path does not exist or a folder holds no picture.
    """
    found = []
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            below = images_below(path)
            if not below:
                suffixes = ", ".join(IMAGE_SUFFIXES)
                raise ValueError(f"Expected pictures ({suffixes}) in {path}. Received: a folder without any")
            found += below
        elif path.is_file():
            found.append(path)
        else:
            raise ValueError(f"Expected a picture or a folder of pictures. Received: {path}, which does not exist")
    return found


def images_below(folder: str | os.PathLike) -> list[pathlib.Path]:
    """The picture files of a folder and its subfolders, sorted, without hidden ones; possibly none."""
    return sorted(path for path in pathlib.Path(folder).rglob("*") if _is_picture(path))


def _is_picture(path):
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def read_image(path: str | os.PathLike, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Decodes a picture file to the size and channels a model takes.

    Args:
        path: JPEG, PNG (also of 16 bits), GIF (its first frame), BMP or WebP.
        image_shape: (height, width, channels); 1 channel turns colour into grey, 3 turn grey into colour.

    Returns:
        uint8 tensor of that shape.

    Raises:
        ValueError: if the file can't be read as a picture.
    """
    try:
        return decode(tf.io.read_file(os.fsencode(path)), image_shape)
    except tf.errors.OpError as error:
        raise ValueError(f"Expected a JPEG, PNG, GIF, BMP or WebP picture. Received: {path}, which isn't one") from error


def decode(contents: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """As `read_image`, from the bytes of a file (a string tensor); works inside `tf.data`.

    Example:
        >>> grey = tf.io.encode_png(tf.fill([9, 12, 1], tf.constant(77, tf.uint8)))
        >>> decode(grey, (1, 1, 3)).numpy().tolist()
        [[[77, 77, 77]]]
    """
    height, width, channels = image_shape
    pixels = tf.io.decode_image(contents, expand_animations=False)
    in_colour = tf.shape(pixels)[-1] >= 3  # 2 or 4 channels: the last one is transparency
    if channels == 1:
        pixels = tf.cond(in_colour, lambda: tf.image.rgb_to_grayscale(pixels[..., :3]), lambda: pixels[..., :1])
    else:
        pixels = tf.cond(in_colour, lambda: pixels[..., :3], lambda: tf.repeat(pixels[..., :1], 3, axis=-1))
    resized = tf.image.resize(pixels, (height, width), antialias=True)
    return tf.ensure_shape(tf.cast(tf.round(resized), tf.uint8), image_shape)


def examine(paths: Sequence[str | os.PathLike]) -> tuple[list[tuple], list]:
    """Decodes every file once.

    Returns:
        (shapes, unreadable): the (height, width, channels) of every readable file in order, and the other paths.
    """
    with multiprocessing.pool.ThreadPool(PARALLEL_CALLS) as pool:
        shapes = list(pool.imap(_shape, paths, chunksize=64))
    unreadable = [path for path, shape in zip(paths, shapes) if shape is None]
    return [shape for shape in shapes if shape is not None], unreadable


def complaint(unreadable: Sequence[str | os.PathLike]) -> str:
    """What to say of files that can't be decoded, the first ten by name.

    Example:
        >>> complaint(["broken.png"])
        "Expected pictures that can be decoded. Received: 1 that can't: broken.png"
    """
    names = ", ".join(map(str, unreadable[:10])) + (", …" if len(unreadable) > 10 else "")
    return f"Expected pictures that can be decoded. Received: {len(unreadable)} that can't: {names}"


def _shape(path):
    try:
        return tuple(tf.io.decode_image(tf.io.read_file(os.fsencode(path)), expand_animations=False).shape)
    except tf.errors.OpError:
        return None
