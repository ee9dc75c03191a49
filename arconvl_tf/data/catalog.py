"""The data sets known by name."""

import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from arconvl_tf.data.arrays import sides_of_arrays
from arconvl_tf.data.files import sides_of_files
from arconvl_tf.data.imbalance import Imbalance
from arconvl_tf.data.listings import list_csv, list_folder
from arconvl_tf.data.options import DataOptions
from arconvl_tf.data.pipeline import Splits, assemble
from arconvl_tf.data.records import index_records, record_side
from arconvl_tf.data.sampling import Sampling, stratified_counts, subsample
from arconvl_tf.data.sides import Sides, side_in_memory
from arconvl_tf.data.vectors import read_vectors

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
    **options,
) -> Splits:
    """Loads a data set by name, or pictures or feature vectors of your own, and makes its classes imbalanced.

    Args:
        name: `digits` (scikit-learn's handwritten digits, no download); through TensorFlow Datasets `mnist`,
            `fashion_mnist`, `svhn` (class = digit − 1; digit 0 is class 9, as in the paper), `cifar10`, `cifar100`,
            `celeb_a` (five hair colours), `i_naturalist2018` (14 super-categories in alphabetical order; a seeded,
            stratified quarter of the training pictures). Or the path of a folder of class folders
            (`listings.list_folder`), of a CSV file of paths and labels (`listings.list_csv`) or of an `.npz` file of feature
            vectors (`vectors.read_vectors`); without a test side a fifth of each class is set aside for testing, without a
            validation side a tenth of the rest. The seed chooses which.
        imbalance, seed, batch_size, augmentation: see `make_splits`.
        data_dir: where TensorFlow Datasets keeps its files; default the environment's `TFDS_DATA_DIR`, or TFDS' own.
        **options: of pictures on disk, see `options.DataOptions`: `image_size` (also of `celeb_a`, usually 64, and
            `i_naturalist2018`, 224), `fit`, `background`, `group_by`, `keep_duplicates_together`, `skip_corrupt`, `overlap`.

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
    sides = load_sides(name, DataOptions(**options), augmentation, data_dir, seed=sampling.sides_seed)
    return assemble(sides, sampling)


def load_sides(
    name: str,
    options: DataOptions | None = None,
    augmentation: str = "none",
    data_dir: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    default_size: int | None = None,
    progress: Callable | None = None,
) -> Sides:
    """A data set as it is, before anything is drawn from it.

    Args:
        name, data_dir: see `load_data`.
        options: of pictures on disk; by default the usual ones.
        augmentation: which these data must allow.
        seed: chooses the quarter of iNaturalist 2018.
        default_size, progress: of own pictures, see `files.sides_of_files`.

    Raises: as `load_data`.
    """
    options = DataOptions() if options is None else options
    _check_kind(name, options)
    if name in STREAMED_SIZES:
        size = options.image_size or STREAMED_SIZES[name]
        builder = _prepared_builder(name, data_dir)
        if name == "celeb_a":
            return _celeb_a(builder, (size, size, 3), options.overlap)
        return _i_naturalist2018(builder, (size, size, 3), seed)
    path = pathlib.Path(name)
    if name not in NAMES and path.is_file() and path.suffix.lower() == ".npz":
        return _vectors(path)
    if name not in NAMES and path.exists():
        listing = (list_folder if path.is_dir() else list_csv)(path, options.group_by)
        return sides_of_files(listing, options, default_size, progress)
    arrays = load_arrays(name, data_dir)
    return sides_of_arrays(arrays.train, arrays.test, augmentation, arrays.class_names)


def is_own(name: str) -> bool:
    """Whether a data set is the user's own: a path, no name of ours."""
    return name not in NAMES


def _check_kind(name, options):
    """Refuses options that would be passed over in silence."""
    changed = options.changed()
    if options.image_size is not None and name in NAMES and name not in STREAMED_SIZES:
        raise ValueError(
            f"Expected no `image_size` with {name}, whose pictures keep theirs. Received: image_size={options.image_size}"
        )
    own = [option for option in changed if option not in ("image_size", "overlap")]
    vectors = is_own(name) and name.lower().endswith(".npz")
    if own and (name in NAMES or vectors):
        raise ValueError(f"Expected `{own[0]}` with own pictures only. Received: the data set {name}")
    if "overlap" in changed and name != "celeb_a":
        raise ValueError(f"Expected `overlap` with celeb_a only. Received: the data set {name}")


def _vectors(path):
    vectors = read_vectors(path)

    def side(chosen):
        rows = vectors.x[chosen]
        about = {"groups": vectors.groups, "names": vectors.names}
        about = {name: None if values is None else values[chosen] for name, values in about.items()}
        digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
        digests = np.frombuffer(b"".join(digests), "uint8").reshape(-1, 16)
        return side_in_memory(rows, vectors.labels[chosen], digests=digests, **about)

    sides = {name: side(chosen) for name, chosen in vectors.sides.items()}
    return Sides(**sides, image_shape=vectors.x.shape[1:], class_names=vectors.class_names)


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
        f"Expected a data set ({', '.join(NAMES)}), a folder, a CSV file or an .npz file. Received: {name!r}"
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


def _celeb_a(builder, image_shape, overlap):
    """With `"exclude"` a picture with several of the five hair attributes is left out, as the paper's text says; with
    `"count"` it is a sample of each, as its counts say, so that validation may hold a training picture under another label.
    Pictures with none of the five are left out. The test side is TFDS' validation split, as in the paper."""
    attributes = [f"attributes/{attribute}" for attribute in HAIR_COLOURS.values()]
    sides = []
    for split in ("train", "validation"):
        index = index_records(_record_files(builder, split), attributes)
        has = np.stack([index.features[attribute] for attribute in attributes], axis=1)
        if overlap == "exclude":
            has[has.sum(axis=1) > 1] = 0
        sides.append(record_side(index, *np.nonzero(has), image_shape))
    return Sides(train=sides[0], test=sides[1], image_shape=image_shape, class_names=list(HAIR_COLOURS))


def _i_naturalist2018(builder, image_shape, seed):
    names = builder.info.features["supercategory"].names
    classes = np.argsort(np.argsort(names))

    def side(split, share):
        index = index_records(_record_files(builder, split), ["supercategory"])
        labels = classes[index.features["supercategory"]]
        counts = stratified_counts(np.bincount(labels, minlength=len(names)), share)
        chosen = subsample(labels, counts, seed)
        return record_side(index, chosen, labels[chosen], image_shape)

    train, test = side("train", I_NATURALIST_SHARE), side("validation", 1.0)
    return Sides(train=train, test=test, image_shape=image_shape, class_names=sorted(names))


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
