"""What a training step refuses, said in one line: inputs and labels as they arrive, and the loss they lead to."""

import contextlib
import re
import warnings

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf.metrics import integer_labels, require_class_numbers

_MARK = "arconvl_tf: "
_FAILED = re.compile(rf"\[{_MARK}(.*?)\]((?: \[[^\]]*\])*)", re.DOTALL)


def require(holds, message, *values):
    """Operations that fail with a message, whose `{}` take the values' place; a list for `tf.control_dependencies`.

    `Assert` itself, without the branch that `tf.debugging` puts around it: a graph with branches outlives its model.

    Args:
        holds: scalar, bool.
        message: without brackets.
        *values: scalars.
    """
    data = [tf.constant(_MARK + message), *map(tf.convert_to_tensor, values)]
    check = tf.raw_ops.Assert(condition=holds, data=data, summarize=1)
    return [] if check is None else [check]  # executed at once, outside of a graph


@contextlib.contextmanager
def in_one_line():
    """Turns a failed `require` into a `ValueError` of its message, without TensorFlow's account of the graph around it."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        found = _FAILED.search(str(error))
        if not found:
            raise
        message, values = found.groups()
        raise ValueError(message.format(*re.findall(r"\[([^\]]*)\]", values))) from None


def checked_labels(labels, num_classes):
    """Labels as int64, shape (n,).

    Args:
        labels: whole numbers in 0..k−1 of any type, shape (n,) or (n, 1).
        num_classes: `k`.

    Raises:
        ValueError: on missing labels, on words, or on another shape; within a graph, as `require` does, on others than
            0..k−1.
    """
    if labels is None:
        raise ValueError("Expected pairs of inputs and labels. Received: inputs without labels. Give both")
    if len(keras.tree.flatten(labels)) != 1:
        raise ValueError(f"Expected one vector of class numbers. Received: a {type(labels).__name__} of several labels")
    given = tf.convert_to_tensor(keras.tree.flatten(labels)[0])
    labels = integer_labels(given)
    checks = []
    if given.dtype.is_floating:
        part = tf.abs(tf.reshape(given, [-1]) - tf.cast(labels, given.dtype))
        checks = require(
            tf.reduce_all(part == 0),
            "Expected whole numbers as labels. Received: one with a fraction of {}. Soft targets are not supported",
            tf.reduce_max(part),
        )
    with tf.control_dependencies(checks):  # NaN is no whole number, and would be a strange one after all
        # An empty batch, which a replica may get, has no smallest label.
        lowest, highest = tf.reduce_min(tf.concat([labels, [0]], 0)), tf.reduce_max(tf.concat([labels, [0]], 0))
    checks = require(
        (lowest >= 0) & (highest < num_classes),
        f"Expected labels in 0..{num_classes - 1}. Received: labels from {{}} to {{}}. Number classes from 0 without gaps",
        lowest,
        highest,
    )
    with tf.control_dependencies(checks):  # otherwise some operation on wrong labels may fail first, in its own words
        return tf.identity(labels)


def finite_inputs(inputs, step):
    """The inputs, once they are known to be finite: one NaN would spoil every weight and moving average for good.

    Args:
        inputs: a tensor (n, …), or a structure of them.
        step: scalar, the number that a message gives to this step.
    """
    inputs = keras.tree.map_structure(tf.convert_to_tensor, inputs)
    # A sum is infinite or NaN where one of its numbers is, and costs one pass.
    sums = [
        tf.reduce_sum(tf.cast(tf.reshape(part, [tf.shape(part)[0], -1]), tf.float32), axis=1)
        for part in keras.tree.flatten(inputs)
        if part.dtype.is_floating
    ]
    if not sums:
        return inputs
    finite = tf.reduce_all(tf.stack([tf.math.is_finite(each) for each in sums]), axis=0)
    first = tf.argmin(tf.cast(tf.concat([finite, [False]], axis=0), tf.int32))
    checks = require(
        tf.reduce_all(finite),
        "Expected finite inputs. Received: NaN or infinity in sample {} of the batch of training step {} (from 0). Mend or "
        "drop it",
        first,
        step,
    )
    with tf.control_dependencies(checks):
        return keras.tree.map_structure(tf.identity, inputs)


def require_finite_loss(loss, step):
    """Fails, as `require` does, once the loss of a step is not finite."""
    require(
        tf.math.is_finite(loss),
        "Expected a finite loss. Received: {} at training step {} (from 0), from finite inputs. Lower the learning rate, or "
        "the numbers of the loss",
        loss,
        step,
    )


def check_array(labels) -> None:
    """Labels in an array are looked at before Keras does, which stumbles over some kinds of them in its own words."""
    if isinstance(labels, (list, np.ndarray)):
        require_class_numbers(labels)


def compare_counts(labels, class_counts) -> None:
    """Warns where arrays of labels don't look like the class counts that weights and priors were made from."""
    counts = np.asarray(class_counts)
    if not len(counts) or not isinstance(labels, (list, np.ndarray)) or np.asarray(labels).dtype.kind not in "iu":
        return
    given = np.bincount(np.clip(np.ravel(labels), 0, None), minlength=len(counts))
    expected = counts / counts.sum() * given.sum()
    # Half or double the share, in a class large enough for that to be no accident.
    ratios = (given[: len(counts)] + 1) / (expected + 1)
    if len(given) == len(counts) and (np.abs(np.log2(ratios)) > 1).any():
        warnings.warn(
            f"Expected training labels in the proportions of class_counts={counts.tolist()}. Received: {given.tolist()} "
            "of them. Unless that is meant, give class_counts=np.bincount(labels)"
        )
