"""Competing objectives on the same prototype network: one small function a loss, and a thin object over it.

Logits are `z = −D`, minus the squared distances to the class centres; `p = softmax(z)`. Functions give the losses of
samples; every object is called as `loss(labels, squared_distances, centers, radii, sample_weight=None)` and returns a dict
of their means.
"""

import numbers

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf.losses import own_class
from arconvl_tf.objectives import Objective, Term, above_zero, at_least_zero, validate_class_counts, yes_or_no
from arconvl_tf.regions import squared_distances as pairwise_squared_distances


def cross_entropy(labels, logits):
    """`−log softmax(z)_y` of every sample.

    Args:
        labels: integers in 0..k−1, shape (n,).
        logits: shape (n, k).

    Returns:
        Tensor of shape (n,).
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def focal_factors(cross_entropies, focusing):
    """`(1 − p_y)^γ` of every sample, shape (n,): well-classified samples count less.

    Args:
        cross_entropies: `−log p_y`, shape (n,).
        focusing: `γ` ≥ 0; 0 gives 1.

    Example:
        >>> focal_factors(tf.constant([0.6931472, 0.0]), focusing=2.0).numpy().round(4)
        array([0.25, 0.  ], dtype=float32)
    """
    # 1 − p_y = 1 − e^(−value). At p_y = 1 the power has no slope for γ < 1, and the product with −log p_y is 0 all the same.
    doubt = tf.maximum(-tf.math.expm1(-cross_entropies), np.finfo(cross_entropies.dtype.as_numpy_dtype).tiny)
    return tf.pow(doubt, focusing)


def effective_number_weights(class_counts, effective_number_beta):
    """Class-balanced weights `(1 − β) / (1 − β^{N_j})`, scaled to sum to the number of classes; shape (k,), numpy.

    Args:
        class_counts: `N`, shape (k,).
        effective_number_beta: `β` in [0, 1); 0 gives equal weights.

    Example:
        >>> effective_number_weights([10, 10, 10], 0.9999).round(6).tolist()
        [1.0, 1.0, 1.0]
    """
    if not (isinstance(effective_number_beta, numbers.Real) and 0 <= effective_number_beta < 1):
        raise ValueError(
            f"Expected `effective_number_beta` in [0, 1). Received: effective_number_beta={effective_number_beta}"
        )
    counts = validate_class_counts(class_counts)
    # expm1 keeps the digits that 1 − β^N loses for small counts.
    with np.errstate(divide="ignore"):
        weights = (1 - effective_number_beta) / -np.expm1(counts * np.log(effective_number_beta))
    return weights * len(counts) / weights.sum()


def affinity(labels, squared_distances, affinity_margin, bandwidth):
    """Max-margin loss over Gaussian affinities `s_j = exp(−D_j / σ)`: `Σ_{j≠y} max(0, λ + s_j − s_y)`; shape (n,).

    Args:
        labels: integers, shape (n,).
        squared_distances: `D`, shape (n, k).
        affinity_margin: `λ`.
        bandwidth: `σ` (not Eq. 7's σ²).
    """
    similarities = tf.exp(-squared_distances / bandwidth)
    violations = tf.nn.relu(affinity_margin + similarities - own_class(labels, similarities)[:, None])
    others = 1.0 - tf.one_hot(labels, tf.shape(similarities)[1], dtype=similarities.dtype)
    return tf.reduce_sum(violations * others, axis=1)


def center_diversity(centers):
    """Variance of the squared distances between pairs of centres around their mean; a scalar, 0 when all are equal.

    Args:
        centers: shape (k, d).
    """
    num_classes = tf.shape(centers)[0]
    pairs = tf.where(tf.range(num_classes)[:, None] < tf.range(num_classes))
    distances = tf.gather_nd(pairwise_squared_distances(centers, centers), pairs)
    return tf.math.reduce_variance(distances)


def adjusted_logits(logits, class_counts, temperature=1.0):
    """Post-hoc logit adjustment: `z − τ log η`, for a model that was trained without any correction.

    Args:
        logits: shape (n, k), of a trained model.
        class_counts: training samples of each class, shape (k,).
        temperature: `τ`; 0 changes nothing.

    Returns:
        Tensor of shape (n, k); its `argmax` is the prediction.

    Raises:
        ValueError: on counts of another number of classes, or that are not positive.

    Example:
        >>> int(tf.argmax(adjusted_logits(tf.constant([[1.0, 0.5]]), [90, 10])[0]))
        1

    Reference:
        Menon et al.: Long-Tail Learning via Logit Adjustment, ICLR 2021, section 4.1.
    """
    logits = tf.convert_to_tensor(logits)
    counts = validate_class_counts(class_counts)
    if logits.shape[-1] != len(counts):
        raise ValueError(f"Expected the counts of {logits.shape[-1]} classes. Received: class_counts={class_counts}")
    return logits - temperature * tf.constant(np.log(counts / counts.sum()), logits.dtype)


@keras.saving.register_keras_serializable("arconvl_tf")
class CPLLoss(Objective):
    """Convolutional prototype learning: the plain cross-entropy `−1/n Σ_i log p_{i,y_i}`.

    Example:
        >>> terms = CPLLoss()(tf.constant([0]), tf.constant([[0.0, 0.0]]))
        >>> round(float(terms["cross_entropy"]), 4)
        0.6931

    Reference:
        Yang et al.: Robust Classification with Convolutional Prototype Learning, CVPR 2018.
    """

    term_names = ("cross_entropy",)

    def call(self, labels, squared_distances, centers, radii):
        return {"cross_entropy": cross_entropy(labels, -squared_distances)}


@keras.saving.register_keras_serializable("arconvl_tf")
class GCPLLoss(CPLLoss):
    """Generalised CPL: CPL plus the prototype loss `λ/n Σ_i D_{i,y_i}`, which draws samples to their centre.

    Args:
        pull_weight: `λ`; 0.1 in ARConvL's supplement. Some programs put a factor ½ before `D`: that is `λ / 2`.

    Example:
        >>> terms = GCPLLoss()(tf.constant([0]), tf.constant([[2.0, 9.0]]))
        >>> round(float(terms["pull"]), 4)
        0.2

    Reference:
        Yang et al., CVPR 2018, Eq. 10.
    """

    term_names = ("cross_entropy", "pull")
    reads_distances = True

    def __init__(self, pull_weight=0.1):
        self.pull_weight = at_least_zero("pull_weight", pull_weight)

    def call(self, labels, squared_distances, centers, radii):
        terms = super().call(labels, squared_distances, centers, radii)
        return {**terms, "pull": Term(own_class(labels, squared_distances), scale=self.pull_weight)}


@keras.saving.register_keras_serializable("arconvl_tf")
class FocalLoss(Objective):
    """Focal loss in its softmax form, `1/n Σ_i f_i · −log p_{i,y_i}` with `f_i = (1 − p_{i,y_i})^γ`.

    The original is a sum of binary (sigmoid) losses, but the sigmoid of `−D` can't exceed ½; the softmax form makes γ = 0
    equal to CPL.

    Args:
        focusing: `γ`; 2 in ARConvL's supplement, which calls it α.
        normalized: divide by `Σ_i f_i` in place of n. The divisor is a constant to the gradient; it keeps the loss's scale
            when most samples are classified well. The recipe that reproduces ARConvL's tables takes this reading.

    Example:
        >>> labels, distances = tf.constant([0, 0]), tf.constant([[0.0, 0.0], [0.0, 50.0]])
        >>> [round(float(FocalLoss(normalized=normalized)(labels, distances)["focal"]), 4) for normalized in (False, True)]
        [0.0866, 0.6931]

    Reference:
        Lin et al.: Focal Loss for Dense Object Detection, ICCV 2017. Normalised: Sofiiuk et al.: AdaptIS: Adaptive
        Instance Selection Network, ICCV 2019.
    """

    term_names = ("focal",)

    def __init__(self, focusing=2.0, normalized=False):
        self.focusing = at_least_zero("focusing", focusing)
        self.normalized = yes_or_no("normalized", normalized)

    def call(self, labels, squared_distances, centers, radii):
        values = cross_entropy(labels, -squared_distances)
        factors = focal_factors(values, self.focusing)
        return {"focal": Term(factors * values, divisor=factors if self.normalized else None)}


@keras.saving.register_keras_serializable("arconvl_tf")
class ClassBalancedLoss(Objective):
    """Cross-entropy weighted by the inverse effective number of samples, `1/n Σ_i w_{y_i} · −log p_{i,y_i}`.

    Args:
        class_counts: training samples of each class, shape (k,).
        effective_number_beta: `β` of the weights `w`, see `effective_number_weights`; 0.9999 in ARConvL's supplement.
        weighted_mean: divide by the sum `Σ_i w_{y_i}` of a batch's weights instead of `n`, its number of samples. The
            reference's program divides by `n`, and so does this loss.

    Example:
        >>> rare, distances = tf.constant([1]), tf.constant([[0.0, 0.0]])
        >>> losses = [ClassBalancedLoss([9, 1], effective_number_beta=0.999, weighted_mean=mean) for mean in (0, 1)]
        >>> [round(float(loss(rare, distances)["class_balanced"]), 2) for loss in losses]
        [1.25, 0.69]

    Reference:
        Cui et al.: Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019.
    """

    term_names = ("class_balanced",)
    focusing = 0.0

    def __init__(self, class_counts, *, effective_number_beta=0.9999, weighted_mean=False):
        self.class_counts = validate_class_counts(class_counts).tolist()
        self.effective_number_beta = effective_number_beta
        self.weighted_mean = yes_or_no("weighted_mean", weighted_mean)
        self._weights = effective_number_weights(class_counts, effective_number_beta)

    def call(self, labels, squared_distances, centers, radii):
        weights = tf.gather(tf.constant(self._weights, squared_distances.dtype), labels)
        values = cross_entropy(labels, -squared_distances)
        values = weights * focal_factors(values, self.focusing) * values
        return {"class_balanced": Term(values, divisor=weights if self.weighted_mean else None)}


@keras.saving.register_keras_serializable("arconvl_tf")
class ClassBalancedFocalLoss(ClassBalancedLoss):
    """The focal loss under class-balanced weights, `1/n Σ_i w_{y_i} (1 − p_{i,y_i})^γ · −log p_{i,y_i}`.

    Args:
        class_counts: see `ClassBalancedLoss`.
        effective_number_beta: 0.9999 in ARConvL's supplement (0.999 on iNaturalist).
        focusing: `γ` of `FocalLoss`; 2 in ARConvL's supplement (0.5 on iNaturalist).
        weighted_mean: divide by `Σ_i w_{y_i}` in place of `n`. The recipe that reproduces ARConvL's tables takes this
            reading.

    Reference:
        Cui et al., CVPR 2019.
    """

    def __init__(self, class_counts, *, effective_number_beta=0.9999, focusing=2.0, weighted_mean=False):
        super().__init__(class_counts, effective_number_beta=effective_number_beta, weighted_mean=weighted_mean)
        self.focusing = at_least_zero("focusing", focusing)


@keras.saving.register_keras_serializable("arconvl_tf")
class AffinityLoss(Objective):
    """Gaussian affinity: a max-margin loss over `exp(−D/σ)`, and equally spread centres.

    Args:
        affinity_margin: `λ`; in ARConvL's supplement 0.75 for MNIST and Fashion-MNIST, 0.43 for the other data sets.
        bandwidth: `σ`; 10 in ARConvL's supplement.

    Reference:
        Hayat et al.: Gaussian Affinity for Max-Margin Class Imbalanced Learning, ICCV 2019.
    """

    term_names = ("affinity", "diversity")
    reads_distances = True

    def __init__(self, affinity_margin=0.75, bandwidth=10.0):
        self.affinity_margin = at_least_zero("affinity_margin", affinity_margin)
        self.bandwidth = above_zero("bandwidth", bandwidth)

    def call(self, labels, squared_distances, centers, radii):
        values = affinity(labels, squared_distances, self.affinity_margin, self.bandwidth)
        return {"affinity": values, "diversity": center_diversity(centers)}


@keras.saving.register_keras_serializable("arconvl_tf")
class LogitAdjustmentLoss(CPLLoss):
    """Cross-entropy of the logits raised by the class priors, `−1/n Σ_i log softmax(z_i + τ log η)_{y_i}`.

    Predictions use the logits as they are. With τ = 1 this is the Balanced Softmax.

    Args:
        class_counts: training samples of each class, shape (k,).
        temperature: `τ`; 1 in ARConvL's supplement.

    Reference:
        Menon et al.: Long-Tail Learning via Logit Adjustment, ICLR 2021, Eq. 10; Ren et al.: Balanced Meta-Softmax for
        Long-Tailed Visual Recognition, NeurIPS 2020.
    """

    def __init__(self, class_counts, temperature=1.0):
        self.class_counts = validate_class_counts(class_counts).tolist()
        self.temperature = at_least_zero("temperature", temperature)

    def call(self, labels, squared_distances, centers, radii):
        raised = adjusted_logits(-squared_distances, self.class_counts, -self.temperature)
        return {"cross_entropy": cross_entropy(labels, raised)}


@keras.saving.register_keras_serializable("arconvl_tf")
class LDAMLoss(CPLLoss):
    """Label-distribution-aware margins with deferred re-weighting (not among the paper's competitors).

    `Σ_i w_{y_i} · −log softmax(s (z_i − Δ_{y_i} e_{y_i}))_{y_i} / Σ_i w_{y_i}` with `Δ_j = Δ_max (N_min / N_j)^¼`: rare
    classes have to win by more. `w` is 1 until `DeferredReweighting` switches the model's `reweighting` to 1, then
    class-balanced.

    Args:
        class_counts: training samples of each class, shape (k,).
        max_margin: `Δ_max`, a squared distance here; 0.5 in the reference.
        scale: `s` > 0. The reference's 30 stretches cosines in [−1, 1]; squared distances have no bound, so 1.
        effective_number_beta: of the deferred weights, see `effective_number_weights`.
        reweighted: whether the weights are in force from the start.

    Reference:
        Cao et al.: Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019.
    """

    def __init__(self, class_counts, *, max_margin=0.5, scale=1.0, effective_number_beta=0.9999, reweighted=False):
        counts = validate_class_counts(class_counts)
        self.class_counts = counts.tolist()
        self.max_margin = at_least_zero("max_margin", max_margin)
        self.scale = above_zero("scale", scale)
        self.effective_number_beta = effective_number_beta
        self.reweighted = yes_or_no("reweighted", reweighted)
        self._margins = max_margin * (counts.min() / counts) ** 0.25
        self._weights = effective_number_weights(counts, effective_number_beta)

    def initial_state(self):
        return {"reweighting": float(self.reweighted)}

    def call(self, labels, squared_distances, centers, radii, reweighting):
        dtype = squared_distances.dtype
        own = tf.one_hot(labels, tf.shape(squared_distances)[1], dtype=dtype)
        logits = self.scale * (-squared_distances - own * tf.constant(self._margins, dtype))
        balanced = tf.gather(tf.constant(self._weights, dtype), labels)
        weights = 1.0 + tf.cast(reweighting, dtype) * (balanced - 1.0)
        return {"cross_entropy": Term(weights * cross_entropy(labels, logits), divisor=weights)}
