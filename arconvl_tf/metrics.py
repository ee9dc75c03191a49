"""G-mean and class-wise accuracy, over a whole confusion matrix or streamed through `fit` and `evaluate`."""

import keras
import numpy as np
import tensorflow as tf


def class_recalls(confusion):
    """Recall of every class, NaN for a class without samples.

    Args:
        confusion: counts, shape (k, k), rows true classes, columns predicted ones.
    """
    confusion = np.asarray(confusion, dtype="float64")
    totals = confusion.sum(axis=1)
    return np.divide(np.diag(confusion), totals, out=np.full(len(confusion), np.nan), where=totals > 0)


def g_mean(recalls):
    """Geometric mean of the recalls of the classes that have samples; exactly 0 once one class is never found.

    Example:
        >>> float(g_mean([1.0, 0.25]))
        0.5
    """
    recalls = np.asarray(recalls, dtype="float64")
    with np.errstate(divide="ignore"):
        return np.exp(np.nanmean(np.log(recalls)))


def class_wise_accuracy(recalls):
    """Arithmetic mean of the recalls of the classes that have samples (also: balanced accuracy)."""
    return np.nanmean(recalls)


def require_class_numbers(labels):
    """Says what to do with labels that can't be class numbers by their type or shape.

    Raises:
        ValueError: on words, or on another shape than (n,) or (n, 1), that of one-hot labels for instance.
    """
    labels = labels if hasattr(labels, "dtype") else np.asarray(labels)
    if labels.dtype == tf.string or (isinstance(labels.dtype, np.dtype) and labels.dtype.kind in "SUO"):
        raise ValueError(
            "Expected class numbers as labels. Received: words. Number them: names, labels = np.unique(labels, "
            "return_inverse=True)"
        )
    shape = tf.TensorShape(labels.shape)
    if shape.rank is not None and shape[1:].as_list() not in ([], [1]):
        raise ValueError(
            "Expected class numbers of shape (n,) or (n, 1); for one-hot labels give labels.argmax(axis=-1). "
            f"Received: labels of shape {tuple(shape)}"
        )


def integer_labels(labels):
    """Labels as int64, shape (n,).

    Args:
        labels: class numbers, shape (n,) or (n, 1), of any type; Keras makes floats of a user's integers at times.

    Raises:
        ValueError: on words, or another shape, that of one-hot labels for instance.

    Example:
        >>> integer_labels([[2.0], [0.0]]).numpy()
        array([2, 0])
    """
    require_class_numbers(labels)
    return tf.reshape(tf.cast(labels, tf.int64), [-1])


class _RecallMetric(keras.metrics.Metric):
    """Counts hits and samples of every class; subclasses average the recalls."""

    def __init__(self, name, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._direction = "up"  # where Keras' own callbacks look for it (`mode="auto"`)
        self._built = False

    def _build(self, num_classes):
        self.hits = self.add_variable(shape=(num_classes,), initializer="zeros", name="hits")
        self.samples = self.add_variable(shape=(num_classes,), initializer="zeros", name="samples")
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts a batch.

        Args:
            y_true: integer labels, shape (n,) or (n, 1).
            y_pred: logits or probabilities, shape (n, k).
            sample_weight: optional, shape (n,).
        """
        y_pred = tf.convert_to_tensor(y_pred)
        if y_pred.shape.rank != 2 or y_pred.shape[1] < 2:
            shape = tuple(y_pred.shape)
            raise ValueError(f"Expected logits or probabilities of shape (n, k), k ≥ 2. Received: shape {shape}")
        if not self._built:
            self._build(y_pred.shape[1])
        labels = integer_labels(y_true)
        hits = tf.cast(labels == tf.argmax(y_pred, axis=-1), self.dtype)
        weights = tf.ones_like(hits) if sample_weight is None else tf.reshape(tf.cast(sample_weight, self.dtype), [-1])
        num_classes = self.hits.shape[0]
        self.hits.assign_add(tf.math.unsorted_segment_sum(weights * hits, labels, num_classes))
        self.samples.assign_add(tf.math.unsorted_segment_sum(weights, labels, num_classes))

    def _present_recalls(self):
        samples = tf.convert_to_tensor(self.samples)
        present = samples > 0
        return tf.boolean_mask(self.hits, present) / tf.boolean_mask(samples, present)

    def result(self):
        if not self._built:
            return 0.0
        recalls = self._present_recalls()
        return tf.where(tf.size(recalls) > 0, self._average(recalls), 0.0)

    def reset_state(self):
        if self._built:
            super().reset_state()


@keras.saving.register_keras_serializable("arconvl_tf")
class GMean(_RecallMetric):
    """Geometric mean of the class recalls, the measure the paper judges by.

    Classes without a sample are left out; one class that is never found makes it exactly 0.

    Args:
        name: optional; in logs and histories.
        dtype: optional.

    Example:
        >>> metric = GMean()
        >>> metric.update_state([0, 0, 1, 1], np.array([[2., 1.], [2., 1.], [1., 2.], [2., 1.]]))
        >>> round(float(metric.result()), 4)
        0.7071
    """

    def __init__(self, name: str = "g_mean", dtype: str | None = None):
        super().__init__(name, dtype)

    def _average(self, recalls):
        return tf.exp(tf.reduce_mean(tf.math.log(recalls)))


@keras.saving.register_keras_serializable("arconvl_tf")
class ClassWiseAccuracy(_RecallMetric):
    """Arithmetic mean of the class recalls; classes without a sample are left out.

    Args:
        name: optional; in logs and histories.
        dtype: optional.

    Example:
        >>> metric = ClassWiseAccuracy()
        >>> metric.update_state([0, 0, 1, 1], np.array([[2., 1.], [2., 1.], [1., 2.], [2., 1.]]))
        >>> float(metric.result())
        0.75
    """

    def __init__(self, name: str = "class_wise_accuracy", dtype: str | None = None):
        super().__init__(name, dtype)

    def _average(self, recalls):
        return tf.reduce_mean(recalls)


class MeanScalars(keras.metrics.Metric):
    """The means of several named scalars over the samples, in one variable.

    A `keras.metrics.Mean` for each would take more small operations, and time, than the losses they report.
    """

    def __init__(self, names):
        super().__init__(name="mean_scalars")
        self.names = names
        self.totals_and_count = self.add_variable(shape=(len(names) + 1,), initializer="zeros", name="totals_and_count")

    def update_state(self, values, count):
        """Takes the scalars in the order of their names, each a mean over `count` samples."""
        count = tf.cast(count, self.dtype)
        self.totals_and_count.assign_add(count * tf.stack([*(tf.cast(value, self.dtype) for value in values), 1.0]))

    def result(self):
        totals_and_count = tf.convert_to_tensor(self.totals_and_count)
        return dict(zip(self.names, tf.unstack(tf.math.divide_no_nan(totals_and_count[:-1], totals_and_count[-1]))))


class LatestScalars(keras.metrics.Metric):
    """Several named scalars as they were last: for read-outs of state, where an average over an epoch means nothing."""

    def __init__(self, names):
        super().__init__(name="latest_scalars")
        self.names = names
        self.values = self.add_variable(
            shape=(len(names),), initializer="zeros", name="values", aggregation="only_first_replica"
        )

    def update_state(self, values):
        self.values.assign(tf.stack([tf.cast(value, self.dtype) for value in values]))

    def result(self):
        return dict(zip(self.names, tf.unstack(tf.convert_to_tensor(self.values))))
