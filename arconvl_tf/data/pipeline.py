"""From sides to `tf.data`: imbalance, stratified splits, and batches that depend on the seed and the epoch alone."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf.data.augmentation import AUGMENTATIONS
from arconvl_tf.data.checks import require_every_class
from arconvl_tf.data.folds import held_out
from arconvl_tf.data.images import Reading
from arconvl_tf.data.sampling import Sampling, subsample
from arconvl_tf.data.sides import PARALLEL_CALLS, PIPELINE_DEVICE, Side, Sides

TEST_SHARE = 0.2
MAX_EVALUATION_BATCH = 1024
MAX_EVALUATION_ELEMENTS = 1 << 24  # of one batch: 64 MiB in float32


Dataset = tf.data.Dataset | keras.utils.PyDataset


@dataclasses.dataclass(frozen=True, eq=False)
class Splits:
    """What a model is trained, chosen and judged on.

    Attributes:
        train, validation, test: datasets of (images float32 in 0–255, labels int64); of `datasets.from_datasets` those
            that were given. `validation` is `None` where no share was to be set aside.
        class_counts: the training samples of each class, shape (k,), before the validation share is set aside (the counts
            of the paper's supplement).
        class_names: k names.
        image_shape: (height, width, channels), or (d,) of feature vectors.
        split_counts: {"train", "validation", "test": samples of each class, shape (k,)}.
        epoch: the number of the pass that `train` draws next, which is also `train.epoch`. Order and augmentation are
            functions of (seed, epoch): the dataset reads the number when a pass starts and never changes it.
            `PrototypeClassifier.fit` and `ARConvL.fit` tell it by themselves; another Keras model is told with the callback
            `arconvl_tf.callbacks.ToldEpoch(splits.epoch)`, a loop of one's own with `splits.epoch.assign(number)`. Otherwise
            every pass has the same order. `None` where the order is not the library's to decide (`from_datasets`).
        parts: {"train", "validation", "test": `Side`}, the samples behind the datasets, with their names and groups; empty
            of `from_datasets`.
        reading: how a picture file becomes `image_shape`; `None` where the data are no files.
    """

    train: Dataset
    validation: Dataset | None
    test: Dataset
    class_counts: np.ndarray
    class_names: list[str]
    image_shape: tuple
    split_counts: dict[str, np.ndarray]
    epoch: tf.Variable | None
    parts: dict[str, Side] = dataclasses.field(default_factory=dict)
    reading: Reading | None = None


def assemble(sides: Sides, sampling: Sampling) -> Splits:
    """Draws `Splits` from a data set.

    Without a test side a fifth is set aside for testing, before classes are thinned; without a validation side a share of
    the thinned training side. Groups stay together.

    Args:
        sides: in memory or on disk, with labels 0..k−1.
        sampling: what is drawn, and how.

    Raises:
        ValueError: on fewer than two classes, labels outside 0..k−1, a class without training samples, an imbalance that
            the classes don't allow, too few samples or groups to divide.
    """
    class_names = list(sides.class_names)
    if len(class_names) < 2:
        raise ValueError(f"Expected at least two classes. Received: {', '.join(class_names)}")
    for name, side in sides.given().items():
        _require_known(side.labels, len(class_names), "training" if name == "train" else name)
    require_every_class(_counts(sides.train, class_names))
    train, test = (sides.train, sides.test) if sides.test is not None else _set_test_aside(sides, sampling)
    class_counts = sampling.imbalance.counts(_counts(train, class_names), class_names)
    train = train.part(subsample(train.labels, class_counts, sampling.sides_seed))
    parts = {"train": train, "validation": sides.validation, "test": test}
    if sides.validation is None and sampling.validation_share:
        kept, apart = held_out(train.labels, train.groups, sampling.validation_share, sampling.sides_seed)
        parts |= {"train": train.part(kept), "validation": train.part(apart)}
    parts = {name: side for name, side in parts.items() if side is not None}

    dataset = _training_dataset(parts["train"], sampling)
    evaluated = {name: evaluation_dataset(side, sides.image_shape) for name, side in parts.items() if name != "train"}
    return Splits(
        train=dataset,
        validation=evaluated.get("validation"),
        test=evaluated["test"],
        class_counts=class_counts,
        class_names=class_names,
        image_shape=tuple(sides.image_shape),
        split_counts={name: _counts(side, class_names) for name, side in parts.items()},
        epoch=dataset.epoch,
        parts=parts,
        reading=sides.reading,
    )


def _counts(side, class_names):
    return np.bincount(side.labels, minlength=len(class_names))


def _require_known(labels, num_classes, side):
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"Expected {side} labels in 0..{num_classes - 1}. Received: labels from {labels.min()} to {labels.max()}"
        )


def _set_test_aside(sides, sampling):
    lonely = np.flatnonzero(_counts(sides.train, sides.class_names) < 2)
    if len(lonely):
        raise ValueError(
            "Expected two samples or more of every class, one of them for testing, or a test side of your own. "
            f"Received: one of class {sides.class_names[lonely[0]]}"
        )
    kept, apart = held_out(sides.train.labels, sides.train.groups, TEST_SHARE, sampling.sides_seed)
    return sides.train.part(kept), sides.train.part(apart)


def _training_dataset(side, sampling):
    """Whole batches at a time: shuffled indices first, pixels late, and no Python for single images."""
    batch_size, augment = sampling.batch_size, AUGMENTATIONS[sampling.augmentation]
    counts = drawn = np.bincount(side.labels)
    if sampling.epoch_cap is not None:
        drawn = np.minimum(counts, np.ceil(sampling.epoch_cap * counts.mean()).astype(int))
    steps = -(-int(drawn.sum()) // batch_size)
    with tf.device(PIPELINE_DEVICE):
        labels = tf.constant(side.labels)
        epoch = tf.Variable(0, dtype=tf.int64, trainable=False, name="epoch")

    def one_pass(_):
        epoch_seed = tf.stack([tf.cast(sampling.seed, tf.int64), epoch.read_value()])
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(labels)), epoch_seed)
        if drawn.sum() < len(side.labels):
            # What comes first in its class comes early: only another shuffle spreads it over the epoch.
            chosen = _first_of_each_class(order, labels, counts, drawn)
            order = tf.random.experimental.stateless_shuffle(chosen, tf.random.fold_in(epoch_seed, -1))

        def batch(step):
            indices = order[step * batch_size : (step + 1) * batch_size]
            step_seed = tf.random.fold_in(epoch_seed, step)
            pixels = side.fetch(indices) if side.draw is None else side.draw(indices, step_seed)
            if augment is not None and side.draw is None:
                pixels = augment(pixels, step_seed)
            return tf.cast(pixels, tf.float32), tf.gather(labels, indices)

        return tf.data.Dataset.range(steps).map(batch, num_parallel_calls=PARALLEL_CALLS, deterministic=True)

    dataset = tf.data.Dataset.from_tensors(0).flat_map(one_pass)
    dataset = without_autotuning(dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(4))
    dataset.epoch = epoch  # so that a training loop that gets nothing else can tell it
    return dataset


def _first_of_each_class(order, labels, counts, drawn):
    """Of shuffled indices those that come first in their class, `drawn[j]` of class j's `counts[j]`."""
    by_class = tf.argsort(tf.gather(labels, order), stable=True)
    rank = tf.range(tf.size(order)) - tf.repeat(tf.constant(np.cumsum(counts) - counts, tf.int32), counts)
    kept = tf.boolean_mask(by_class, rank < tf.repeat(tf.constant(drawn, tf.int32), counts))
    return tf.gather(order, kept)


def evaluation_batch_size(image_shape: tuple) -> int:
    """How many samples of that shape a model is given at a time where nothing is learnt from them."""
    return min(MAX_EVALUATION_BATCH, max(1, MAX_EVALUATION_ELEMENTS // int(np.prod(image_shape))))


def evaluation_dataset(side: Side, image_shape: tuple) -> tf.data.Dataset:
    """All samples of a side in their order, unchanged, in large batches of (images, labels)."""
    batch_size = evaluation_batch_size(image_shape)
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
