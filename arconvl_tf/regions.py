"""Distances and region geometry (Eqs. 3, 4, 5 and 7): pure tensors, no state.

Every class owns a region, a centre `C_j` and a radius `R_j`. This module measures: features against centres, centres
against each other, and the four scalars that follow from the regions as they stand.

No tensor of shape (n, k, d) or (k, k, d) is ever made. Distances come from one matrix product, and pairs of centres
are visited in blocks of rows, so that memory stays at O(nk + kd + block) whatever the number of classes.
"""

from typing import NamedTuple

import tensorflow as tf

from arconvl_tf import hardware

# One block of intermediate values holds at most this many elements (16 MiB in float32).
BLOCK_ELEMENTS = 1 << 22
# ‖f‖² + ‖c‖² − 2 f·c loses its leading digits when the distance is small beside the norms. Below this share of the
# norms a distance is computed again from the difference f − c, which keeps the relative error under 1e-4.
CANCELLATION_SHARE = 2.0**-5
# Distances saturate here: sums over a batch stay finite, so softmax never meets ∞ − ∞.
MAX_SQUARED_DISTANCE = 1e30


class RegionGeometry(NamedTuple):
    """What the two losses read from the regions: scalars, three lengths squared and β, a plain number."""

    benchmark_sq: tf.Tensor
    upper_bound_sq: tf.Tensor
    beta: tf.Tensor
    margin: tf.Tensor


def squared_distances(features, centers):
    """Squared Euclidean distance from every feature vector to every centre.

    Args:
        features: float tensor, shape (n, d).
        centers: float tensor of the same dtype, shape (k, d).

    Returns:
        Tensor `D` of shape (n, k), `D[i, j] = ‖f_i − C_j‖²`, never negative, at most 1e30. Its relative error in
        float32 stays below 1e-4 also where a feature lies close to a centre far from the origin. The gradient comes
        from the matrix products: its error is some 1e-7 of the norms, more than that beside a far smaller distance.

    Example:
        >>> squared_distances(tf.constant([[3.0, 4.0]]), tf.constant([[0.0, 0.0], [3.0, 4.0]])).numpy()
        array([[25.,  0.]], dtype=float32)
    """
    return _differentiable_distances(tf.convert_to_tensor(features), tf.convert_to_tensor(centers))


def region_geometry(centers, radii):
    """The benchmark radius, the upper bound, β and σ² of the regions as they stand (Eqs. 3, 4, 5, 7).

    With `dmin²(C_j)` the squared distance from centre j to the nearest other centre:
    `R_ben² = min_j dmin²(C_j) / 4`, `R_upp² = max(max_j R_j², max_j dmin²(C_j) / 4)`,
    `β = min(1, R_upp² / R_ben² − 1)` and `σ² = min(R_ben², R_upp² − R_ben²)`.

    The paper lets no gradient through any of them; the caller stops the gradient of what it passes in.

    Args:
        centers: float tensor, shape (k, d), k ≥ 2.
        radii: non-negative float tensor, shape (k,).

    Returns:
        `RegionGeometry(benchmark_sq, upper_bound_sq, beta, margin)`. Two equal centres make the benchmark radius
        zero; then β = 1, its limit.

    Example:
        >>> geometry = region_geometry(tf.constant([[0.0], [2.0], [5.0]]), tf.constant([0.5, 0.5, 0.5]))
        >>> [round(float(value), 3) for value in geometry]
        [1.0, 2.25, 1.0, 1.0]
    """
    quarter_distances = nearest_center_distances(centers) / 4.0
    benchmark_sq = tf.reduce_min(quarter_distances)
    upper_bound_sq = tf.maximum(tf.reduce_max(tf.square(radii)), tf.reduce_max(quarter_distances))
    excess = upper_bound_sq - benchmark_sq
    # excess / benchmark, written so that a benchmark of zero divides nothing.
    beta = tf.where(excess < benchmark_sq, tf.math.divide_no_nan(excess, benchmark_sq), 1.0)
    return RegionGeometry(benchmark_sq, upper_bound_sq, beta, tf.minimum(benchmark_sq, excess))


def nearest_center_distances(centers):
    """`dmin²(C_j)`: squared distance from every centre to the nearest other one; shape (k,), without a gradient."""
    centers = tf.stop_gradient(centers)

    def nearest(rows, distances, nearest_so_far):
        own = tf.one_hot(rows, tf.shape(centers)[0], on_value=centers.dtype.max, dtype=centers.dtype)
        return (tf.concat([nearest_so_far, tf.reduce_min(tf.maximum(distances, own), axis=1)], axis=0),)

    return fold_center_pairs(centers, nearest, (tf.zeros([0], centers.dtype),))[0]


def fold_center_pairs(centers, function, initial):
    """Folds `function` over the (k, k) squared distances between centres, a block of rows at a time.

    Args:
        centers: shape (k, d).
        function: `function(rows, distances, *state) -> state`, with `rows` (b,) the block's row numbers and
            `distances` (b, k) theirs to all centres.
        initial: tuple of tensors, the state before the first block.

    Returns:
        The state after the last block. No gradient flows through the fold: callers define their own.
    """
    num_classes = tf.shape(centers)[0]
    block = max(1, BLOCK_ELEMENTS // max(1, centers.shape[0] or 0))
    points = _points(centers, tf.reduce_mean(centers, axis=0))
    if centers.shape[0] is not None and centers.shape[0] <= block:
        return function(tf.range(num_classes), _squared_distances(points, points), *initial)

    def visit(start, *state):
        rows = tf.range(start, tf.minimum(start + block, num_classes))
        distances = _squared_distances(_Points(*(tf.gather(values, rows) for values in points)), points)
        return (start + block, *function(rows, distances, *state))

    # The first dimension may grow from block to block (a list of minima) or stay (a gradient).
    shapes = [tf.TensorShape([None, *value.shape[1:]]) if value.shape.rank else value.shape for value in initial]
    return tf.while_loop(
        lambda start, *_: start < num_classes,
        visit,
        (tf.constant(0), *initial),
        shape_invariants=(tf.TensorShape([]), *shapes),
        parallel_iterations=1,
    )[1:]


@tf.custom_gradient
def _differentiable_distances(features, centers):
    # Distances don't change when the origin moves; at the mean centre the norms, and with them the rounding, are small.
    origin = tf.reduce_mean(centers, axis=0)
    features, centers = _points(features, origin), _points(centers, origin)
    distances = _squared_distances(features, centers)

    def gradient(upstream):
        upstream = tf.where(distances < MAX_SQUARED_DISTANCE, upstream, 0.0)
        by_sample, by_class = tf.reduce_sum(upstream, axis=1)[:, None], tf.reduce_sum(upstream, axis=0)[:, None]
        return (
            2.0 * (by_sample * features.moved - tf.matmul(upstream, centers.moved)),
            2.0 * (by_class * centers.moved - tf.matmul(upstream, features.moved, transpose_a=True)),
        )

    return distances, gradient


class _Points(NamedTuple):
    """Vectors (m, d) as they were given, seen from another origin (m, d), and their squared norms there (m,)."""

    given: tf.Tensor
    moved: tf.Tensor
    norms: tf.Tensor


def _points(vectors, origin):
    moved = vectors - origin
    return _Points(vectors, moved, tf.reduce_sum(tf.square(moved), axis=1))


def _squared_distances(features, centers):
    """The values of `squared_distances`, without its gradient, between two sets of `_Points` of one origin."""
    norms = features.norms[:, None] + centers.norms
    distances = norms - 2.0 * _inner_products(features.moved, centers.moved)
    # `not >` rather than `<=`: a NaN from ∞ − ∞ is measured again as well.
    cancelled = tf.where(tf.logical_not(distances > CANCELLATION_SHARE * norms))
    measured = _paired_distances(features.given, centers.given, cancelled)
    return tf.minimum(tf.tensor_scatter_nd_update(distances, cancelled, measured), MAX_SQUARED_DISTANCE)


def _inner_products(features, centers):
    if features.dtype == tf.float32 and hardware.rounds_float32_products():
        # Ten bits would leave nothing of a distance that is small beside the norms.
        wide = tf.matmul(tf.cast(features, tf.float64), tf.cast(centers, tf.float64), transpose_b=True)
        return tf.cast(wide, tf.float32)
    return tf.matmul(features, centers, transpose_b=True)


def _paired_distances(features, centers, pairs):
    """`‖f_i − C_j‖²` from the difference itself, for each row (i, j) of `pairs`, in blocks of bounded size."""
    num_pairs = tf.shape(pairs)[0]
    block = max(1, BLOCK_ELEMENTS // max(1, centers.shape[1]))

    def measure(pairs):
        rows, columns = tf.unstack(pairs, num=2, axis=1)
        difference = tf.gather(features, rows) - tf.gather(centers, columns)
        return tf.reduce_sum(tf.square(difference), axis=1)

    if None not in (features.shape[0], centers.shape[0]) and features.shape[0] * centers.shape[0] <= block:
        return measure(pairs)
    return tf.while_loop(
        lambda start, _: start < num_pairs,
        lambda start, measured: (start + block, tf.concat([measured, measure(pairs[start : start + block])], axis=0)),
        (tf.constant(0), tf.zeros([0], features.dtype)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
        parallel_iterations=1,
    )[1]
