"""The ARConvL objective: a region loss (Eq. 2), a distribution loss (Eq. 6) and two cross-entropies (Eq. 8).

Each term is one pure function of tensors. `ARConvLLoss` adds them up and is the one place where the values that the
paper marks with `*` lose their gradient.
"""

import inspect
import math
import numbers

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import regions


def batch_mean(values, sample_weight=None):
    """`1/n Σ_i w_i v_i`: Keras' `sum_over_batch_size`, zero for an empty batch.

    Args:
        values: shape (n,).
        sample_weight: optional weights, shape (n,).
    """
    if sample_weight is not None:
        values = values * tf.reshape(tf.cast(sample_weight, values.dtype), [-1])
    return tf.math.divide_no_nan(tf.reduce_sum(values), tf.cast(tf.size(values), values.dtype))


def weighted_average(values, sample_weight=None):
    """`Σ_i w_i v_i / Σ_i w_i`; zero for an empty batch, or where no sample weighs anything.

    Args:
        values: shape (n,).
        sample_weight: optional weights, shape (n,).
    """
    return tf.math.divide_no_nan(batch_mean(values, sample_weight), batch_mean(tf.ones_like(values), sample_weight))


def own_class(labels, per_class):
    """Selects from `per_class` (n, k) each sample's value at its own label; shape (n,)."""
    return tf.gather(per_class, labels, axis=1, batch_dims=1)


def region_loss(labels, squared_distances, radii, class_weights, gamma, sample_weight=None):
    """Teaches every radius to enclose its class (Eq. 2).

    `1/n Σ_i α_{y_i} [ max(0, d_i − R_{y_i})² + γ R_{y_i}² ]`, with `d_i` the distance (not squared) of sample i to
    its own centre. In the paper the gradient reaches the radii only: `ARConvLLoss` passes distances without one.

    Args:
        labels: integer tensor, shape (n,).
        squared_distances: shape (n, k).
        radii: shape (k,).
        class_weights: `α`, shape (k,).
        gamma: `γ`, weight of the radii's own size; 0.05 in the paper.
        sample_weight: optional, shape (n,).

    Returns:
        A scalar.

    Example:
        >>> float(region_loss(tf.constant([0]), tf.constant([[9.0, 1.0]]), tf.constant([1.0, 1.0]),
        ...                   tf.constant([1.0, 1.0]), gamma=0.0))
        4.0
    """
    own_distances = own_class(labels, squared_distances)
    # The square root has an infinite slope at 0; below the smallest normal number its gradient is cut off.
    distances = tf.sqrt(tf.maximum(own_distances, np.finfo(own_distances.dtype.as_numpy_dtype).tiny))
    # A product with one-hot rows, not a gather, whose sparse gradient not every optimizer takes.
    own_radii = tf.linalg.matvec(tf.one_hot(labels, tf.size(radii), dtype=radii.dtype), radii)
    outside = tf.nn.relu(distances - own_radii)
    values = tf.gather(class_weights, labels) * (tf.square(outside) + gamma * tf.square(own_radii))
    return batch_mean(values, sample_weight)


def distribution_loss(labels, squared_distances, class_weights, beta, sample_weight=None):
    """Draws every class towards its centre, so that all regions become equal (Eq. 6): `β/n Σ_i w_{y_i} D_{i,y_i}`.

    Args:
        labels: integer tensor, shape (n,).
        squared_distances: `D`, shape (n, k).
        class_weights: `w`, shape (k,).
        beta: scalar of Eq. 5.
        sample_weight: optional, shape (n,).

    Returns:
        A scalar.
    """
    values = tf.gather(class_weights, labels) * own_class(labels, squared_distances)
    return beta * batch_mean(values, sample_weight)


def margin_cross_entropy(labels, squared_distances, class_priors, margin, sample_weight=None):
    """Cross-entropy with the adaptive margin and the class priors (Eq. 8, first part).

    `−1/n Σ_i log softmax_j( −D_ij + σ²[j ≠ y_i] + log η_j )_{y_i}`

    Args:
        labels: integer tensor, shape (n,).
        squared_distances: `D`, shape (n, k).
        class_priors: `η`, positive, shape (k,).
        margin: scalar `σ²` of Eq. 7, a squared length.
        sample_weight: optional, shape (n,).

    Returns:
        A scalar.
    """
    num_classes = tf.shape(squared_distances)[1]
    others = 1.0 - tf.one_hot(labels, num_classes, dtype=squared_distances.dtype)
    logits = -squared_distances + margin * others + tf.math.log(class_priors)
    return batch_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits), sample_weight)


def center_cross_entropy(centers, margin):
    """Keeps the margin between the centres themselves (Eq. 8, second part).

    `−1/k Σ_j log softmax_j'( −‖C_j − C_j'‖² + σ²[j' ≠ j] )_j`: every centre is classified as a sample of its class.

    The value and its gradient come out of one pass over blocks of rows, so that 100 000 classes need no (k, k) tensor.

    Args:
        centers: shape (k, d).
        margin: scalar `σ²` of Eq. 7.

    Returns:
        A scalar.
    """
    centers = tf.convert_to_tensor(centers)
    return _center_cross_entropy(centers, tf.cast(margin, centers.dtype))


@tf.custom_gradient
def _center_cross_entropy(centers, margin):
    num_classes = centers.shape[0]
    centered = centers - tf.reduce_mean(centers, axis=0)

    def accumulate(rows, distances, loss, center_gradient, margin_gradient):
        own = tf.one_hot(rows, num_classes, dtype=centers.dtype)
        logits = -distances + margin * (1.0 - own)
        log_normalizers = tf.reduce_logsumexp(logits, axis=1)  # the own logit is −0 + 0
        shares = tf.exp(logits - log_normalizers[:, None]) * (1.0 - own)
        own_centers = tf.gather(centered, rows)
        # D_jj' depends on both its centres: the row's share and the column's share of the gradient.
        row_gradient = tf.matmul(shares, centered) - tf.reduce_sum(shares, axis=1)[:, None] * own_centers
        column_gradient = (
            tf.matmul(shares, own_centers, transpose_a=True) - tf.reduce_sum(shares, axis=0)[:, None] * centered
        )
        center_gradient = tf.tensor_scatter_nd_add(center_gradient + column_gradient, rows[:, None], row_gradient)
        return loss + tf.reduce_sum(log_normalizers), center_gradient, margin_gradient + tf.reduce_sum(shares)

    zero = tf.zeros([], centers.dtype)
    loss, center_gradient, margin_gradient = regions.fold_center_pairs(
        centers, accumulate, (zero, tf.zeros_like(centers), zero)
    )

    def gradient(upstream):
        return upstream * 2.0 / num_classes * center_gradient, upstream / num_classes * margin_gradient

    return loss / num_classes, gradient


def validate_class_counts(class_counts):
    """Returns `class_counts` as a float64 vector, or says what is wrong with it.

    Raises:
        ValueError: if the counts are not a vector of at least two positive, finite numbers.
    """
    try:
        counts = np.asarray(class_counts, dtype="float64")
    except TypeError:  # a Counter or another mapping
        counts = np.zeros(0)
    if counts.ndim != 1 or len(counts) < 2 or not np.all(np.isfinite(counts)) or np.any(counts <= 0):
        raise ValueError(
            "Expected `class_counts` to hold one positive number for each of at least two classes (an empty class "
            f"has no prior: leave it out and number the others from 0). Received: class_counts={class_counts}"
        )
    return counts


def at_least_zero(name, value):
    """Returns a loss's number, or says that it is negative, infinite or NaN."""
    if not 0 <= value < math.inf:
        raise ValueError(f"Expected `{name}` to be a number ≥ 0. Received: {name}={value}")
    return value


def above_zero(name, value):
    """Returns a loss's number, or says that it is not positive, or infinite or NaN."""
    if not 0 < value < math.inf:
        raise ValueError(f"Expected `{name}` to be a number > 0. Received: {name}={value}")
    return value


def yes_or_no(name, value):
    """Returns a loss's switch as a bool; the command line says 1 and 0."""
    if value not in (0, 1):
        raise ValueError(f"Expected `{name}` to be 1 or 0. Received: {name}={value}")
    return bool(value)


class Objective:
    """What `PrototypeClassifier.compile(objective=…)` takes.

    A subclass keeps each constructor argument as an attribute of that name and defines
    `__call__(labels, squared_distances, centers, radii, sample_weight=None)`, which returns a dict of scalar terms. The
    sum of the terms is the objective; `fit` logs each as `NAME_loss`.

    Attributes:
        learns_radii: whether a gradient reaches the radii, which then need an optimizer.
    """

    learns_radii = False

    def get_config(self):
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("arconvl_tf")
class ARConvLLoss(Objective):
    """The ARConvL objective as a serialisable object.

    The dictionary of terms adds up to the objective. With `D*`, `C*`, `R*` for values without gradient:

    | term | equation | gradient reaches |
    |---|---|---|
    | `region` | 2, of `D*` and `R` | radii |
    | `distribution` | 6, of `D`; β of 5 from `C*`, `R*` | backbone, centres |
    | `margin` | 8a, of `D`; σ² of 7 from `C*`, `R*` | backbone, centres |
    | `center` | 8b, of `C`; σ² likewise | centres |

    Args:
        class_counts: training samples of each class, shape (k,); sets `α_j = max N / N_j` and `η_j = N_j / Σ N`.
        gamma: γ of Eq. 2.
        beta: `"adaptive"` (Eq. 5), or a number that takes its place.
        margin: `"adaptive"` (Eq. 7), or a number that takes the place of σ².
        center_loss: whether to add Eq. 8's second part; `False` is the paper's ablation "ARC-C".
        distribution_weights: `w` of Eq. 6: `"released"` is `α / mean(α)`, as in the authors' program and, with the
            paper's networks, closer to the published numbers; `"paper"` is `α`, as in the text.

    Raises:
        ValueError: on counts that are not positive and on options that don't exist.

    Example:
        >>> loss = ARConvLLoss(class_counts=[100, 10])
        >>> terms = loss(labels=tf.constant([0, 1]), squared_distances=tf.constant([[1.0, 9.0], [4.0, 1.0]]),
        ...              centers=tf.constant([[0.0, 0.0], [2.0, 0.0]]), radii=tf.constant([0.5, 0.5]))
        >>> sorted(terms)
        ['center', 'distribution', 'margin', 'region']

    Reference:
        Li et al.: ARConvL: Adaptive Region-Based Convolutional Learning for Multi-class Imbalance
        Classification, ECML-PKDD 2023, Eqs. 2-8.
    """

    learns_radii = True

    def __init__(
        self, class_counts, gamma=0.05, beta="adaptive", margin="adaptive", center_loss=True, distribution_weights="released"
    ):
        counts = validate_class_counts(class_counts)
        for name, value in (("beta", beta), ("margin", margin)):
            if value != "adaptive" and not (isinstance(value, numbers.Real) and 0 <= value < math.inf):
                raise ValueError(f'Expected `{name}` to be "adaptive" or a number ≥ 0. Received: {name}={value!r}')
        if distribution_weights not in ("released", "paper"):
            raise ValueError(
                'Expected `distribution_weights` to be "released" or "paper". '
                f"Received: distribution_weights={distribution_weights!r}"
            )
        self.class_counts = counts.tolist()
        self.gamma = at_least_zero("gamma", gamma)
        self.beta, self.margin = [value if value == "adaptive" else float(value) for value in (beta, margin)]
        self.center_loss = yes_or_no("center_loss", center_loss)
        self.distribution_weights = distribution_weights
        self._class_weights = counts.max() / counts
        self._class_priors = counts / counts.sum()

    @property
    def num_classes(self):
        return len(self.class_counts)

    def geometry(self, centers, radii):
        """The regions' geometry, with a fixed β or σ² in place of the adaptive one where the user set it."""
        geometry = regions.region_geometry(centers, radii)
        fixed = {
            name: tf.constant(value, centers.dtype)
            for name, value in (("beta", self.beta), ("margin", self.margin))
            if value != "adaptive"
        }
        return geometry._replace(**fixed)

    def __call__(self, labels, squared_distances, centers, radii, sample_weight=None, geometry=None):
        """Computes the terms for one batch.

        Args:
            labels: integers in 0..k−1, shape (n,).
            squared_distances: shape (n, k).
            centers: shape (k, d).
            radii: shape (k,).
            sample_weight: optional, shape (n,).
            geometry: what `geometry(centers, radii)` returned, where the caller has asked for it before.

        Returns:
            Dict of scalars, `region`, `distribution`, `margin` and, unless switched off, `center`.
        """
        # The paper's non-learnable values, all of them: D* in Eq. 2; what Eqs. 3-5 and 7 make of C* and R*.
        fixed_distances = tf.stop_gradient(squared_distances)
        geometry = geometry or self.geometry(centers, radii)
        geometry = regions.RegionGeometry(*map(tf.stop_gradient, geometry))

        weights = tf.constant(self._class_weights, squared_distances.dtype)
        priors = tf.constant(self._class_priors, squared_distances.dtype)
        pull = weights / tf.reduce_mean(weights) if self.distribution_weights == "released" else weights
        terms = {
            "region": region_loss(labels, fixed_distances, radii, weights, self.gamma, sample_weight),
            "distribution": distribution_loss(labels, squared_distances, pull, geometry.beta, sample_weight),
            "margin": margin_cross_entropy(labels, squared_distances, priors, geometry.margin, sample_weight),
        }
        if self.center_loss:
            terms["center"] = center_cross_entropy(centers, geometry.margin)
        return terms
