"""Looking at a data set before training on it."""

import hashlib

import numpy as np

from arconvl_tf.data.datasets import batches
from arconvl_tf.data.pipeline import Dataset


def shared_pictures(first: Dataset, second: Dataset) -> int:
    """How many samples of `second` show a picture that `first` holds as well, pixel for pixel.

    Args:
        first, second: datasets of (images, labels, …), for instance the training and test side of `Splits`.

    Example:
        >>> import tensorflow as tf
        >>> one, two = (tf.data.Dataset.from_tensors((tf.ones([n, 8, 8, 1]), tf.zeros([n]))) for n in (1, 2))
        >>> shared_pictures(one, two)
        2
    """
    known = set(_fingerprints(first))
    return sum(fingerprint in known for fingerprint in _fingerprints(second))


def examples(dataset: Dataset, class_counts: np.ndarray, per_class: int) -> list[list[np.ndarray]]:
    """The first pictures of every class.

    Args:
        dataset: batches of (images, labels, …).
        class_counts: how many samples of each class it holds, shape (k,).
        per_class: how many pictures a class, at most.

    Returns:
        List of k lists of at most `per_class` images, uint8 arrays.

    Example:
        >>> import tensorflow as tf
        >>> dataset = tf.data.Dataset.from_tensors((tf.ones([4, 8, 8, 1]), tf.constant([0, 1, 1, 1])))
        >>> [len(pictures) for pictures in examples(dataset, class_counts=[1, 3], per_class=2)]
        [1, 2]
    """
    wanted = np.minimum(class_counts, per_class)
    found = [[] for _ in wanted]
    for images, labels, *_ in batches(dataset):
        for image, label in zip(np.asarray(images), np.asarray(labels)):
            if len(found[label]) < wanted[label]:
                found[label].append(image.astype("uint8"))
        if all(len(own) == most for own, most in zip(found, wanted)):
            break
    return found


def _fingerprints(dataset):
    for images, *_ in batches(dataset):
        for image in np.asarray(images):
            yield hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()
