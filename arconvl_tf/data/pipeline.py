"""From sides to `tf.data`: imbalance, stratified splits, and batches that depend on the seed and the epoch alone."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import hardware
from arconvl_tf.data.augmentation import AUGMENTATIONS
from arconvl_tf.data.checks import require_every_class
from arconvl_tf.data.sampling import Sampling, stratified_split, subsample

VALIDATION_SHARE = 0.1
# tf.data runs on the processor: what it reads must not lie in the memory of a GPU.
PIPELINE_DEVICE = "CPU:0"
# Batches (or pictures) at work at a time, each of which takes its memory; their order doesn't depend on it.
PARALLEL_CALLS = min(hardware.usable_cores(), 8)
MAX_EVALUATION_BATCH = 1024
MAX_EVALUATION_ELEMENTS = 1 << 24  # of one batch: 64 MiB in float32


Dataset = tf.data.Dataset | keras.utils.PyDataset


@dataclasses.dataclass(frozen=True, eq=False)
class Splits:
    """What a model is trained, chosen and judged on.

    Attributes:
        train, validation, test: datasets of (images float32 in 0–255, labels int64); of `datasets.from_datasets` those
            that were given.
        class_counts: the training samples of each class, shape (k,), before the validation share is set aside (the counts
            of the paper's supplement).
        class_names: k names.
        image_shape: (height, width, channels).
        split_counts: {"train", "validation", "test": samples of each class, shape (k,)}.
        epoch: the number of the pass that `train` draws next, which is also `train.epoch`. Order and augmentation are
            functions of (seed, epoch): the dataset reads the number when a pass starts and never changes it.
            `PrototypeClassifier.fit` and `ARConvL.fit` tell it by themselves; another Keras model is told with the callback
            `arconvl_tf.callbacks.ToldEpoch(splits.epoch)`, a loop of one's own with `splits.epoch.assign(number)`. Otherwise
            every pass has the same order. `None` where the order is not the library's to decide (`from_datasets`).
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    class_counts: np.ndarray
    class_names: list[str]
    image_shape: tuple
    split_counts: dict[str, np.ndarray]
    epoch: tf.Variable | None


class Side(NamedTuple):
    """One side of a data set: `fetch` turns indices (n,) into images (n, height, width, channels); `labels` are all."""

    fetch: Callable
    labels: np.ndarray


def assemble(
    train: Side,
    test: Side,
    image_shape: tuple,
    class_names: Sequence[str],
    sampling: Sampling,
    validation: Side | None = None,
) -> Splits:
    """Builds `Splits` from two sides, in memory or on disk.

    Args:
        train, test: sides with labels 0..k−1.
        image_shape: (height, width, channels).
        class_names: k names.
        sampling: what is drawn, and how.
        validation: a side of its own; by default a stratified tenth of the thinned training side.

    Raises:
        ValueError: on fewer than two classes, labels outside 0..k−1, a class without training samples, an imbalance that
            the classes don't allow.
    """
    num_classes = len(class_names)
    if num_classes < 2:
        raise ValueError(f"Expected at least two classes. Received: {', '.join(class_names)}")
    at_hand = _count(train.labels, num_classes, "training")
    require_every_class(at_hand)
    _count(test.labels, num_classes, "test")

    class_counts = sampling.imbalance.counts(at_hand, class_names)
    kept = subsample(train.labels, class_counts, sampling.sides_seed)
    if validation is None:
        parts = stratified_split(train.labels[kept], VALIDATION_SHARE, sampling.sides_seed)
        kept, held_out = [kept[part] for part in parts]
        validation = _part(train, held_out)
    train = _part(train, kept)

    sides = {"train": train, "validation": validation, "test": test}
    evaluation_batch = min(MAX_EVALUATION_BATCH, max(1, MAX_EVALUATION_ELEMENTS // int(np.prod(image_shape))))
    dataset = _training_dataset(train, sampling)
    return Splits(
        train=dataset,
        validation=_evaluation_dataset(validation, evaluation_batch),
        test=_evaluation_dataset(test, evaluation_batch),
        class_counts=class_counts,
        class_names=list(class_names),
        image_shape=tuple(image_shape),
        split_counts={name: np.bincount(side.labels, minlength=num_classes) for name, side in sides.items()},
        epoch=dataset.epoch,
    )


def _count(labels, num_classes, side):
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"Expected {side} labels in 0..{num_classes - 1}. Received: labels from {labels.min()} to {labels.max()}"
        )
    return np.bincount(labels, minlength=num_classes)


def _training_dataset(side, sampling):
    """Whole batches at a time: shuffled indices first, pixels late, and no Python for single images."""
    batch_size, augment = sampling.batch_size, AUGMENTATIONS[sampling.augmentation]
    steps = -(-len(side.labels) // batch_size)
    with tf.device(PIPELINE_DEVICE):
        labels = tf.constant(side.labels)
        epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")

    def one_pass(_):
        epoch_seed = tf.stack([tf.cast(sampling.seed, tf.int64), epoch.read_value()])
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(labels)), epoch_seed)

        def batch(step):
            indices = order[step * batch_size : (step + 1) * batch_size]
            pixels = side.fetch(indices)
            if augment is not None:
                pixels = augment(pixels, tf.random.fold_in(epoch_seed, step))
            return tf.cast(pixels, tf.float32), tf.gather(labels, indices)

        return tf.data.Dataset.range(steps).map(batch, num_parallel_calls=PARALLEL_CALLS, deterministic=True)

    dataset = tf.data.Dataset.from_tensors(0).flat_map(one_pass)
    dataset = without_autotuning(dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(4))
    dataset.epoch = epoch  # so that a training loop that gets nothing else can tell it
    return dataset


def _evaluation_dataset(side, batch_size):
    """All samples in their order, in large batches."""
    with tf.device(PIPELINE_DEVICE):
        labels = tf.constant(side.labels)

    def batch(indices):
        return tf.cast(side.fetch(indices), tf.float32), tf.gather(labels, indices)

    indices = tf.data.Dataset.range(len(side.labels)).batch(batch_size)
    return without_autotuning(indices.map(batch, num_parallel_calls=PARALLEL_CALLS, deterministic=True).prefetch(2))


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
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
