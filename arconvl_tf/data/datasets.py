"""Datasets that exist already: what the losses must know about them is found by one pass over each."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf.data.checks import NO_NUMBERS, Pixels, require_channels_last, require_every_class, require_one_range
from arconvl_tf.data.pipeline import Dataset, Splits


def from_datasets(
    train: Dataset, validation: Dataset, test: Dataset, class_names: Sequence[str] | None = None
) -> Splits:
    """Turns datasets of your own into `Splits`; nothing is thinned, shuffled or changed.

    Args:
        train, validation, test: `tf.data.Dataset`s or `keras.utils.PyDataset`s of batches (images (n, height, width,
            channels), labels (n,) integers 0..k−1) or (images, labels, sample weights (n,)), with pixels of one range.
            Shuffling and augmentation are your own.
        class_names: list of k names; by default the class numbers.

    Returns:
        `Splits`, with the counts of one pass over each dataset, of samples whatever their weight; `image_shape` is `None`
        where the training pictures differ; `epoch` is `None`.

    Raises:
        ValueError: on a dataset that is known never to end or holds single samples, labels that are missing, no whole
            numbers or outside 0..k−1, pictures with NaN or channels first, pixels in 0–1 on one side and in 0–255 on
            another, a class without training samples, fewer than two classes.

    Example:
        >>> images, labels = np.zeros((6, 8, 8, 1), "float32"), [0, 1, 1, 0, 1, 1]
        >>> dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
        >>> splits = from_datasets(dataset, dataset, dataset, class_names=["owl", "cat"])
        >>> splits.class_counts.tolist(), splits.class_names
        ([2, 4], ['owl', 'cat'])
    """
    sides = {"train": train, "validation": validation, "test": test}
    seen = {name: _look_through(dataset, name) for name, dataset in sides.items()}
    require_one_range({name: side.pixels for name, side in seen.items()})
    num_classes = len(class_names) if class_names is not None else max(2, len(seen["train"].counts))
    if num_classes < 2:
        raise ValueError(f"Expected at least two classes. Received: class_names={list(class_names)}")
    for name, side in seen.items():
        if len(side.counts) > num_classes:
            raise ValueError(f"Expected {name} labels in 0..{num_classes - 1}. Received: label {len(side.counts) - 1}")
    split_counts = {name: _padded(side.counts, num_classes) for name, side in seen.items()}
    require_every_class(split_counts["train"])
    return Splits(
        **sides,
        class_counts=split_counts["train"],
        class_names=[str(name) for name in (class_names if class_names is not None else range(num_classes))],
        image_shape=seen["train"].image_shape,
        split_counts=split_counts,
        epoch=None,
    )


def batches(dataset: Dataset) -> Iterator:
    """The batches of one pass, as they are.

    Example:
        >>> [len(images) for images, labels in batches(tf.data.Dataset.from_tensors((tf.zeros([4, 8, 8]), [0, 1, 1, 0])))]
        [4]
    """
    if isinstance(dataset, keras.utils.PyDataset):
        return (dataset[number] for number in range(dataset.num_batches))
    return iter(dataset)


class _Seen(NamedTuple):
    """What one pass shows: samples of each class up to the last that occurs, the pictures' shape and their values."""

    counts: np.ndarray
    image_shape: tuple
    pixels: Pixels

    def joined(self, other):
        num_classes = max(len(self.counts), len(other.counts))
        return _Seen(
            _padded(self.counts, num_classes) + _padded(other.counts, num_classes),
            tuple(own if own == others else None for own, others in zip(self.image_shape, other.image_shape)),
            self.pixels.joined(other.pixels),
        )


def _look_through(dataset, side):
    _require_end(dataset, side)
    seen = None
    for batch in batches(dataset):
        images, labels = _images_and_labels(batch, side)
        if len(labels):
            here = _Seen(np.bincount(labels), images.shape[1:], Pixels.of(images))
            if not here.pixels.finite():
                raise ValueError(f"Expected finite {side} images. Received: NaN or infinite pixels")
            seen = here if seen is None else seen.joined(here)
    if seen is None:
        raise ValueError(f"Expected {side} samples. Received: an empty dataset")
    return seen


def _require_end(dataset, side):
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"Expected {side} data as a tf.data.Dataset or a keras.utils.PyDataset. Received: {type(dataset).__name__}. "
            "Arrays are taken by make_splits"
        )
    own_length = isinstance(dataset, keras.utils.PyDataset)
    if dataset.num_batches is None if own_length else dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"Expected a {side} dataset that ends. Received: one that repeats for ever. Leave repeat() out")


def _images_and_labels(batch, side):
    """The first two parts of a batch as arrays, if they are what they should be; the others are passed over."""
    images, labels, *_ = *(batch if isinstance(batch, (tuple, list)) else [batch]), None, None
    fault = "no labels. Pair them: tf.data.Dataset.zip(images, labels)" if labels is None else None
    if not fault:
        images, labels = np.asarray(images), np.asarray(labels)
        fault = _fault(images, labels)
    if fault:
        expected = f"Expected {side} batches of (images, whole-number labels (n,)) or (images, labels, sample weights)"
        raise ValueError(f"{expected}. Received: {fault}")
    if labels.min(initial=0) < 0:
        raise ValueError(f"Expected {side} labels ≥ 0. Received: {labels.min()}")
    require_channels_last(images.shape[1:], side)
    return images, labels


def _fault(images, labels):
    """What is wrong with the parts of a batch, and its mend; `None` if nothing is."""
    if images.dtype.kind in NO_NUMBERS:
        return f"images of type {images.dtype}. Give each batch one array of pixels"
    if not labels.ndim:
        return "single samples. Batch them: dataset.batch(32)"
    if labels.dtype.kind in NO_NUMBERS:
        return f"words as labels, {labels.flat[0]!r} for one. Number them: np.unique(words, return_inverse=True)"
    if labels.ndim != 1:
        mend = "labels[:, 0]" if labels.shape[1:] == (1,) else "labels.argmax(axis=1), if they are one-hot"
        return f"labels of shape {labels.shape}. Take {mend}"
    if labels.dtype.kind not in "iu":
        return f"labels of type {labels.dtype}. Cast them: tf.cast(labels, tf.int64)"
    return None if len(images) == len(labels) else f"{len(images)} images with {len(labels)} labels. Pair them anew"


def _padded(counts, num_classes):
    return np.pad(counts, (0, num_classes - len(counts)))
