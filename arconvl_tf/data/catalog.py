"""The data sets known by name."""

import os
import pathlib
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from arconvl_tf.data.arrays import splits_of_arrays
from arconvl_tf.data.checks import require_whole
from arconvl_tf.data.files import load_files
from arconvl_tf.data.imbalance import Imbalance
from arconvl_tf.data.listings import list_csv, list_folder
from arconvl_tf.data.pipeline import Splits, assemble
from arconvl_tf.data.records import index_records, record_side
from arconvl_tf.data.sampling import Sampling, stratified_counts, subsample

DIGITS_TEST_SHARE = 0.2
IN_MEMORY = {
    "mnist": "mnist",
    "fashion_mnist": "fashion_mnist",
    "svhn": "svhn_cropped",
    "cifar10": "cifar10",
    "cifar100": "cifar100",
}
STREAMED_SIZES = {"celeb_a": 64, "i_naturalist2018": 224}
NAMES = ("digits", *IN_MEMORY, *STREAMED_SIZES)
# In the order of the paper's supplement.
HAIR_COLOURS = {"blond": "Blond_Hair", "brown": "Brown_Hair", "gray": "Gray_Hair", "bald": "Bald", "black": "Black_Hair"}
OVERLAPS = ("exclude", "count")
I_NATURALIST_SHARE = 0.25


class DataUnavailableError(OSError):
    """A data set is not prepared on this machine."""


class Arrays(NamedTuple):
    """One data set in memory: (images uint8 (n, height, width, channels), labels int64 (n,)) of each side."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    class_names: list[str]


def load_data(
    name: str = "digits",
    imbalance: float | Imbalance = 1,
    *,
    seed: int = 0,
    batch_size: int = 128,
    augmentation: str = "none",
    data_dir: str | os.PathLike | None = None,
    image_size: int | None = None,
    overlap: str = "exclude",
    skip_corrupt: bool = False,
) -> Splits:
    """Loads a data set by name, or pictures of your own, and makes its classes imbalanced.

    Args:
        name: `digits` (scikit-learn's handwritten digits, no download); through TensorFlow Datasets `mnist`,
            `fashion_mnist`, `svhn` (class = digit − 1; digit 0 is class 9, as in the paper), `cifar10`, `cifar100`,
            `celeb_a` (five hair colours), `i_naturalist2018` (14 super-categories in alphabetical order; a seeded,
            stratified quarter of the training pictures). Or the path of a folder of class folders
            (`listings.list_folder`) or of a CSV file of paths and labels (`listings.list_csv`); without a test side
            a fifth of each class is set aside for testing, without a validation side a tenth of the rest. The seed
            chooses which.
        imbalance, seed, batch_size, augmentation: see `make_splits`.
        data_dir: where TensorFlow Datasets keeps its files; default the environment's `TFDS_DATA_DIR`, or TFDS' own.
        image_size: height and width of pictures that are decoded as they are needed: own ones (default: theirs if all
            are alike and not above 256, else 64), `celeb_a` (64) and `i_naturalist2018` (224). Resizing stretches.
        overlap: what becomes of a CelebA picture with several of the five hair attributes: `"exclude"` leaves it out,
            as the paper's text says; `"count"` makes it a sample of each, as the paper's counts say (so that validation
            may hold a training picture under another label). Pictures with
            none of the five are left out. The test side is TFDS' validation split, as in the paper.
        skip_corrupt: leave unreadable own pictures out instead of refusing the data set.

    Returns:
        `Splits`.

    Raises:
        ValueError: on an unknown name, bad options, or options that are for another kind of data.
        DataUnavailableError: if the data set is not prepared; the message says the command that does it.

    Example:
        >>> splits = load_data("digits", imbalance=10)
        >>> splits.image_shape, len(splits.class_names)
        ((8, 8, 1), 10)
    """
    sampling = Sampling(imbalance, seed, batch_size, augmentation)
    _check_kind(name, image_size, overlap, skip_corrupt)
    if name in STREAMED_SIZES:
        size = image_size or STREAMED_SIZES[name]
        builder = _prepared_builder(name, data_dir)
        if name == "celeb_a":
            return _load_celeb_a(builder, (size, size, 3), overlap, sampling)
        return _load_i_naturalist2018(builder, (size, size, 3), sampling)
    if name not in NAMES and pathlib.Path(name).is_dir():
        return load_files(list_folder(name), sampling, image_size, skip_corrupt)
    if name not in NAMES and pathlib.Path(name).is_file():
        return load_files(list_csv(name), sampling, image_size, skip_corrupt)
    arrays = load_arrays(name, data_dir)
    return splits_of_arrays(arrays.train, arrays.test, sampling, arrays.class_names)


def _check_kind(name, image_size, overlap, skip_corrupt):
    """Refuses options that would be passed over in silence."""
    if image_size is not None:
        require_whole(image_size, "image_size", 1)
    if image_size is not None and name in NAMES and name not in STREAMED_SIZES:
        raise ValueError(f"Expected no `image_size` with {name}, whose pictures keep theirs. Received: {image_size=}")
    if skip_corrupt and name in NAMES:
        raise ValueError(f"Expected `skip_corrupt` with own pictures only. Received: the data set {name}")
    if overlap not in OVERLAPS:
        raise ValueError(f"Expected `overlap` to be one of {', '.join(OVERLAPS)}. Received: {overlap!r}")
    if overlap != "exclude" and name != "celeb_a":
        raise ValueError(f"Expected `overlap` with celeb_a only. Received: the data set {name}")


def load_arrays(name: str, data_dir: str | os.PathLike | None = None) -> Arrays:
    """A data set that fits into memory, as it was published, as `Arrays`; see `load_data`.

    Example:
        >>> load_arrays("digits").train[0].shape
        (1437, 8, 8, 1)
    """
    if name == "digits":
        return _load_digits()
    if name in IN_MEMORY:
        return _load_tfds(name, data_dir)
    raise ValueError(
        f"Expected a data set ({', '.join(NAMES)}), a folder of class folders or a CSV file. Received: {name!r}"
    )


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

    builder = _prepared_builder(name, data_dir)
    sides = [tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1)) for split in ("train", "test")]
    class_names = builder.info.features["label"].names
    (train, test) = [(side["image"], side["label"]) for side in sides]
    if name == "svhn":
        train, test = [(images, (labels - 1) % 10) for images, labels in (train, test)]
        class_names = class_names[1:] + class_names[:1]
    return Arrays(train, test, class_names)


def _load_celeb_a(builder, image_shape, overlap, sampling):
    attributes = [f"attributes/{attribute}" for attribute in HAIR_COLOURS.values()]
    sides = []
    for split in ("train", "validation"):
        index = index_records(_record_files(builder, split), attributes)
        has = np.stack([index.features[attribute] for attribute in attributes], axis=1)
        if overlap == "exclude":
            has[has.sum(axis=1) > 1] = 0
        sides.append(record_side(index, *np.nonzero(has), image_shape))
    return assemble(*sides, image_shape, list(HAIR_COLOURS), sampling)


def _load_i_naturalist2018(builder, image_shape, sampling):
    names = builder.info.features["supercategory"].names
    classes = np.argsort(np.argsort(names))

    def side(split, share):
        index = index_records(_record_files(builder, split), ["supercategory"])
        labels = classes[index.features["supercategory"]]
        counts = stratified_counts(np.bincount(labels, minlength=len(names)), share)
        chosen = subsample(labels, counts, sampling.sides_seed)
        return record_side(index, chosen, labels[chosen], image_shape)

    sides = side("train", I_NATURALIST_SHARE), side("validation", 1.0)
    return assemble(*sides, image_shape, sorted(names), sampling)


def _prepared_builder(name, data_dir):
    import tensorflow_datasets as tfds

    tfds_name = IN_MEMORY.get(name, name)
    builder = tfds.builder(tfds_name, data_dir=data_dir)
    if not builder.is_prepared():
        # Not downloaded unasked: without a network TFDS tries for minutes and leaves half-filled folders behind.
        raise DataUnavailableError(
            f"{name} is not prepared in {builder.data_dir_root} (another folder: --data-dir, TFDS_DATA_DIR). Where there is "
            f"a network, prepare it once with: {_preparation(tfds_name, data_dir)}"
        )
    return builder


def _preparation(tfds_name, data_dir):
    """The command that prepares a data set; TFDS' own needs packages that it does not require."""
    where = f", data_dir={str(data_dir)!r}" if data_dir else ""
    script = f"import tensorflow_datasets as tfds; tfds.builder('{tfds_name}'{where}).download_and_prepare()"
    return f'python -c "{script}"'


def _record_files(builder, split):
    file_format = builder.info.file_format.value
    if file_format != "tfrecord":
        raise DataUnavailableError(
            f"Expected {builder.name} prepared as tfrecord files. Received: {file_format}; "
            f"remove {builder.data_dir} and prepare it again with: {_preparation(builder.name, builder.data_dir_root)}"
        )
    return [str(file) for file in builder.info.splits[split].filepaths]
