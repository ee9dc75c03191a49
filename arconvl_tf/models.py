"""`PrototypeClassifier` and `ARConvL`: Keras models with a second optimizer for the radii."""

import types

import keras
import tensorflow as tf

from arconvl_tf.layers import ClassRegions
from arconvl_tf.losses import ARConvLLoss, Objective
from arconvl_tf.metrics import LatestScalars, MeanScalars, integer_labels

# Full match on a variable's path, as Keras' OptimizerMap has it.
RADII_PATTERN = ".*class_regions/radii"


@keras.saving.register_keras_serializable("arconvl_tf")
class PrototypeClassifier(keras.Model):
    """A backbone followed by class regions: images → features → minus squared distances to the class centres.

    `compile` takes one of this library's objectives and, for an objective that learns radii, a second optimizer;
    everything else is an ordinary Keras model. Class probabilities are `softmax` of the output, the predicted class
    is its `argmax`, the nearest centre.

    Args:
        backbone: any Keras model that maps a batch of images to features of shape (n, d).
        num_classes: `k`.
        name: optional.

    Input shape:
        That of the backbone. Labels are class numbers 0..k−1, shape (n,) or (n, 1); one-hot labels are refused.

    Output shape:
        `(n, k)`, float32.

    Attributes:
        backbone: the model given.
        class_regions: the `ClassRegions` layer, with `.centers` (k, d) and `.radii` (k,).

    Example:
        >>> import keras, numpy as np, arconvl_tf as arc
        >>> backbone = arc.backbones.simple_cnn((8, 8, 1), feature_dim=4)
        >>> model = arc.PrototypeClassifier(backbone, num_classes=3)
        >>> model.compile(optimizer=keras.optimizers.SGD(0.1), objective=arc.CPLLoss(), metrics=["accuracy"])
        >>> history = model.fit(np.zeros((6, 8, 8, 1)), np.array([0, 1, 2, 0, 1, 2]), verbose=0)
        >>> model.predict(np.zeros((2, 8, 8, 1)), verbose=0).shape
        (2, 3)
    """

    def __init__(self, backbone, num_classes, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        if not isinstance(backbone, keras.Layer):
            raise ValueError(f"Expected `backbone` to be a Keras model (n, …) → (n, d). Received: backbone={backbone!r}")
        self.backbone = backbone
        self.num_classes = num_classes
        self.class_regions = ClassRegions(num_classes, name="class_regions")
        self._logs = types.SimpleNamespace(terms={}, readouts={})
        inputs = getattr(backbone, "inputs", None)
        if inputs:  # creates the centres and radii now, so that optimizers can be built on them
            self(inputs[0] if len(inputs) == 1 else inputs)

    def build(self, input_shape):
        images = keras.tree.map_shape_structure(lambda shape: keras.Input(batch_shape=shape), input_shape)
        self.class_regions.build(self.backbone(images).shape)

    def call(self, images, training=None):
        return self.class_regions(self.backbone(images, training=training))

    # ------------------------------------------------------------------------------------------------ compilation

    def compile(self, optimizer="sgd", objective=None, radius_optimizer=None, **kwargs):
        """Configures the model for training.

        Args:
            optimizer: updates the backbone and the centres. A `MultiOptimizer` that already holds both optimizers
                (as a loaded model does) is taken as it is.
            objective: `ARConvLLoss`, `CPLLoss`, … .
            radius_optimizer: updates the radii, where the objective learns them; default `SGD(0.001)`. Give schedules
                to both optimizers rather than use `LearningRateScheduler`, which sets one rate for the two.
            **kwargs: the other arguments of `keras.Model.compile`: `metrics`, `weighted_metrics`, `run_eagerly`,
                `steps_per_execution`, `jit_compile`, `auto_scale_loss`.

        Raises:
            ValueError: without an objective, with a Keras `loss`, with class counts of another number of classes,
                with optimizers that don't go together, or under a distribution strategy of several replicas.
        """
        if kwargs.get("loss") is not None or kwargs.get("loss_weights") is not None:
            raise ValueError(
                "Expected the training loss as `objective=`, for instance arconvl_tf.CPLLoss(), because it reads "
                "centres and radii as well as outputs. "
                f"Received: loss={kwargs.get('loss')!r}, loss_weights={kwargs.get('loss_weights')!r}"
            )
        if not isinstance(objective, Objective):
            raise ValueError(
                "Expected `objective` to be one of this library's losses, for instance arconvl_tf.CPLLoss(), or another "
                "arconvl_tf.Objective. "
                f"Received: objective={objective!r}"
            )
        counts = getattr(objective, "class_counts", range(self.num_classes))
        if len(counts) != self.num_classes:
            raise ValueError(f"Expected the counts of {self.num_classes} classes. Received: class_counts={counts}")
        if radius_optimizer is not None and not objective.learns_radii:
            raise ValueError(
                f"Expected no `radius_optimizer`: {type(objective).__name__} does not learn radii. "
                f"Received: radius_optimizer={radius_optimizer!r}"
            )
        if self.distribute_strategy.num_replicas_in_sync > 1:
            raise ValueError(
                "Expected one device: the losses are means over one replica's batch, which several would add up. "
                f"Received: a strategy of {self.distribute_strategy.num_replicas_in_sync} replicas"
            )
        self.objective = objective
        self.class_regions.learn_radii = objective.learns_radii
        optimizer = keras.optimizers.get(optimizer)
        if objective.learns_radii:
            optimizer = _with_radius_optimizer(optimizer, radius_optimizer, self.class_regions)
        super().compile(optimizer=optimizer, **kwargs)
        # What the user gave, not what Keras resolved it to on this machine (`jit_compile="auto"`).
        self._compile_arguments = keras.saving.serialize_keras_object(kwargs)
        self._logs = types.SimpleNamespace(terms={}, readouts={})
        if self.built:
            self.optimizer.build(self.trainable_variables)

    @property
    def radius_optimizer(self):
        """The optimizer of the radii, `None` before `compile` and where the objective does not learn them."""
        if not self.compiled or not self.objective.learns_radii:
            return None
        return _unscaled(self.optimizer)._optimizer_map(self.class_regions.radii)

    def get_compile_config(self):
        if not self.compiled:
            return {}
        parts = {"objective": self.objective, "optimizer": self.optimizer}
        return {**self._compile_arguments, **keras.saving.serialize_keras_object(parts)}

    def compile_from_config(self, config):
        self.compile(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})

    # --------------------------------------------------------------------------------------------------- training

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The objective on one batch, plus the backbone's own losses (regularisers); logs every term."""
        labels = integer_labels(y)
        centers = tf.convert_to_tensor(self.class_regions.centers)
        radii = tf.convert_to_tensor(self.class_regions.radii)
        terms, readouts = self._terms_and_readouts(labels, -y_pred, centers, radii, sample_weight)
        _check_terms(self.objective, terms)
        names = tuple(f"{name}_loss" for name in terms)
        self._log_metric(self._logs.terms, MeanScalars, names).update_state(terms.values(), tf.size(labels))
        if training and readouts:
            self._log_metric(self._logs.readouts, LatestScalars, tuple(readouts)).update_state(readouts.values())
        return tf.add_n([tf.cast(loss, tf.float32) for loss in [*terms.values(), *self.losses]])

    def train_step(self, data):
        """One step: the radii's gradient goes to the radius optimizer, every other one to the main optimizer.

        The objective applies `tf.stop_gradient` to the values that the paper calls non-learnable, so one tape serves
        all variables; the `MultiOptimizer` then hands each gradient to the optimizer that owns the variable.
        """
        images, labels, sample_weight = self._with_checked_labels(data)
        with tf.GradientTape() as tape:
            logits = self(images, training=True)
            loss = self.compute_loss(images, labels, logits, sample_weight, training=True)
            scaled_loss = self.optimizer.scale_loss(loss)
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(logits)[0])
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(scaled_loss, variables), variables)
        return self.compute_metrics(images, labels, logits, sample_weight=sample_weight)

    def test_step(self, data):
        logs = super().test_step(self._with_checked_labels(data))
        # The regions don't change while a model is evaluated: their read-outs belong to training.
        readouts = {name for names in self._logs.readouts for name in names}
        return {name: value for name, value in logs.items() if name not in readouts}

    def _with_checked_labels(self, data):
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        given = tf.convert_to_tensor(labels)
        labels = integer_labels(given)
        message = f"Expected labels in 0..{self.num_classes - 1}."
        checks = [
            tf.debugging.assert_non_negative(labels, message=message),
            tf.debugging.assert_less(labels, tf.cast(self.num_classes, tf.int64), message=message),
        ]
        if given.dtype.is_floating:
            whole, message = tf.cast(labels, given.dtype), "Expected whole numbers as labels."
            checks.append(tf.debugging.assert_equal(tf.reshape(given, [-1]), whole, message=message))
        with tf.control_dependencies(checks):  # otherwise some operation on wrong labels may fail first, in its own words
            return images, tf.identity(labels), sample_weight

    def _terms_and_readouts(self, labels, squared_distances, centers, radii, sample_weight):
        """The objective's terms, and named scalars about the regions as they stand for the training log."""
        return self.objective(labels, squared_distances, centers, radii, sample_weight=sample_weight), {}

    def _log_metric(self, trackers, metric_class, names):
        if names not in trackers:
            with tf.init_scope():
                trackers[names] = metric_class(names)
        return trackers[names]

    @property
    def metrics(self):
        return super().metrics + [*self._logs.terms.values(), *self._logs.readouts.values()]

    # ----------------------------------------------------------------------------------------------------- saving

    def get_config(self):
        return {
            "name": self.name,
            "trainable": {"model": self.trainable, "class_regions": self.class_regions.trainable},
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        config["backbone"] = keras.saving.deserialize_keras_object(config["backbone"], custom_objects=custom_objects)
        trainable = config.pop("trainable", {"model": True, "class_regions": True})
        model = cls(**config)
        # What was frozen has no optimizer state in the file.
        for part, learns in ((model.class_regions, trainable["class_regions"]), (model, trainable["model"])):
            if not learns:
                part.trainable = False
        return model


@keras.saving.register_keras_serializable("arconvl_tf")
class ARConvL(PrototypeClassifier):
    """Adaptive region-based convolutional learning: a `PrototypeClassifier` that comes with `ARConvLLoss`.

    Training logs hold the total `loss`, its terms `region_loss`, `distribution_loss`, `margin_loss` and `center_loss`,
    and the regions as they stand: `beta` (Eq. 5), `margin` (σ², Eq. 7), `benchmark_radius` (Eq. 3), `upper_bound_radius`
    (Eq. 4), `radius_min` and `radius_max`; radii are lengths in the feature space, σ² is a length squared.

    Args:
        backbone: any Keras model that maps a batch of images to features of shape (n, d).
        class_counts: training samples of each class, shape (k,).
        name: optional.
        **loss_options: options of `ARConvLLoss`: `gamma`, `beta`, `margin`, `center_loss`, `distribution_weights`.

    Example:
        >>> import keras, numpy as np, arconvl_tf as arc
        >>> backbone = arc.backbones.simple_cnn((8, 8, 1), feature_dim=4)
        >>> model = arc.ARConvL(backbone, class_counts=[100, 10, 50])
        >>> model.compile(optimizer=keras.optimizers.SGD(0.1), radius_optimizer=keras.optimizers.SGD(1e-3),
        ...               metrics=["accuracy", arc.GMean()])
        >>> tuple(model.class_regions.radii.shape)
        (3,)

    Reference:
        Li et al.: ARConvL: Adaptive Region-Based Convolutional Learning for Multi-class Imbalance
        Classification, ECML-PKDD 2023.
    """

    def __init__(self, backbone, class_counts, name=None, **loss_options):
        default_objective = ARConvLLoss(class_counts, **loss_options)
        super().__init__(backbone, default_objective.num_classes, name=name)
        self.default_objective = default_objective

    def compile(self, optimizer="sgd", radius_optimizer=None, objective=None, **kwargs):
        """As `PrototypeClassifier.compile`, with the objective of the constructor's options as default.

        By position `radius_optimizer` comes before `objective` here: better name them.
        """
        objective = self.default_objective if objective is None else objective
        super().compile(optimizer, objective=objective, radius_optimizer=radius_optimizer, **kwargs)

    def _terms_and_readouts(self, labels, squared_distances, centers, radii, sample_weight):
        if not isinstance(self.objective, ARConvLLoss):
            return super()._terms_and_readouts(labels, squared_distances, centers, radii, sample_weight)
        geometry = self.objective.geometry(centers, radii)
        terms = self.objective(labels, squared_distances, centers, radii, sample_weight, geometry)
        return terms, {
            "beta": geometry.beta,
            "margin": geometry.margin,
            "benchmark_radius": tf.sqrt(geometry.benchmark_sq),
            "upper_bound_radius": tf.sqrt(geometry.upper_bound_sq),
            "radius_min": tf.reduce_min(radii),
            "radius_max": tf.reduce_max(radii),
        }

    def get_config(self):
        config = super().get_config()
        del config["num_classes"]
        return {**config, **self.default_objective.get_config()}


def _check_terms(objective, terms):
    """An objective of one's own may return values of samples, whose gradient would be that of their sum."""
    received = repr(terms)
    if isinstance(terms, dict):
        shapes = {name: tf.TensorShape(getattr(value, "shape", ())) for name, value in terms.items()}
        if shapes and not any(shape.rank for shape in shapes.values()):
            return
        received = "{" + ", ".join(f"{name!r}: {shape}" for name, shape in shapes.items()) + "}"
    raise ValueError(
        f"Expected {type(objective).__name__} to return a dict of named scalar terms, their means over the batch "
        f"(losses.batch_mean) for instance. Received: {received}"
    )


def _with_radius_optimizer(optimizer, radius_optimizer, class_regions):
    """One Keras MultiOptimizer of both, so that saving, backup and loss scaling treat the two states alike."""
    inner = _unscaled(optimizer)
    if isinstance(inner, keras.optimizers.MultiOptimizer):
        _check_names_radii(inner, radius_optimizer, class_regions)
        return optimizer
    accumulation = inner.gradient_accumulation_steps
    if radius_optimizer is None:
        radius_optimizer = keras.optimizers.SGD(1e-3, gradient_accumulation_steps=accumulation)
    radius_optimizer = keras.optimizers.get(radius_optimizer)
    if radius_optimizer.gradient_accumulation_steps != accumulation:
        raise ValueError(
            "Expected both optimizers to accumulate gradients over as many steps. Received: "
            f"gradient_accumulation_steps={accumulation} and {radius_optimizer.gradient_accumulation_steps} for the radii"
        )
    multi = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(inner, {RADII_PATTERN: radius_optimizer}), loss_scale_factor=inner.loss_scale_factor
    )
    if inner is optimizer:
        return multi
    return keras.optimizers.LossScaleOptimizer(
        multi, initial_scale=optimizer.initial_scale, dynamic_growth_steps=optimizer.dynamic_growth_steps
    )


def _check_names_radii(multi, radius_optimizer, class_regions):
    """A MultiOptimizer must say itself who updates the radii: its default would do so at the weights' learning rate."""
    default = getattr(multi._optimizer_map, "default_optimizer", None)
    unnamed = class_regions.built and multi._optimizer_map(class_regions.radii) is default
    if radius_optimizer is not None or unnamed:
        raise ValueError(
            "Expected a MultiOptimizer that names the radii's optimizer itself, and no `radius_optimizer` beside it: "
            f"OptimizerMap(default, {{{RADII_PATTERN!r}: …}}). Received: radius_optimizer={radius_optimizer!r}"
        )


def _unscaled(optimizer):
    """The optimizer inside a LossScaleOptimizer, or the optimizer itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)
