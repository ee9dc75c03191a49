"""Picture files as a data set: decoded as they are needed, so that it may be larger than the memory."""

import os

import numpy as np
import tensorflow as tf

from arconvl_tf.data import images
from arconvl_tf.data.listings import Listing
from arconvl_tf.data.pipeline import PIPELINE_DEVICE, Side, Splits, assemble
from arconvl_tf.data.sampling import Sampling, stratified_split

TEST_SHARE = 0.2
DEFAULT_SIZE = 64
MAX_OWN_SIZE = 256


def load_files(listing: Listing, sampling: Sampling, image_size: int | None = None, skip_corrupt: bool = False) -> Splits:
    """Turns a `Listing` of picture files into `Splits`.

    Every file is decoded once at the start, so that a broken one is reported before training begins. Afterwards only
    the list of paths stays in memory. Without a test side a stratified fifth is set aside for testing, before classes are
    thinned.

    Args:
        listing: see `listings.list_folder` and `listings.list_csv`.
        sampling: what is drawn, and how.
        image_size: height and width that pictures are resized to; by default their own if all are alike and no side is
            longer than 256, else 64.
        skip_corrupt: leave unreadable files out instead of refusing the data set.

    Returns:
        `Splits`. Pictures are grey if all of them are.

    Raises:
        ValueError: on unreadable files, or a side or class that holds none but those.
    """
    class_names = listing.class_names
    shapes, sides = _check(listing.sides, skip_corrupt)
    for side, (paths, _) in sides.items():
        if not paths:
            raise ValueError(f"Expected pictures in {side}. Received: none")
    missing = np.setdiff1d(np.arange(len(class_names)), sides["train"][1])
    if len(missing):
        raise ValueError(f"Expected readable pictures of every class. Received: none of {class_names[missing[0]]}")

    image_shape = _common_shape(shapes, image_size)
    if "test" not in sides:
        sides["train"], sides["test"] = _set_test_aside(*sides["train"], class_names, sampling.sides_seed)
    sides = {name: _side(paths, labels, image_shape) for name, (paths, labels) in sides.items()}
    return assemble(sides["train"], sides["test"], image_shape, class_names, sampling, sides.get("validation"))


def _check(sides, skip_corrupt):
    """The shapes of all pictures, and the sides without unreadable files."""
    shapes, kept = [], {}
    for side, (paths, labels) in sides.items():
        side_shapes, unreadable = images.examine(paths)
        if unreadable and not skip_corrupt:
            advice = "Remove them, or leave them out with skip_corrupt (--skip-corrupt)"
            raise ValueError(f"{images.complaint(unreadable)}. {advice}")
        shapes += side_shapes
        broken = set(unreadable)
        readable = np.array([path not in broken for path in paths], dtype=bool)
        kept[side] = ([path for path in paths if path not in broken], labels[readable])
    return shapes, kept


def _common_shape(shapes, image_size):
    channels = 1 if all(shape[-1] <= 2 for shape in shapes) else 3
    if image_size is not None:
        return (image_size, image_size, channels)
    sizes = {shape[:2] for shape in shapes}
    alike = len(sizes) == 1 and max(min(sizes)) <= MAX_OWN_SIZE
    return (*sizes.pop(), channels) if alike else (DEFAULT_SIZE, DEFAULT_SIZE, channels)


def _set_test_aside(paths, labels, class_names, seed):
    lonely = np.flatnonzero(np.bincount(labels) < 2)
    if len(lonely):
        raise ValueError(
            "Expected two pictures or more of every class, one of them for testing, or a test side of your own. "
            f"Received: one of class {class_names[lonely[0]]}"
        )
    parts = stratified_split(labels, TEST_SHARE, seed)
    return [([paths[index] for index in part], labels[part]) for part in parts]


def _side(paths, labels, image_shape):
    with tf.device(PIPELINE_DEVICE):
        files = tf.constant([os.fsencode(path) for path in paths])

    def fetch(indices):
        return tf.map_fn(
            lambda file: images.decode(tf.io.read_file(file), image_shape),
            tf.gather(files, indices),
            parallel_iterations=1,  # batches are decoded side by side already; large pictures take much memory
            fn_output_signature=tf.TensorSpec(image_shape, tf.uint8),
        )

    return Side(fetch, labels)
