"""Arrays as a data set: checked, numbered and handed to the pipeline."""

from collections.abc import Sequence

import numpy as np

from arconvl_tf.data.checks import NO_NUMBERS, Pixels, require_channels_last, require_eight_bits, require_one_range
from arconvl_tf.data.imbalance import Imbalance
from arconvl_tf.data.pipeline import Splits, assemble
from arconvl_tf.data.sampling import Sampling
from arconvl_tf.data.sides import Sides, side_in_memory


def make_splits(
    train: tuple,
    test: tuple,
    imbalance: float | Imbalance = 1,
    *,
    seed: int = 0,
    batch_size: int = 128,
    augmentation: str = "none",
    class_names: Sequence[str] | None = None,
) -> Splits:
    """Builds imbalanced training, validation and test data from arrays.

    Classes of the training side are thinned as `imbalance` says, then a stratified tenth is set aside for validation. The
    test side is left as it is.

    Args:
        train: (images, labels): images (n, height, width) or (n, height, width, channels) in 0–255, of any real
            type (floats of another range train too, but only without augmentation; booleans stand for 0 and 255, beside
            floats in 0–1 for 0 and 1); labels (n,) integers or words. Classes are numbered in the order of the sorted
            labels of `train`.
        test: (images, labels) likewise, with pixels of the same range.
        imbalance: `q`, how many times fewer samples every second class keeps, or an `Imbalance` for other ways.
        seed: decides which samples are kept, how they are split and in which order they come.
        batch_size: of the training data.
        augmentation: `"none"`, `"light"` or `"paper"` (for 8-bit images), see `augmentation`.
        class_names: optional list of k names; labels must then be 0..k−1. The labels themselves otherwise.

    Returns:
        `Splits`.

    Raises:
        ValueError: on images with NaN, of unequal shape or range, of integers beyond 255 or with channels first, a single
            class, test labels that training doesn't know, an imbalance that the classes don't allow.

    Example:
        >>> images, labels = np.zeros((60, 8, 8), "uint8"), np.arange(60) % 3
        >>> splits = make_splits((images, labels), (images[:6], labels[:6]), imbalance=2)
        >>> splits.class_counts.tolist(), splits.image_shape
        ([10, 20, 10], (8, 8, 1))
    """
    sampling = Sampling(imbalance, seed, batch_size, augmentation)
    return assemble(sides_of_arrays(train, test, augmentation, class_names), sampling)


def sides_of_arrays(
    train: tuple, test: tuple, augmentation: str = "none", class_names: Sequence[str] | None = None
) -> Sides:
    """The arrays that `make_splits` takes, checked and numbered."""
    train_images, train_labels, train_pixels = _checked(train, "training")
    test_images, test_labels, test_pixels = _checked(test, "test", white=1 if train_pixels.unit() else 255)
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
    _require_augmentable(train_images.dtype, train_pixels, augmentation)
    require_one_range({"training": train_pixels, "test": test_pixels})
    return Sides(
        train=side_in_memory(train_images, train_labels),
        test=side_in_memory(test_images, test_labels),
        image_shape=train_images.shape[1:],
        class_names=[str(name) for name in class_names],
    )


def _checked(pair, side, white=255):
    """A side as (images of four axes, labels, the values of its pixels); `white` is what true means."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f"Expected {side} data as a pair (images, labels). Received: {type(pair).__name__}")
    images, labels = map(np.asarray, pair)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or labels.ndim != 1 or len(images) != len(labels) or not images.size:
        raise ValueError(
            f"Expected {side} images (n, height, width[, channels]) and labels (n,), n ≥ 1. "
            f"Received: shapes {images.shape} and {labels.shape}"
        )
    require_channels_last(images.shape[1:], side)
    labels = _checked_labels(labels, side)
    if images.dtype.kind in NO_NUMBERS:
        raise ValueError(f"Expected {side} images of numbers. Received: {images.dtype}. Give one array of pixels")
    if images.dtype == bool:
        images = np.where(images, np.uint8(white), np.uint8(0))
    pixels = Pixels.of(images)
    if not pixels.finite():
        bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
        raise ValueError(
            f"Expected finite {side} images. Received: NaN or infinite pixels in {len(bad)} of them, "
            f"the first at index {bad[0]}"
        )
    require_eight_bits(images.dtype, pixels, side)
    return images, labels, pixels


def _checked_labels(labels, side):
    """Integers, or words of numpy's own kind."""
    received = labels.dtype
    if labels.dtype == object:  # a column of words from pandas; a missing one is a float
        other = [label for label in labels if not isinstance(label, (str, int, np.integer))]
        received = repr(other[0]) if other else received
        labels = labels if other else np.array(labels.tolist())
    if not np.issubdtype(labels.dtype, np.integer) and labels.dtype.kind != "U":
        raise ValueError(f"Expected {side} labels to be integers or words. Received: {received}")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise ValueError(f"Expected {side} labels ≥ 0. Received: {labels.min()}")
    return labels


def _numbered(labels, class_names):
    """The places of labels among sorted names."""
    unknown = np.setdiff1d(labels, class_names)
    if len(unknown):
        raise ValueError(f"Expected test labels that training has as well. Received: {unknown[0]}")
    return np.searchsorted(class_names, labels)


def _require_augmentable(kind, pixels, augmentation):
    if augmentation == "paper" and kind != "uint8":
        raise ValueError(f'Expected 8-bit images (uint8) for augmentation="paper". Received: {kind}')
    # Light is changed by parts of 0–255 and cut off there: pictures in 0–1 or around 0 would be destroyed.
    smallest, largest, _ = pixels
    if augmentation == "light" and kind != "uint8" and (smallest < 0 or largest <= 1 or largest > 255):
        raise ValueError(f'Expected pixels in 0–255 for augmentation="light". Received: {smallest:g} to {largest:g}')
