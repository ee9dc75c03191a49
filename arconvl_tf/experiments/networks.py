"""The compiled model of a run: backbone by name, head, objective and optimizers."""

import functools

import keras
import numpy as np

from arconvl_tf import backbones
from arconvl_tf.data import Splits
from arconvl_tf.experiments.configuration import RunConfig
from arconvl_tf.experiments.methods import method_named
from arconvl_tf.experiments.recipes import PAPER_BACKBONES, Recipe
from arconvl_tf.layers import FixedStatistics
from arconvl_tf.metrics import ClassWiseAccuracy, GMean
from arconvl_tf.models import ARConvL, PrototypeClassifier

# Steps between two returns to Python: it spares small networks the way back, see notebooks/results/README.md.
STEPS_PER_EXECUTION = 8
USUAL_WIDTH = 1280  # of EfficientNet-Lite0's features, for which the rate of vectors was chosen


def pretrained_parts(recipe: Recipe, image_shape) -> tuple[keras.Model, keras.Model | None]:
    """A pretrained network as (lower, upper): what stays as it is, and what learns; with `fine_tune="none"` nothing does.

    Raises:
        ValueError: on an unknown network, or weights that aren't at hand; the message says what to do.
    """
    network = backbones.extractor(recipe.backbone, image_shape, recipe.weights)
    return (network, None) if recipe.fine_tune == "none" else backbones.split_at(network, recipe.cut)


def build_model(config: RunConfig, splits: Splits, upper: keras.Model | None = None) -> PrototypeClassifier:
    """The compiled model of a run on what its splits hold: pictures, vectors, or activations that `upper` takes."""
    recipe = config.recipe
    backbone = _backbone(config, splits, upper)
    objective = method_named(config.method).make_objective(splits.class_counts, **config.loss_options)
    optimizers = {"optimizer": _optimizer(recipe, splits)}
    if objective.learns_radii:
        rates = _piecewise([recipe.radius_warmup_epochs], recipe.radius_learning_rates, len(splits.train))
        optimizers["radius_optimizer"] = keras.optimizers.SGD(rates, momentum=recipe.momentum)
        model = ARConvL(backbone, class_names=splits.class_names, **objective.get_config())
    else:
        model = PrototypeClassifier(
            backbone, num_classes=len(splits.class_counts), head=recipe.head, class_names=splits.class_names
        )
    _place_centers(model, recipe, splits)
    model.compile(
        **optimizers,
        objective=objective,
        metrics=_metrics(),
        steps_per_execution=STEPS_PER_EXECUTION,
    )
    return model


def joined(lower: keras.Model, model: PrototypeClassifier) -> PrototypeClassifier:
    """A model that takes pictures: the lower part of a network, and a model that was trained on its activations."""
    images = keras.Input(lower.input_shape[1:], name="image")
    config = model.get_config()
    activations = FixedStatistics(lower, name="lower")(images)
    backbone = keras.Model(images, model.backbone(activations), name=f"whole_{model.backbone.name}")
    whole = type(model).from_config({**config, "backbone": keras.saving.serialize_keras_object(backbone)})
    whole.backbone.set_weights(backbone.get_weights())
    whole.class_regions.set_weights(model.class_regions.get_weights())
    whole.compile(optimizer="sgd", objective=model.objective, metrics=_metrics())
    for name, variable in model.objective_state.items():
        whole.objective_state[name].assign(variable)
    return whole


def _metrics():
    return ["accuracy", GMean(), ClassWiseAccuracy()]


def _backbone(config, splits, upper):
    recipe, image_shape = config.recipe, splits.image_shape
    feature_dim = None if recipe.head == "linear" else config.feature_dim
    head = {"dropout": recipe.dropout, "scale": recipe.feature_scale, "sphere": recipe.sphere}
    if upper is not None:
        activations = keras.Input(image_shape, name="activation")
        features = FixedStatistics(_copy(upper), name="upper")(activations)
        return keras.Model(activations, backbones.projection(features, feature_dim, **head), name=recipe.backbone)
    if len(image_shape) == 1:
        backbone = backbones.vector(image_shape[0], feature_dim, **head)
        backbones.standardize(backbone, np.concatenate([vectors for vectors, _ in splits.train]))
        return backbone
    if recipe.backbone in PAPER_BACKBONES:
        return paper_backbone(recipe.backbone, image_shape, config.feature_dim, recipe.pixel_scale)
    return backbones.pretrained(recipe.backbone, image_shape, recipe.weights, feature_dim, **head)


def _copy(network):
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


def paper_backbone(name: str, image_shape, feature_dim: int, pixel_scale: float = 1.0) -> keras.Model:
    """One of the paper's networks by name, on pixels multiplied by `pixel_scale`."""
    if name == "simple_cnn":
        network = backbones.simple_cnn(image_shape, feature_dim)
    else:
        network = backbones.resnet(image_shape, int(name.removeprefix("resnet")), feature_dim)
    if pixel_scale == 1:
        return network
    images = keras.Input(image_shape, name="image")
    return keras.Model(images, network(keras.layers.Rescaling(pixel_scale)(images)), name=f"scaled_{name}")


def _place_centers(model, recipe, splits):
    """Scales the random centres like the features they are compared with, or puts them at the means of their classes."""
    centers = model.class_regions.centers
    if model.head == "linear":
        return
    if recipe.center_start == "random":
        if recipe.feature_scale != 1:
            centers.assign(recipe.feature_scale * centers)
        return
    backbones.calibrate(model.backbone, (images for images, _ in splits.train))
    features, labels = zip(*((model.backbone.predict_on_batch(images), labels) for images, labels in splits.train))
    features, labels = np.concatenate(features), np.concatenate(labels)
    centers.assign(np.stack([features[labels == label].mean(axis=0) for label in range(model.num_classes)]))


def _optimizer(recipe, splits):
    steps, rate = len(splits.train), recipe.learning_rate
    if len(splits.image_shape) == 1:
        # A step moves every weight by about the rate, and a feature by as many of these as there are inputs.
        rate *= (USUAL_WIDTH / splits.image_shape[0]) ** 0.5
    if recipe.schedule == "cosine":
        rates = keras.optimizers.schedules.CosineDecay(rate, recipe.epochs * steps)
    else:
        drops = [rate * 0.1**drop for drop in range(len(recipe.learning_rate_drops) + 1)]
        rates = _piecewise(recipe.learning_rate_drops, drops, steps)
    if recipe.optimizer == "adamw":
        return keras.optimizers.AdamW(rates, weight_decay=recipe.weight_decay)
    sgd = functools.partial(keras.optimizers.SGD, momentum=recipe.momentum)
    return sgd(rates, weight_decay=recipe.weight_decay or None)


def _piecewise(epochs, values, steps_per_epoch):
    """A learning rate that changes at the start of the given epochs; Keras counts the boundary step to the old value."""
    if not epochs:  # Keras' schedule wants a boundary
        return values[0]
    boundaries = [epoch * steps_per_epoch - 1 for epoch in epochs]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, list(values))
