"""A folder of class folders as a data set: pictures are decoded as they are needed."""

import pathlib

import numpy as np
import tensorflow as tf
from sklearn.model_selection import train_test_split

from arconvl_tf.data import images
from arconvl_tf.data.pipeline import PIPELINE_DEVICE, Side, assemble

SIDES = ("train", "validation", "test")
TEST_SHARE = 0.2
DEFAULT_SIZE = 64


def load_folder(path, image_size=None, skip_corrupt=False, seed=0, **options):
    """Loads `path/CLASS/PICTURE`, or `path/train/CLASS/PICTURE` with `validation` and `test` beside `train`.

    Every file is decoded once at the start, so that a broken one is reported before training begins. Afterwards only
    the list of paths stays in memory. Without a `test` folder a stratified fifth is set aside for testing, chosen by the
    seed before classes are thinned.

    Args:
        path: the folder.
        image_size: height and width that pictures are resized to; by default their own if all are alike, else 64.
        skip_corrupt: leave unreadable files out instead of refusing the folder.
        seed: see `make_splits`.
        **options: `imbalance`, `minority`, `profile`, `batch_size`, `augmentation` of `make_splits`.

    Returns:
        `Splits`; class names are the folders' names in alphabetical order. Pictures are grey if all of them are.

    Raises:
        ValueError: on an empty class folder, a single class, unreadable files, classes of one side unknown to the other.
    """
    root = pathlib.Path(path)
    if image_size is not None and image_size < 1:
        raise ValueError(f"Expected `image_size` to be a whole number ≥ 1. Received: image_size={image_size}")
    folders = {side: root / side for side in SIDES if (root / side).is_dir()} if (root / "train").is_dir() else {"train": root}
    class_names = _class_names(folders["train"])
    listed = {side: _list(folder, class_names) for side, folder in folders.items()}
    shapes, listed = _check(listed, skip_corrupt)
    for label, name in enumerate(class_names):
        if label not in listed["train"][1]:
            raise ValueError(f"Expected pictures of every class. Received: none in {folders['train'] / name}")

    for side, (paths, _) in listed.items():
        if not paths:
            raise ValueError(f"Expected pictures in {folders[side]}. Received: class folders without any")

    image_shape = _common_shape(shapes, image_size)
    if "test" not in listed:
        listed["train"], listed["test"] = _set_test_aside(*listed["train"], seed)
    sides = {name: _side(paths, labels, image_shape) for name, (paths, labels) in listed.items()}
    return assemble(
        sides["train"], sides["test"], image_shape, class_names, sides.get("validation"), seed=seed, **options
    )


def _class_names(folder):
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise ValueError(f"Expected a folder for each of at least two classes in {folder}. Received: {names or 'none'}")
    return names


def _list(folder, class_names):
    """(paths, labels) of one side."""
    unknown = [entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name not in class_names]
    unknown = [name for name in unknown if not name.startswith(".")]
    if unknown:
        raise ValueError(f"Expected the classes {', '.join(class_names)} in {folder}. Received: {', '.join(sorted(unknown))}")
    paths = [images.images_below(folder / name) if (folder / name).is_dir() else [] for name in class_names]
    labels = np.repeat(np.arange(len(class_names)), [len(own) for own in paths])
    return [path for own in paths for path in own], labels


def _check(listed, skip_corrupt):
    """The shapes of all pictures, and the lists without unreadable files."""
    shapes, kept = [], {}
    for side, (paths, labels) in listed.items():
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
        raise ValueError("Expected at least two pictures of every class, one of them for testing, or a test folder")
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
