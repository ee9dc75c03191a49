"""Picture files as a data set: decoded as they are needed, so that it may be larger than the memory."""

import numpy as np
import tensorflow as tf
from sklearn.model_selection import train_test_split

from arconvl_tf.data import images
from arconvl_tf.data.pipeline import PIPELINE_DEVICE, Side, assemble

TEST_SHARE = 0.2
DEFAULT_SIZE = 64


def load_files(listing, image_size=None, skip_corrupt=False, seed=0, **options):
    """Turns a `Listing` of picture files into `Splits`.

    Every file is decoded once at the start, so that a broken one is reported before training begins. Afterwards only
    the list of paths stays in memory. Without a test side a stratified fifth is set aside for testing, chosen by the
    seed before classes are thinned.

    Args:
        listing: see `listings.list_folder` and `listings.list_csv`.
        image_size: height and width that pictures are resized to; by default their own if all are alike, else 64.
        skip_corrupt: leave unreadable files out instead of refusing the data set.
        seed: see `make_splits`.
        **options: what `pipeline.assemble` takes.

    Returns:
        `Splits`. Pictures are grey if all of them are.

    Raises:
        ValueError: on unreadable files, or a side or class that holds none but those.
    """
    if image_size is not None and image_size < 1:
        raise ValueError(f"Expected `image_size` to be a whole number ≥ 1. Received: image_size={image_size}")
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
        sides["train"], sides["test"] = _set_test_aside(*sides["train"], seed)
    sides = {name: _side(paths, labels, image_shape) for name, (paths, labels) in sides.items()}
    return assemble(
        sides["train"], sides["test"], image_shape, class_names, sides.get("validation"), seed=seed, **options
    )


def _check(sides, skip_corrupt):
    """The shapes of all pictures, and the sides without unreadable files."""
    shapes, kept = [], {}
    for side, (paths, labels) in sides.items():
        side_shapes, unreadable = images.examine(paths)
        if unreadable and not skip_corrupt:
            raise ValueError(
                f"Expected pictures that can be decoded. Received: {len(unreadable)} that can't: "
                + ", ".join(map(str, unreadable[:10]))
                + (", …" if len(unreadable) > 10 else "")
                + ". Remove them, or leave them out with skip_corrupt (--skip-corrupt)"
            )
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
    return (*sizes.pop(), channels) if len(sizes) == 1 else (DEFAULT_SIZE, DEFAULT_SIZE, channels)


def _set_test_aside(paths, labels, seed):
    if np.bincount(labels).min() < 2:
        raise ValueError("Expected at least two pictures of every class, one of them for testing, or a test side")
    size = max(round(TEST_SHARE * len(paths)), len(np.unique(labels)))
    train, test = train_test_split(np.arange(len(paths)), test_size=size, stratify=labels, random_state=seed)
    return [([paths[index] for index in np.sort(part)], labels[np.sort(part)]) for part in (train, test)]


def _side(paths, labels, image_shape):
    with tf.device(PIPELINE_DEVICE):
        files = tf.constant([str(path) for path in paths], dtype=tf.string)

    def fetch(indices):
        return tf.map_fn(
            lambda index: images.decode(tf.io.read_file(files[index]), image_shape),
            indices,
            fn_output_signature=tf.TensorSpec(image_shape, tf.uint8),
        )

    return Side(fetch, labels)
