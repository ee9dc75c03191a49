"""What a model does with samples: its logits, and the measures of `metrics.json`."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from arconvl_tf.data.datasets import batches
from arconvl_tf.metrics import class_recalls, class_wise_accuracy, g_mean


class Outcome(NamedTuple):
    """What a model answered: `labels` (n,) as they are, `logits` (n, k)."""

    labels: np.ndarray
    logits: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        return self.logits.argmax(axis=1)

    @property
    def probabilities(self) -> np.ndarray:
        return tf.nn.softmax(self.logits).numpy()


def outcome(model, dataset) -> Outcome:
    """The logits of a `PrototypeClassifier` for every sample of a dataset of (images, labels)."""
    labels, logits = [np.zeros(0, "int64")], [np.zeros((0, model.num_classes), "float32")]
    for images, own in batches(dataset):
        labels.append(np.asarray(own))
        logits.append(model.predict_on_batch(images))
    return Outcome(np.concatenate(labels), np.concatenate(logits))


def measures(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> dict:
    """The measures of `metrics.json`; the recall of a class without samples is `None`.

    Example:
        >>> measures(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)["recall"]
        [0.5, 1.0]
    """
    confusion = np.zeros((num_classes, num_classes), dtype="int64")
    np.add.at(confusion, (labels, predicted), 1)
    recalls = class_recalls(confusion)
    return {
        "g_mean": float(g_mean(recalls)),
        "class_wise_accuracy": float(class_wise_accuracy(recalls)),
        "recall": [None if np.isnan(recall) else float(recall) for recall in recalls],
        "confusion": confusion.tolist(),
    }


def evaluate(model, dataset, adjust=None) -> dict:
    """The measures of a model on a dataset of (images, labels).

    Args:
        model: a `PrototypeClassifier`.
        dataset: batches of (images, labels).
        adjust: optional function of the logits (n, k), for instance a post-hoc logit adjustment.
    """
    labels, logits = outcome(model, dataset)
    if adjust is not None:
        logits = np.asarray(adjust(logits))
    return measures(labels, logits.argmax(axis=1), model.num_classes)
