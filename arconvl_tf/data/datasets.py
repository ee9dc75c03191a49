"""Datasets that exist already: what the losses must know about them is found by one pass over each."""

import numpy as np
import tensorflow as tf

from arconvl_tf.data.pipeline import Splits, require_every_class


def from_datasets(train, validation, test, class_names=None):
    """Turns `tf.data.Dataset`s of your own into `Splits`; nothing is thinned, shuffled or changed.

    Args:
        train, validation, test: batches of (images (n, height, width, channels), labels (n,) integers 0..k−1); further
            elements, such as sample weights, are passed on. Shuffling and augmentation are your own.
        class_names: list of k names; by default the class numbers.

    Returns:
        `Splits`, with the counts of one pass over each dataset; `epoch` is `None`.

    Raises:
        ValueError: on a dataset that is known never to end or holds single samples, pictures with NaN, labels outside
            0..k−1, a class without training samples, fewer than two classes.

    Example:
        >>> images, labels = np.zeros((6, 8, 8, 1), "float32"), [0, 1, 1, 0, 1, 1]
        >>> dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
        >>> splits = from_datasets(dataset, dataset, dataset, class_names=["owl", "cat"])
        >>> splits.class_counts.tolist(), splits.class_names
        ([2, 4], ['owl', 'cat'])
    """
    sides = {"train": train, "validation": validation, "test": test}
    counted = {name: _count(dataset, name) for name, dataset in sides.items()}
    num_classes = len(class_names) if class_names is not None else max(2, len(counted["train"]))
    if num_classes < 2:
        raise ValueError(f"Expected at least two classes. Received: class_names={list(class_names)}")
    for name, counts in counted.items():
        if len(counts) > num_classes:
            raise ValueError(f"Expected {name} labels in 0..{num_classes - 1}. Received: label {len(counts) - 1}")
    split_counts = {name: np.pad(counts, (0, num_classes - len(counts))) for name, counts in counted.items()}
    require_every_class(split_counts["train"])
    return Splits(
        **sides,
        class_counts=split_counts["train"],
        class_names=[str(name) for name in (class_names if class_names is not None else range(num_classes))],
        image_shape=tuple(train.element_spec[0].shape[1:]),
        split_counts=split_counts,
        epoch=None,
    )


def _count(dataset, side):
    """Samples of each class, found by one pass."""
    specification = dataset.element_spec
    pair = isinstance(specification, tuple) and [part for part in specification[:2] if isinstance(part, tf.TensorSpec)]
    if not pair or len(pair) < 2 or pair[1].shape.rank != 1 or not pair[1].dtype.is_integer:
        raise ValueError(f"Expected {side} batches of (images, whole-number labels (n,)). Received: {specification}")
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"Expected a {side} dataset that ends. Received: one that repeats for ever")
    counts = np.zeros(0, dtype="int64")
    for images, labels, *_ in dataset:
        if tf.reduce_min(labels) < 0:
            raise ValueError(f"Expected {side} labels ≥ 0. Received: {tf.reduce_min(labels).numpy()}")
        if images.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(images)):
            raise ValueError(f"Expected finite {side} images. Received: NaN or infinite pixels")
        own = np.bincount(labels.numpy())
        counts = np.pad(counts, (0, max(0, len(own) - len(counts))))
        counts[: len(own)] += own
    if not len(counts):
        raise ValueError(f"Expected {side} samples. Received: an empty dataset")
    return counts
