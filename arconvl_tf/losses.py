"""The ARConvL objective: a region loss (Eq. 2), a distribution loss (Eq. 6) and two cross-entropies (Eq. 8).

Each term is one pure function of tensors, the losses of the samples (`objectives.reduce` makes the mean of them).
`ARConvLLoss` puts them together and is the one place where the values that the paper marks with `*` lose their gradient.
"""

import math
import numbers

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import regions
from arconvl_tf.objectives import Objective, Term, at_least_zero, one_of, validate_class_counts, yes_or_no


def own_class(labels, per_class):
    """Selects from `per_class` (n, k) each sample's value at its own label; shape (n,)."""
    return tf.gather(per_class, labels, axis=1, batch_dims=1)


def region_loss(labels, squared_distances, radii, class_weights, gamma):
    """Teaches every radius to enclose its class (Eq. 2).

    `α_{y_i} [ max(0, d_i − R_{y_i})² + γ R_{y_i}² ]` of every sample, with `d_i` the distance (not squared) of sample i
    to its own centre. In the paper the gradient reaches the radii only: `ARConvLLoss` passes distances without one.

    Args:
        labels: integer tensor, shape (n,).
        squared_distances: shape (n, k).
        radii: shape (k,).
        class_weights: `α`, shape (k,).
        gamma: `γ`, weight of the radii's own size; 0.05 in the paper.

    Returns:
        Tensor of shape (n,).

    Example:
        >>> region_loss(tf.constant([0]), tf.constant([[9.0, 1.0]]), tf.constant([1.0, 1.0]),
        ...             tf.constant([1.0, 1.0]), gamma=0.0).numpy()
        array([4.], dtype=float32)
    """
    own_distances = own_class(labels, squared_distances)
    # The square root has an infinite slope at 0; below the smallest normal number its gradient is cut off.
    distances = tf.sqrt(tf.maximum(own_distances, np.finfo(own_distances.dtype.as_numpy_dtype).tiny))
    # A product with one-hot rows, not a gather, whose sparse gradient not every optimizer takes.
    own_radii = tf.linalg.matvec(tf.one_hot(labels, tf.size(radii), dtype=radii.dtype), radii)
    outside = tf.nn.relu(distances - own_radii)
    return tf.gather(class_weights, labels) * (tf.square(outside) + gamma * tf.square(own_radii))


def distribution_loss(labels, squared_distances, class_weights):
    """Draws every class towards its centre, so that all regions become equal: `w_{y_i} D_{i,y_i}`, Eq. 6 without β.

    Args:
        labels: integer tensor, shape (n,).
        squared_distances: `D`, shape (n, k).
        class_weights: `w`, shape (k,).

    Returns:
        Tensor of shape (n,).

    Example:
        >>> distribution_loss(tf.constant([1]), tf.constant([[9.0, 1.5]]), tf.constant([1.0, 2.0])).numpy()
        array([3.], dtype=float32)
    """
    return tf.gather(class_weights, labels) * own_class(labels, squared_distances)


def margin_cross_entropy(labels, squared_distances, class_priors, margin):
    """Cross-entropy with the adaptive margin and the class priors (Eq. 8, first part).

    `−log softmax_j( −D_ij + σ²[j ≠ y_i] + log η_j )_{y_i}` of every sample.

    Args:
        labels: integer tensor, shape (n,).
        squared_distances: `D`, shape (n, k).
        class_priors: `η`, positive, shape (k,).
        margin: scalar `σ²` of Eq. 7, a squared length.

    Returns:
        Tensor of shape (n,).

    Example:
        >>> margin_cross_entropy(tf.constant([0]), tf.zeros((1, 2)), tf.constant([0.5, 0.5]), margin=0.0).numpy().round(4)
        array([0.6931], dtype=float32)
    """
    num_classes = tf.shape(squared_distances)[1]
    others = 1.0 - tf.one_hot(labels, num_classes, dtype=squared_distances.dtype)
    logits = -squared_distances + margin * others + tf.math.log(class_priors)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


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

    term_names = ("region", "distribution", "margin", "center")
    readout_names = ("beta", "margin", "benchmark_radius", "upper_bound_radius", "radius_min", "radius_max")
    learns_radii = True
    reads_distances = True

    def __init__(
        self,
        class_counts,
        *,
        gamma: float = 0.05,
        beta: float | str = "adaptive",
        margin: float | str = "adaptive",
        center_loss: bool = True,
        distribution_weights: str = "released",
    ):
        counts = validate_class_counts(class_counts)
        for name, value in (("beta", beta), ("margin", margin)):
            if value != "adaptive" and not (isinstance(value, numbers.Real) and 0 <= value < math.inf):
                raise ValueError(f'Expected `{name}` to be "adaptive" or a number ≥ 0. Received: {name}={value!r}')
        self.class_counts = counts.tolist()
        self.gamma = at_least_zero("gamma", gamma)
        self.beta, self.margin = [value if value == "adaptive" else float(value) for value in (beta, margin)]
        self.center_loss = yes_or_no("center_loss", center_loss)
        self.distribution_weights = one_of("distribution_weights", distribution_weights, ("released", "paper"))
        if not self.center_loss:
            self.term_names = self.term_names[:-1]
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

    def call(self, labels, squared_distances, centers, radii):
        """The terms and read-outs of one batch; see `Objective.call`."""
        # The paper's non-learnable values, all of them: D* in Eq. 2; what Eqs. 3-5 and 7 make of C* and R*.
        fixed_distances = tf.stop_gradient(squared_distances)
        geometry = regions.RegionGeometry(*map(tf.stop_gradient, self.geometry(centers, radii)))

        weights = tf.constant(self._class_weights, squared_distances.dtype)
        priors = tf.constant(self._class_priors, squared_distances.dtype)
        pull = weights / tf.reduce_mean(weights) if self.distribution_weights == "released" else weights
        terms = {
            "region": region_loss(labels, fixed_distances, radii, weights, self.gamma),
            "distribution": Term(distribution_loss(labels, squared_distances, pull), scale=geometry.beta),
            "margin": margin_cross_entropy(labels, squared_distances, priors, geometry.margin),
        }
        if self.center_loss:
            terms["center"] = center_cross_entropy(centers, geometry.margin)
        return terms, {
            "beta": geometry.beta,
            "margin": geometry.margin,
            "benchmark_radius": tf.sqrt(geometry.benchmark_sq),
            "upper_bound_radius": tf.sqrt(geometry.upper_bound_sq),
            "radius_min": tf.reduce_min(radii),
            "radius_max": tf.reduce_max(radii),
        }
