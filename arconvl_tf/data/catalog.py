"""The data sets known by name."""

import pathlib
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from arconvl_tf.data.folder import load_folder
from arconvl_tf.data.pipeline import make_splits

DIGITS_TEST_SHARE = 0.2
TFDS_NAMES = {"mnist": "mnist", "fashion_mnist": "fashion_mnist", "svhn": "svhn_cropped", "cifar10": "cifar10"}
NAMES = ("digits", *TFDS_NAMES)


class DataUnavailableError(OSError):
    """A data set is not prepared on this machine."""


class Arrays(NamedTuple):
    """One data set in memory: (images uint8 (n, height, width, channels), labels int64 (n,)) of each side."""

    train: tuple
    test: tuple
    class_names: list


def load_data(
    name="digits",
    imbalance=1,
    minority="even",
    profile="step",
    seed=0,
    batch_size=128,
    data_dir=None,
    augmentation="none",
    image_size=None,
    skip_corrupt=False,
):
    """Loads a data set by name, or a folder of pictures, and makes its classes imbalanced.

    Args:
        name: `digits` (scikit-learn's handwritten digits, no download), or through TensorFlow Datasets `mnist`,
            `fashion_mnist`, `svhn` (class = digit − 1; digit 0 is class 9, as in the paper), `cifar10`. Or the path of a
            folder of class folders, see `folder.load_folder`; it is as imbalanced as it is, `imbalance=1`.
        imbalance, minority, profile, seed, batch_size, augmentation: see `make_splits`.
        data_dir: where TensorFlow Datasets keeps its files; default the environment's `TFDS_DATA_DIR`, or TFDS' own.
        image_size, skip_corrupt: of a folder, see `folder.load_folder`.

    Returns:
        `Splits`.

    Raises:
        ValueError: on an unknown name or bad options.
        DataUnavailableError: if the data set is not prepared; the message says the command that does it.

    Example:
        >>> splits = load_data("digits", imbalance=10)
        >>> splits.image_shape, len(splits.class_names)
        ((8, 8, 1), 10)
    """
    options = {
        "imbalance": imbalance,
        "minority": minority,
        "profile": profile,
        "seed": seed,
        "batch_size": batch_size,
        "augmentation": augmentation,
    }
    if name not in NAMES and pathlib.Path(name).is_dir():
        return load_folder(name, image_size, skip_corrupt, **options)
    arrays = load_arrays(name, data_dir)
    return make_splits(arrays.train, arrays.test, class_names=arrays.class_names, **options)


def load_arrays(name, data_dir=None):
    """The balanced data set as `Arrays`; see `load_data`."""
    if name == "digits":
        return _load_digits()
    if name in TFDS_NAMES:
        return _load_tfds(name, data_dir)
    raise ValueError(f"Expected a data set ({', '.join(NAMES)}) or a folder of class folders. Received: {name!r}")


def _load_digits():
    """scikit-learn's 1 797 digits of 8×8 pixels, one fixed stratified fifth for testing; 17 grey levels → 0–255."""
    digits = load_digits()
    images = np.round(digits.images[..., None] * (255 / 16)).astype("uint8")
    sides = train_test_split(
        images, digits.target, test_size=DIGITS_TEST_SHARE, stratify=digits.target, random_state=0
    )
    train_images, test_images, train_labels, test_labels = sides
    return Arrays((train_images, train_labels), (test_images, test_labels), [str(digit) for digit in range(10)])


def _load_tfds(name, data_dir):
    import tensorflow_datasets as tfds

    tfds_name = TFDS_NAMES[name]
    builder = tfds.builder(tfds_name, data_dir=data_dir)
    if not builder.is_prepared():
        # Not downloaded unasked: without a network TFDS tries for minutes and leaves half-filled folders behind.
        raise DataUnavailableError(
            f"{name} is not prepared in {data_dir or 'the TensorFlow Datasets folder'}. Where there is a network, "
            f"prepare it once with: tfds build {tfds_name}" + (f" --data_dir {data_dir}" if data_dir else "")
        )
    sides = [tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1)) for split in ("train", "test")]
    class_names = builder.info.features["label"].names
    (train, test) = [(side["image"], side["label"]) for side in sides]
    if name == "svhn":
        train, test = [(images, (labels - 1) % 10) for images, labels in (train, test)]
        class_names = class_names[1:] + class_names[:1]
    return Arrays(train, test, class_names)
