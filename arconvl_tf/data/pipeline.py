"""From arrays to `tf.data`: imbalance, stratified splits, and batches that depend on the seed and the epoch alone."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.model_selection import train_test_split

from arconvl_tf import hardware
from arconvl_tf.data import imbalance as imbalances
from arconvl_tf.data.augmentation import AUGMENTATIONS

VALIDATION_SHARE = 0.1
# tf.data runs on the processor: what it reads must not lie in the memory of a GPU.
PIPELINE_DEVICE = "CPU:0"
# Batches (or pictures) at work at a time, each of which takes its memory; their order doesn't depend on it.
PARALLEL_CALLS = min(hardware.usable_cores(), 8)
MAX_EVALUATION_BATCH = 1024
MAX_EVALUATION_ELEMENTS = 1 << 24  # of one batch: 64 MiB in float32


class Splits(NamedTuple):
    """What a model is trained, chosen and judged on.

    `train`, `validation` and `test` are datasets of (images float32 in 0–255, labels int64). `class_counts` are the
    training samples of each class, before the validation share is set aside (the counts of the paper's supplement);
    `split_counts` gives those of each split. `epoch` numbers the passes over `train`: shuffling and augmentation are
    functions of (seed, epoch). A new pass adds one; assign `e - 1` to it before a pass to make that pass epoch `e`. It
    is `None` where the order is not the library's to decide (`datasets.from_datasets`).
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    class_counts: np.ndarray
    class_names: list
    image_shape: tuple
    split_counts: dict
    epoch: tf.Variable | None


def make_splits(
    train,
    test,
    imbalance=1,
    minority="even",
    profile="step",
    keep=None,
    seed=0,
    batch_size=128,
    augmentation="none",
    class_names=None,
):
    """Builds imbalanced training, validation and test data from arrays.

    Minority classes of the training side are thinned by `imbalance`, then a stratified tenth is set aside for
    validation. The test side is left as it is.

    Args:
        train: (images, labels): images (n, height, width) or (n, height, width, channels) in 0–255, of any real
            type (another range trains too, but only without augmentation); labels (n,) integers or words. Classes are
            numbered in the order of the sorted labels of `train`.
        test: (images, labels) likewise.
        imbalance: `q`, how many times fewer samples a minority class keeps.
        minority: `"even"`, `"odd"`, `"last"` (see `imbalance.minority_classes`) or a list of classes.
        profile: `"step"` (the paper's) or `"exponential"` (long-tailed), see `imbalance.imbalanced_counts`.
        keep: instead of an imbalance, `{class: samples to keep}`; a class that isn't named keeps all. Classes are called
            by name here and in `minority`, or by number where names aren't numbers themselves.
        seed: decides which samples are kept, how they are split and in which order they come.
        batch_size: of the training data.
        augmentation: `"none"`, `"light"` or `"paper"` (for 8-bit images), see `augmentation`.
        class_names: optional list of k names; labels must then be 0..k−1. The labels themselves otherwise.

    Returns:
        `Splits`.

    Raises:
        ValueError: on images with NaN or of unequal shape, a single class, test labels that training doesn't know, an
            imbalance that empties a class.

    Example:
        >>> images, labels = np.zeros((60, 8, 8), "uint8"), np.arange(60) % 3
        >>> splits = make_splits((images, labels), (images[:6], labels[:6]), imbalance=2)
        >>> splits.class_counts.tolist(), splits.image_shape
        ([10, 20, 10], (8, 8, 1))
    """
    train_images, train_labels = _validate(train, "training")
    test_images, test_labels = _validate(test, "test")
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"Expected training and test images of one shape. Received: {train_images.shape[1:]} and {test_images.shape[1:]}"
        )
    if class_names is None:
        class_names, train_labels = np.unique(train_labels, return_inverse=True)
        test_labels = _numbered(test_labels, class_names)
    for labels, side in ((train_labels, "training"), (test_labels, "test")):
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"Expected integer {side} labels beside `class_names`. Received: {labels.dtype}")
    if augmentation == "paper" and train_images.dtype != "uint8":
        raise ValueError(f'Expected 8-bit images (uint8) for augmentation="paper". Received: {train_images.dtype}')
    if augmentation == "light" and train_images.dtype != "uint8":
        _require_full_range(train_images)
    return assemble(
        _side_in_memory(train_images, train_labels),
        _side_in_memory(test_images, test_labels),
        train_images.shape[1:],
        [str(name) for name in class_names],
        imbalance=imbalance,
        minority=minority,
        profile=profile,
        keep=keep,
        seed=seed,
        batch_size=batch_size,
        augmentation=augmentation,
    )


def _numbered(labels, class_names):
    """The places of labels among sorted names."""
    unknown = np.setdiff1d(labels, class_names)
    if len(unknown):
        raise ValueError(f"Expected test labels that training has as well. Received: {unknown[0]}")
    return np.searchsorted(class_names, labels)


def _side_in_memory(images, labels):
    with tf.device(PIPELINE_DEVICE):
        return Side(functools.partial(tf.gather, tf.constant(images)), labels.astype("int64"))


class Side(NamedTuple):
    """One side of a data set: `fetch` turns indices (n,) into images (n, height, width, channels); `labels` are all."""

    fetch: Callable
    labels: np.ndarray


def assemble(
    train,
    test,
    image_shape,
    class_names,
    validation=None,
    *,
    imbalance=1,
    minority="even",
    profile="step",
    keep=None,
    seed=0,
    batch_size=128,
    augmentation="none",
):
    """Builds `Splits` from two sides, in memory or on disk; see `make_splits` for the options.

    Args:
        train, test: `Side`s.
        image_shape: (height, width, channels).
        class_names: list of k names.
        validation: a `Side` of its own; by default a stratified tenth of the thinned training side.
    """
    if augmentation not in AUGMENTATIONS:
        raise ValueError(f"Expected `augmentation` to be one of {', '.join(AUGMENTATIONS)}. Received: {augmentation!r}")
    if not (isinstance(batch_size, (int, np.integer)) and batch_size >= 1):
        raise ValueError(f"Expected `batch_size` to be a whole number ≥ 1. Received: batch_size={batch_size}")
    num_classes = len(class_names)
    if num_classes < 2:
        raise ValueError(f"Expected at least two classes. Received: {', '.join(class_names)}")
    at_hand = _count(train.labels, num_classes, "training")
    _count(test.labels, num_classes, "test")

    if keep:
        if (imbalance, minority, profile) != (1, "even", "step"):
            raise ValueError(
                "Expected `keep` alone, without `imbalance`, `minority` or `profile`. "
                f"Received: imbalance={imbalance:g}, minority={minority!r}, profile={profile!r}"
            )
        class_counts = imbalances.explicit_counts(at_hand, keep, class_names)
    else:
        if not isinstance(minority, str):
            minority = [imbalances.class_number(label, class_names) for label in minority]
        class_counts = imbalances.imbalanced_counts(at_hand, imbalance, minority, profile, class_names)
    kept = imbalances.subsample(train.labels, class_counts, seed)
    if validation is None:
        kept, held_out = [kept[part] for part in stratified_split(train.labels[kept], VALIDATION_SHARE, seed)]
        validation = _part(train, held_out)
    train = _part(train, kept)

    with tf.device(PIPELINE_DEVICE):
        epoch = tf.Variable(-1, dtype=tf.int64, trainable=False, name="epoch")
    sides = {"train": train, "validation": validation, "test": test}
    evaluation_batch = min(MAX_EVALUATION_BATCH, max(1, MAX_EVALUATION_ELEMENTS // int(np.prod(image_shape))))
    return Splits(
        train=_training_dataset(train, batch_size, seed, epoch, AUGMENTATIONS[augmentation]),
        validation=_evaluation_dataset(validation, evaluation_batch),
        test=_evaluation_dataset(test, evaluation_batch),
        class_counts=class_counts,
        class_names=list(class_names),
        image_shape=tuple(image_shape),
        split_counts={name: np.bincount(side.labels, minlength=num_classes) for name, side in sides.items()},
        epoch=epoch,
    )


def _training_dataset(side, batch_size, seed, epoch, augment):
    """Whole batches at a time: shuffled indices first, pixels late, and no Python for single images."""
    steps = -(-len(side.labels) // batch_size)
    with tf.device(PIPELINE_DEVICE):
        labels = tf.constant(side.labels)

    def one_epoch(_):
        number = epoch.assign_add(1)
        epoch_seed = tf.stack([tf.cast(seed, tf.int64), number])
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(labels)), epoch_seed)

        def batch(step):
            indices = order[step * batch_size : (step + 1) * batch_size]
            pixels = side.fetch(indices)
            if augment is not None:
                pixels = augment(pixels, tf.random.fold_in(epoch_seed, step))
            return tf.cast(pixels, tf.float32), tf.gather(labels, indices)

        return tf.data.Dataset.range(steps).map(batch, num_parallel_calls=PARALLEL_CALLS, deterministic=True)

    dataset = tf.data.Dataset.from_tensors(0).flat_map(one_epoch)
    return without_autotuning(dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(4))


def _evaluation_dataset(side, batch_size):
    """All samples in their order, in large batches."""
    with tf.device(PIPELINE_DEVICE):
        labels = tf.constant(side.labels)

    def batch(indices):
        return tf.cast(side.fetch(indices), tf.float32), tf.gather(labels, indices)

    indices = tf.data.Dataset.range(len(side.labels)).batch(batch_size)
    return without_autotuning(indices.map(batch, num_parallel_calls=PARALLEL_CALLS, deterministic=True).prefetch(2))


def without_autotuning(dataset):
    """Switches tf.data's tuner off, which has nothing to tune here and costs time.

    An iterator that ends waits for its tuner's next round, and rounds come at 10 ms times powers of two: a pass that
    took 0.9 s ended after 1.27 s, one of 45 s would end after 82 s.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _part(side, indices):
    """The samples of a side at the given indices."""
    with tf.device(PIPELINE_DEVICE):
        chosen = tf.constant(indices)
    return Side(lambda positions: side.fetch(tf.gather(chosen, positions)), side.labels[indices])


def stratified_split(labels, share, seed):
    """Holds a stratified share out, of every class of two samples or more; one sample alone stays.

    Args:
        labels: integers, shape (n,).
        share: in 0..1.
        seed: integer.

    Returns:
        (kept, held out): sorted indices into `labels`.

    Raises:
        ValueError: if there are too few samples for all classes to stand on both sides.
    """
    lonely = np.bincount(labels)[labels] < 2
    splittable = np.flatnonzero(~lonely)
    strata = labels[splittable]
    present = np.unique(strata)
    size = max(round(share * len(splittable)), len(present))
    if not len(present) or len(splittable) - size < len(present):
        raise ValueError(
            f"Expected enough samples to hold a share of {share} of every class out. "
            f"Received: {len(labels)} samples of {len(np.unique(labels))} classes"
        )
    kept, held_out = train_test_split(np.arange(len(splittable)), test_size=size, stratify=strata, random_state=seed)
    # A share of a few samples may round to none.
    absent = np.setdiff1d(present, strata[held_out])
    moved = np.array([kept[strata[kept] == label].min() for label in absent], dtype="int64")
    kept, held_out = np.setdiff1d(kept, moved), np.concatenate([held_out, moved])
    return np.sort(np.concatenate([splittable[kept], np.flatnonzero(lonely)])), np.sort(splittable[held_out])


def _require_full_range(images):
    """Light is changed by parts of 0–255 and cut off there: pictures in 0–1 or around 0 would be destroyed."""
    smallest, largest = images.min(), images.max()
    if smallest < 0 or largest <= 1 or largest > 255:
        raise ValueError(f'Expected pixels in 0–255 for augmentation="light". Received: {smallest:g} to {largest:g}')


def _validate(pair, side):
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f"Expected {side} data as a pair (images, labels). Received: {type(pair).__name__}")
    images, labels = map(np.asarray, pair)
    if labels.dtype == object:  # a column of words from pandas; a missing one is a float
        other = [label for label in labels.flat if not isinstance(label, (str, int, np.integer))]
        labels = labels if other else np.array(labels.tolist())
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or labels.ndim != 1 or len(images) != len(labels) or not len(images):
        raise ValueError(
            f"Expected {side} images (n, height, width[, channels]) and labels (n,), n ≥ 1. "
            f"Received: shapes {images.shape} and {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer) and labels.dtype.kind != "U":
        received = repr(other[0]) if labels.dtype == object else labels.dtype
        raise ValueError(f"Expected {side} labels to be integers or words. Received: {received}")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError(f"Expected {side} labels ≥ 0. Received: {labels.min()}")
    if np.issubdtype(images.dtype, np.floating):
        bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
        if len(bad):
            raise ValueError(
                f"Expected finite {side} images. Received: NaN or infinite pixels in {len(bad)} of them, "
                f"the first at index {bad[0]}"
            )
    return images, labels


def _count(labels, num_classes, side):
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"Expected {side} labels in 0..{num_classes - 1}. Received: labels from {labels.min()} to {labels.max()}"
        )
    counts = np.bincount(labels, minlength=num_classes)
    if side == "training":
        require_every_class(counts)
    return counts


def require_every_class(class_counts):
    """Refuses training data that lack a class."""
    empty = np.flatnonzero(class_counts == 0)
    if len(empty):
        raise ValueError(
            f"Expected training samples of every class 0..{len(class_counts) - 1}. Received: none of class {empty[0]}"
        )
