"""From arrays to `tf.data`: imbalance, stratified splits, and batches that depend on the seed and the epoch alone."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.model_selection import train_test_split

from arconvl_tf.data import augmentation as augmentations
from arconvl_tf.data import imbalance as imbalances

VALIDATION_SHARE = 0.1
EVALUATION_BATCH_SIZE = 1024
AUGMENTATIONS = {"none": None, "paper": augmentations.paper_augmentation}


class Splits(NamedTuple):
    """What a model is trained, chosen and judged on.

    `train`, `validation` and `test` are datasets of (images float32 in 0–255, labels int64). `class_counts` are the
    training samples of each class, before the validation share is set aside (the counts of the paper's supplement);
    `split_counts` gives those of each split. `epoch` numbers the passes over `train`: shuffling and augmentation are
    functions of (seed, epoch). A new pass adds one; assign `e - 1` to it before a pass to make that pass epoch `e`.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    class_counts: np.ndarray
    class_names: list
    image_shape: tuple
    split_counts: dict
    epoch: tf.Variable


def make_splits(
    train,
    test,
    imbalance=1,
    minority="even",
    profile="step",
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
            type; labels (n,) integers 0..k−1.
        test: (images, labels) likewise.
        imbalance: `q`, how many times fewer samples a minority class keeps.
        minority: `"even"`, `"odd"` or a list of class numbers.
        profile: `"step"` (the paper's) or `"exponential"` (long-tailed), see `imbalance.imbalanced_counts`.
        seed: decides which samples are kept, how they are split and in which order they come.
        batch_size: of the training data.
        augmentation: `"none"`, or `"paper"` (shifts, flips, erasing; for 8-bit images).
        class_names: optional list of k names; the class numbers otherwise.

    Returns:
        `Splits`.

    Raises:
        ValueError: on images with NaN or of unequal shape, labels outside 0..k−1, an imbalance that empties a class.

    Example:
        >>> images, labels = np.zeros((60, 8, 8), "uint8"), np.arange(60) % 3
        >>> splits = make_splits((images, labels), (images[:6], labels[:6]), imbalance=2)
        >>> splits.class_counts.tolist(), splits.image_shape
        ([10, 20, 10], (8, 8, 1))
    """
    if augmentation not in AUGMENTATIONS:
        raise ValueError(f"Expected `augmentation` to be one of {', '.join(AUGMENTATIONS)}. Received: {augmentation!r}")
    if not (isinstance(batch_size, (int, np.integer)) and batch_size >= 1):
        raise ValueError(f"Expected `batch_size` to be a whole number ≥ 1. Received: batch_size={batch_size}")
    train_images, train_labels = _validate(*train, "training")
    test_images, test_labels = _validate(*test, "test")
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"Expected training and test images of one shape. Received: {train_images.shape[1:]} and {test_images.shape[1:]}"
        )
    num_classes = len(class_names) if class_names is not None else int(train_labels.max()) + 1
    at_hand = _count(train_labels, num_classes, "training")
    _count(test_labels, num_classes, "test")

    class_counts = imbalances.imbalanced_counts(at_hand, imbalance, minority, profile)
    kept = imbalances.subsample(train_labels, class_counts, seed)
    train_indices, validation_indices = _stratified_split(kept, train_labels[kept], seed)

    epoch = tf.Variable(-1, dtype=tf.int64, trainable=False, name="epoch")
    sides = {
        "train": (train_images[train_indices], train_labels[train_indices]),
        "validation": (train_images[validation_indices], train_labels[validation_indices]),
        "test": (test_images, test_labels),
    }
    return Splits(
        train=_training_dataset(*sides["train"], batch_size, seed, epoch, AUGMENTATIONS[augmentation]),
        validation=_evaluation_dataset(*sides["validation"]),
        test=_evaluation_dataset(*sides["test"]),
        class_counts=class_counts,
        class_names=[str(name) for name in (class_names if class_names is not None else range(num_classes))],
        image_shape=train_images.shape[1:],
        split_counts={name: np.bincount(labels, minlength=num_classes) for name, (_, labels) in sides.items()},
        epoch=epoch,
    )


def _training_dataset(images, labels, batch_size, seed, epoch, augment):
    """Batches gathered from arrays in memory: shuffled indices first, pixels late, and no work for single images."""
    steps = -(-len(labels) // batch_size)
    images, labels = tf.constant(images), tf.constant(labels)

    def one_epoch(_):
        number = epoch.assign_add(1)
        epoch_seed = tf.stack([tf.cast(seed, tf.int64), number])
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(labels)), epoch_seed)

        def batch(step):
            indices = order[step * batch_size : (step + 1) * batch_size]
            pixels = tf.gather(images, indices)
            if augment is not None:
                pixels = augment(pixels, tf.random.fold_in(epoch_seed, step))
            return tf.cast(pixels, tf.float32), tf.gather(labels, indices)

        return tf.data.Dataset.range(steps).map(batch, num_parallel_calls=2, deterministic=True)

    dataset = tf.data.Dataset.from_tensors(0).flat_map(one_epoch)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(4)


def _evaluation_dataset(images, labels):
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(EVALUATION_BATCH_SIZE)
    return dataset.map(lambda pixels, label: (tf.cast(pixels, tf.float32), label)).prefetch(2)


def _stratified_split(indices, labels, seed):
    """A stratified tenth for validation; a class of one sample stays on the training side."""
    lonely = np.bincount(labels)[labels] < 2
    splittable = indices[~lonely]
    validation_size = max(int(round(VALIDATION_SHARE * len(splittable))), len(np.unique(labels[~lonely])))
    try:
        train, validation = train_test_split(
            splittable, test_size=validation_size, stratify=labels[~lonely], random_state=seed
        )
    except ValueError as error:
        raise ValueError(f"Expected enough samples to set a stratified tenth aside for validation: {error}") from error
    return np.sort(np.concatenate([train, indices[lonely]])), np.sort(validation)


def _validate(images, labels, side):
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or labels.ndim != 1 or len(images) != len(labels) or not len(images):
        raise ValueError(
            f"Expected {side} images (n, height, width[, channels]) and labels (n,), n ≥ 1. "
            f"Received: shapes {images.shape} and {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"Expected integer {side} labels. Received: {labels.dtype}")
    if np.issubdtype(images.dtype, np.floating):
        bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
        if len(bad):
            raise ValueError(
                f"Expected finite {side} images. Received: NaN or infinite pixels in {len(bad)} of them, "
                f"the first at index {bad[0]}"
            )
    return images, labels.astype("int64")


def _count(labels, num_classes, side):
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"Expected {side} labels in 0..{num_classes - 1}. Received: labels from {labels.min()} to {labels.max()}"
        )
    counts = np.bincount(labels, minlength=num_classes)
    empty = np.flatnonzero(counts == 0)
    if side == "training" and len(empty):
        raise ValueError(
            f"Expected training samples of every class 0..{num_classes - 1}: class {empty[0]} has none. "
            "Number the classes without gaps"
        )
    return counts
