"""`PrototypeClassifier` and `ARConvL`: Keras models with a second optimizer for the radii."""

import inspect
import types
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import checks
from arconvl_tf.layers import ClassRegions, LinearLogits
from arconvl_tf.losses import ARConvLLoss
from arconvl_tf.metrics import LatestScalars, MeanScalars, integer_labels
from arconvl_tf.objectives import Objective
from arconvl_tf.optimizers import optimizer_of, with_radius_optimizer

HEADS = {"regions": ClassRegions, "linear": LinearLogits}


@keras.saving.register_keras_serializable("arconvl_tf")
class PrototypeClassifier(keras.Model):
    """A backbone followed by class regions: images → features → minus squared distances to the class centres.

    `compile` takes one of this library's objectives and, for an objective that learns radii, a second optimizer;
    everything else is an ordinary Keras model. Class probabilities are `softmax` of the output, the predicted class
    is its `argmax`, the nearest centre.

    Args:
        backbone: any Keras model that maps a batch of images to features of shape (n, d).
        num_classes: `k`.
        head: `"regions"`, or `"linear"` for logits `f · c_j + b_j`, which the objectives that read distances or centres
            (ARConvL, GCPL, affinity) refuse.
        class_names: optional k names, kept in the model's file.
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

    def __init__(
        self,
        backbone: keras.Layer,
        *,
        num_classes: int,
        head: str = "regions",
        class_names: Sequence[str] | None = None,
        name: str | None = None,
    ):
        # A policy of half precision would round the inputs before a layer in float32 could standardise them.
        super().__init__(name=name, autocast=False)
        if class_names is not None and len(class_names) != num_classes:
            raise ValueError(f"Expected {num_classes} class names. Received: {len(class_names)}")
        if head not in HEADS:
            raise ValueError(f"Expected `head` to be one of {', '.join(HEADS)}. Received: head={head!r}")
        if not isinstance(backbone, keras.Layer):
            raise ValueError(f"Expected `backbone` to be a Keras model (n, …) → (n, d). Received: backbone={backbone!r}")
        self.backbone = backbone
        self.num_classes = num_classes
        self.head = head
        self.class_names = None if class_names is None else [str(name) for name in class_names]
        self.class_regions = HEADS[head](num_classes, name="class_regions")
        # What `compile` adds; not attributes of the model itself, which Keras locks once it is built.
        self._training = types.SimpleNamespace(metrics=[], state={}, variables=None)
        inputs = getattr(backbone, "inputs", None)
        if inputs:  # creates the centres and radii now, so that optimizers can be built on them
            self.build(inputs[0].shape if len(inputs) == 1 else [each.shape for each in inputs])

    def build(self, input_shape):
        # A model that has an output shape is not called for it: a symbolic call would stay in its saved configuration.
        features = getattr(self.backbone, "outputs", None)
        if not features:
            images = keras.tree.map_shape_structure(lambda shape: keras.Input(batch_shape=shape), input_shape)
            features = keras.tree.flatten(self.backbone(images))
        if len(features) != 1:
            raise ValueError(f"Expected a backbone with one output, features (n, d). Received: {len(features)} outputs")
        self.class_regions.build(features[0].shape)

    def call(self, images, training=None):
        return self.class_regions(self.backbone(images, training=training))

    # ------------------------------------------------------------------------------------------------ compilation

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "sgd",
        *,
        objective: Objective | None = None,
        radius_optimizer: str | keras.optimizers.Optimizer | None = None,
        **kwargs,
    ) -> None:
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
        self._check_compile_arguments(objective, radius_optimizer, kwargs)
        self.objective = objective
        self.class_regions.learn_radii = objective.learns_radii
        optimizer = keras.optimizers.get(optimizer)
        if objective.learns_radii:
            optimizer = with_radius_optimizer(optimizer, radius_optimizer, self.class_regions)
        super().compile(optimizer=optimizer, **kwargs)
        # What the user gave, not what Keras resolved it to on this machine (`jit_compile="auto"`).
        self._training.arguments = kwargs
        self._training.terms = MeanScalars([f"{name}_loss" for name in objective.term_names])
        self._training.readouts = LatestScalars(objective.readout_names)
        self._training.metrics = [self._training.terms] + [self._training.readouts] * bool(objective.readout_names)
        self._training.state = {
            name: keras.Variable(value, dtype="float32", trainable=False, name=name)
            for name, value in objective.initial_state().items()
        }
        self._training.variables = None
        if self.built:
            self._training.variables = self.trainable_variables
            self.optimizer.build(self.trainable_variables)
            # Metrics make their variables when they are first used: inside a step, it would be traced a second time.
            self.compute_metrics(None, tf.zeros([1], tf.int64), tf.zeros([1, self.num_classes]))
            self.reset_metrics()

    def _check_compile_arguments(self, objective, radius_optimizer, others):
        if others.get("loss") is not None or others.get("loss_weights") is not None:
            raise ValueError(
                "Expected the training loss as `objective=`, for instance arconvl_tf.CPLLoss(), because it reads "
                "centres and radii as well as outputs. "
                f"Received: loss={others.get('loss')!r}, loss_weights={others.get('loss_weights')!r}"
            )
        if not isinstance(objective, Objective):
            raise ValueError(
                "Expected `objective` to be one of this library's losses, for instance arconvl_tf.CPLLoss(), or another "
                f"arconvl_tf.Objective. Received: objective={objective!r}"
            )
        counts = getattr(objective, "class_counts", range(self.num_classes))
        if len(counts) != self.num_classes:
            raise ValueError(f"Expected the counts of {self.num_classes} classes. Received: class_counts={counts}")
        if self.head == "linear" and objective.reads_distances:
            raise ValueError(
                f"Expected an objective that reads logits alone beside a linear head, for instance "
                f"arconvl_tf.LogitAdjustmentLoss. Received: {type(objective).__name__}, which needs class regions"
            )
        if radius_optimizer is not None and not objective.learns_radii:
            raise ValueError(
                f"Expected no `radius_optimizer`: {type(objective).__name__} does not learn radii. "
                f"Received: radius_optimizer={radius_optimizer!r}"
            )
        if self.distribute_strategy.num_replicas_in_sync > 1:
            raise ValueError(
                "Expected one device: training on several is not supported yet. "
                f"Received: a strategy of {self.distribute_strategy.num_replicas_in_sync} replicas"
            )

    @property
    def radius_optimizer(self) -> keras.optimizers.Optimizer | None:
        """The optimizer of the radii, `None` before `compile` and where the objective does not learn them."""
        if not self.compiled or not self.objective.learns_radii:
            return None
        return optimizer_of(self.optimizer, self.class_regions.radii)

    @property
    def main_optimizer(self) -> keras.optimizers.Optimizer | None:
        """The optimizer of the centres, which is that of the backbone as well; `None` before `compile`."""
        return optimizer_of(self.optimizer, self.class_regions.centers) if self.compiled else None

    @property
    def objective_state(self) -> dict[str, keras.Variable]:
        """The scalars that the objective switches while this model trains, by name; saved with the model."""
        return self._training.state

    def get_compile_config(self):
        if not self.compiled:
            return {}
        parts = {"objective": self.objective, "optimizer": self.optimizer}
        return keras.saving.serialize_keras_object({**self._training.arguments, **parts})

    def compile_from_config(self, config):
        self.compile(**{name: keras.saving.deserialize_keras_object(value) for name, value in config.items()})

    # --------------------------------------------------------------------------------------------------- training

    def fit(self, *args, **kwargs) -> keras.callbacks.History:
        """As `keras.Model.fit`; it tells a dataset of this library which epoch it draws (see `Splits.epoch`)."""
        given = inspect.signature(super().fit).bind(*args, **kwargs).arguments
        epoch = _told_epoch(given.get("x"))
        if epoch is not None:
            tell = keras.callbacks.LambdaCallback(on_epoch_begin=lambda number, logs: epoch.assign(number))
            given.setdefault("shuffle", False)  # the dataset shuffles itself
            if isinstance(given.get("callbacks"), keras.callbacks.CallbackList):
                given["callbacks"].callbacks.append(tell)
            else:
                given["callbacks"] = [tell, *keras.tree.flatten(given.get("callbacks") or [])]
        validation = given.get("validation_data")
        for labels in (given.get("y"), *(validation[1:2] if isinstance(validation, (tuple, list)) else ())):
            checks.check_array(labels)
        checks.compare_counts(given.get("y"), getattr(self.__dict__.get("objective"), "class_counts", ()))
        with checks.in_one_line():
            return super().fit(**given)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        checks.check_array(y)
        with checks.in_one_line():
            return super().evaluate(x, y, *args, **kwargs)

    def train_on_batch(self, *args, **kwargs):
        with checks.in_one_line():
            return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args, **kwargs):
        with checks.in_one_line():
            return super().test_on_batch(*args, **kwargs)

    def make_train_function(self, force=False):
        """A compiled step trains what could be trained when it was made; what was (un)frozen later would go unnoticed."""
        now = self.trainable_variables
        before = now if self._training.variables is None else self._training.variables
        if [id(variable) for variable in now] != [id(variable) for variable in before]:
            raise ValueError(
                "Expected `compile` to be called again after layers were frozen or unfrozen. "
                f"Received: {len(now)} trainable variables in place of {len(before)}"
            )
        self._training.variables = now
        return super().make_train_function(force)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The objective on one batch, plus the backbone's own losses (regularisers); logs every term."""
        labels = integer_labels(y)
        centers = tf.convert_to_tensor(self.class_regions.centers)
        radii = tf.convert_to_tensor(self.class_regions.radii)
        state = {name: tf.convert_to_tensor(variable) for name, variable in self.objective_state.items()}
        terms, readouts = self.objective.terms_and_readouts(labels, -y_pred, centers, radii, sample_weight, **state)
        self._training.terms.update_state(terms.values(), tf.size(labels))
        if training and readouts:
            self._training.readouts.update_state([readouts[name] for name in self.objective.readout_names])
        own_losses = [tf.reduce_sum(loss) for loss in self.losses]
        return tf.add_n([tf.cast(loss, tf.float32) for loss in [*terms.values(), *own_losses]])

    def train_step(self, data):
        """One step: the radii's gradient goes to the radius optimizer, every other one to the main optimizer.

        The objective applies `tf.stop_gradient` to the values that the paper calls non-learnable, so one tape serves
        all variables; the `MultiOptimizer` then hands each gradient to the optimizer that owns the variable.
        """
        images, labels, sample_weight = self._checked(data)
        step = self.optimizer.iterations
        images = checks.finite_inputs(images, step)
        with tf.GradientTape() as tape:
            logits = self(images, training=True)
            loss = self.compute_loss(images, labels, logits, sample_weight, training=True)
            scaled_loss = self.optimizer.scale_loss(loss)
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(logits)[0])
        variables = self.trainable_variables
        # No update waits for this check, which would change how TensorFlow orders and rounds the step's arithmetic.
        checks.require_finite_loss(loss, step)
        self.optimizer.apply(tape.gradient(scaled_loss, variables), variables)
        return self.compute_metrics(images, labels, logits, sample_weight=sample_weight)

    def test_step(self, data):
        logs = super().test_step(self._checked(data))
        # The regions don't change while a model is evaluated: their read-outs belong to training.
        return {name: value for name, value in logs.items() if name not in self.objective.readout_names}

    def _checked(self, data):
        images, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        return images, checks.checked_labels(labels, self.num_classes), sample_weight

    @property
    def metrics(self):
        return super().metrics + self._training.metrics

    # ----------------------------------------------------------------------------------------------------- saving

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for name, variable in self.objective_state.items():
            store[name] = np.asarray(variable)

    def load_own_variables(self, store):
        for name, variable in self.objective_state.items():
            if name in store:
                variable.assign(store[name])
        # The store of a file is no mapping: it has keys, but no iterator.
        super().load_own_variables({name: store[name] for name in store.keys() if name not in self.objective_state})  # noqa: SIM118

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "trainable": {"model": self.trainable, "class_regions": self.class_regions.trainable},
            "learn_radii": self.class_regions.learn_radii,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "num_classes": self.num_classes,
            "head": self.head,
            "class_names": self.class_names,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        config["backbone"] = keras.saving.deserialize_keras_object(config["backbone"], custom_objects=custom_objects)
        trainable = config.pop("trainable", {"model": True, "class_regions": True})
        learn_radii = config.pop("learn_radii", True)
        model = cls(**config)
        model.class_regions.learn_radii = learn_radii
        # What was frozen has no optimizer state in the file.
        for part, learns in ((model.class_regions, trainable["class_regions"]), (model, trainable["model"])):
            if not learns:
                part.trainable = False
        return model


def _told_epoch(dataset):
    """The variable from which a dataset of this library reads its epoch, also where others were made from it."""
    epoch = getattr(dataset, "epoch", None)
    if isinstance(epoch, tf.Variable):
        return epoch
    sources = dataset._inputs() if isinstance(dataset, tf.data.Dataset) else []
    return next((found for source in sources if (found := _told_epoch(source)) is not None), None)


@keras.saving.register_keras_serializable("arconvl_tf")
class ARConvL(PrototypeClassifier):
    """Adaptive region-based convolutional learning: a `PrototypeClassifier` that comes with `ARConvLLoss`.

    Training logs hold the total `loss`, its terms `region_loss`, `distribution_loss`, `margin_loss` and `center_loss`,
    and the regions as they stand: `beta` (Eq. 5), `margin` (σ², Eq. 7), `benchmark_radius` (Eq. 3), `upper_bound_radius`
    (Eq. 4), `radius_min` and `radius_max`; radii are lengths in the feature space, σ² is a length squared.

    Args:
        backbone: any Keras model that maps a batch of images to features of shape (n, d).
        class_counts: training samples of each class, shape (k,).
        class_names: optional k names, kept in the model's file.
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

    def __init__(
        self,
        backbone: keras.Layer,
        *,
        class_counts,
        class_names: Sequence[str] | None = None,
        name: str | None = None,
        **loss_options,
    ):
        default_objective = ARConvLLoss(class_counts, **loss_options)
        super().__init__(backbone, num_classes=default_objective.num_classes, class_names=class_names, name=name)
        self.default_objective = default_objective

    def compile(self, optimizer="sgd", *, objective=None, radius_optimizer=None, **kwargs) -> None:
        """As `PrototypeClassifier.compile`, with the objective of the constructor's options as default."""
        objective = self.default_objective if objective is None else objective
        super().compile(optimizer, objective=objective, radius_optimizer=radius_optimizer, **kwargs)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["num_classes"], config["head"]
        return {**config, **self.default_objective.get_config()}
