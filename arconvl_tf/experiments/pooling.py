"""How far pooled predictions can be trusted: intervals of a measure over groups, and of the recall of each class."""

import statistics

import numpy as np
from scipy.sparse import coo_array

MEASURES = ("g_mean", "class_wise_accuracy")
# Resamples at a time: the weights of fifty thousand groups take 40 MB.
CHUNK = 100


def bootstrap_interval(
    labels: np.ndarray,
    predicted: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    measure: str = "g_mean",
    repeats: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a measure over predictions, for instance those of all folds together.

    Whole groups are drawn with replacement, as many as there are: samples of one group are not so many witnesses. A class
    that a resample lacks is left out of that resample's measure, as `metrics.g_mean` does; a class of one group is lacking
    in 37 % of them, of two groups in 14 %, and what the interval says of it is little. A class never found has the recall 0
    in every resample that holds it. The models stay as they are: how they vary with their training data and seeds is not
    in the interval.

    Args:
        labels: true classes in 0..k−1, shape (n,).
        predicted: classes, shape (n,).
        groups: numbers or words, shape (n,); without them each sample is its own.
        measure: `"g_mean"` or `"class_wise_accuracy"`.
        repeats: resamples.
        seed: of the draws.
        level: share of the resamples inside, in 0..1.

    Returns:
        (low, high).

    Raises:
        ValueError: on another measure, or arrays of unequal or no length.

    Example:
        >>> labels = np.repeat([0, 1], 50)
        >>> predicted = np.where(np.arange(100) % 5, labels, 1 - labels)  # a fifth is wrong: G-mean 0.8
        >>> low, high = bootstrap_interval(labels, predicted)
        >>> round(low, 2), round(high, 2)
        (0.71, 0.87)
    """
    from arconvl_tf import metrics  # late: TensorFlow comes with it

    if measure not in MEASURES:
        raise ValueError(f"Expected `measure` to be one of {', '.join(MEASURES)}. Received: {measure!r}")
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if not len(labels) == len(predicted) == len(groups) > 0:
        raise ValueError(
            "Expected labels, predicted classes and groups of one length ≥ 1. "
            f"Received: {len(labels)}, {len(predicted)} and {len(groups)}"
        )
    recalls = _resampled_recalls(labels, labels == predicted, groups, repeats, np.random.default_rng(seed))
    values = np.apply_along_axis(getattr(metrics, measure), 1, recalls)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def recall_intervals(confusion: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Wilson's score interval of the recall of every class.

    It takes samples for independent: where groups are large, the truth is wider.

    Args:
        confusion: counts, shape (k, k), rows true classes, columns predicted ones.
        level: of confidence, in 0..1.

    Returns:
        (k, 2): low, high; NaN for a class without samples.

    Source:
        Wilson: Probable inference, the law of succession, and statistical inference. JASA 22, 1927.

    Example:
        >>> recall_intervals([[9, 1], [0, 0]]).round(3).tolist()
        [[0.596, 0.982], [nan, nan]]
    """
    confusion = np.asarray(confusion, dtype="float64")
    samples, hits = confusion.sum(axis=1), np.diag(confusion)
    samples = np.where(samples > 0, samples, np.nan)
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    center = (hits + z**2 / 2) / (samples + z**2)
    half = z * np.sqrt(hits * (samples - hits) / samples + z**2 / 4) / (samples + z**2)
    # At recalls of 0 and 1 rounding may lead past them.
    return np.clip(np.stack([center - half, center + half], axis=1), 0, 1)


def _resampled_recalls(labels, correct, groups, repeats, rng):
    """Recall of every class in every resample of groups, shape (repeats, k); NaN where it has no sample."""
    _, groups = np.unique(groups, return_inverse=True)
    number, num_classes = groups.max() + 1, labels.max() + 1
    # Misses and hits of each class in turn, a row a group.
    counts = coo_array((np.ones(len(labels)), (groups, 2 * labels + correct)), (number, 2 * num_classes)).tocsr()
    # Groups of equal counts need not be told apart; random sums of the rows find them.
    _, first, alike = np.unique(counts @ rng.random(2 * num_classes), return_index=True, return_counts=True)
    recalls = []
    for start in range(0, repeats, CHUNK):
        weights = rng.multinomial(number, alike / number, size=min(CHUNK, repeats - start))
        drawn = (weights @ counts[first]).reshape(-1, num_classes, 2)
        samples, hits = drawn.sum(axis=2), drawn[..., 1]
        recalls.append(np.divide(hits, samples, out=np.full(hits.shape, np.nan), where=samples > 0))
    return np.concatenate(recalls)
