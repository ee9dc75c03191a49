"""What the benchmarks train: two networks, and on them ARConvL, stock Keras and the released program's manner."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import backbones, hardware, losses
from arconvl_tf.data.pipeline import without_autotuning
from arconvl_tf.metrics import GMean
from arconvl_tf.models import ARConvL

CLASS_COUNTS = np.tile([60, 6000], 5)
BATCH_SIZE = 128


class Network(NamedTuple):
    """A backbone to measure: `constructor(image_shape)` makes it."""

    name: str
    image_shape: tuple
    constructor: Callable

    def backbone(self):
        return self.constructor(self.image_shape)

    def dataset(self, steps):
        """Random pictures in memory, `steps` batches of 128."""
        rng = np.random.default_rng(0)
        images = tf.constant(rng.uniform(0, 255, (BATCH_SIZE * steps, *self.image_shape)), tf.float32)
        labels = tf.constant(rng.integers(0, len(CLASS_COUNTS), BATCH_SIZE * steps))
        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH_SIZE).cache().prefetch(2)
        return without_autotuning(dataset)


MNIST_NETWORK = Network("MNIST network", (28, 28, 1), backbones.simple_cnn)
RESNET = Network("ResNet-44", (32, 32, 3), functools.partial(backbones.resnet, depth=44))
NETWORKS = (MNIST_NETWORK, RESNET)


def arconvl_model(backbone, **compile_options):
    model = ARConvL(backbone, class_counts=CLASS_COUNTS)
    model.compile(keras.optimizers.SGD(0.01), **{"metrics": ["accuracy", GMean()], **compile_options})
    return model


def softmax_model(backbone, **compile_options):
    """The same backbone under a dense layer, trained by stock Keras with the same metrics."""
    logits = keras.layers.Dense(len(CLASS_COUNTS), dtype="float32")(backbone.output)
    model = keras.Model(backbone.input, logits)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss=loss, **{"metrics": ["accuracy", GMean()], **compile_options})
    return model


def in_fast_precisions(network_name, builders):
    """The models that the builders make, in float32 and, where the machine is fast at it, in bfloat16, by full name."""
    models = {}
    for precision in ["float32"] + ["mixed_bfloat16"] * hardware.fast_bfloat16():
        with hardware.precision(precision):
            models |= {f"{network_name}, {name}, {precision}": build() for name, build in builders.items()}
    return models


def fitting(model, dataset):
    """A callable that trains the model on the dataset once."""
    return lambda: model.fit(dataset, verbose=0, shuffle=False)


def single_steps(models, network):
    """Callables by the models' names, each of which trains a model on one batch of the network's pictures."""
    batches = iter(network.dataset(1).repeat())
    for model in models.values():
        model.make_train_function()
    # What `fit` calls for each batch; `train_on_batch` would reset the metrics every time.
    return {name: lambda model=model: model.train_function(batches) for name, model in models.items()}


def with_stock_layers(backbone):
    """The same network with Keras' own batch normalisation and ELU."""
    stock = (keras.layers.BatchNormalization, keras.layers.ELU)
    return with_layers(backbone, {kind: lambda layer, kind=kind: kind.from_config(layer.get_config()) for kind in stock})


def with_layers(backbone, replacements):
    """The same network, with new weights, where other layers stand for those of some kinds.

    Args:
        backbone: a functional Keras model.
        replacements: `{kind: function of a layer of that kind, or of one derived from it, that returns the new layer}`.
    """

    def replace(layer):
        for kind, replacement in replacements.items():
            if isinstance(layer, kind):
                return replacement(layer)
        return type(layer).from_config(layer.get_config())

    return keras.models.clone_model(backbone, clone_function=replace)


def forward_flops(model):
    """Multiplications and additions of the convolutions and dense layers, for one picture."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            total += 2 * int(np.prod(layer.output.shape[1:])) * int(np.prod(layer.kernel.shape[:3]))
        elif isinstance(layer, keras.layers.Dense):
            total += 2 * int(np.prod(layer.kernel.shape))
    return total


def released_manner(backbone, dataset):
    """An eager loop with optimizers made anew for each step and β, σ² computed in numpy, as the released program has it."""
    model = ARConvL(backbone, class_counts=CLASS_COUNTS)
    layer = model.class_regions

    def step(images, labels):
        beta, margin = _beta_and_margin(layer.centers.numpy(), layer.radii.numpy())
        with tf.GradientTape() as tape:
            loss = _released_loss(labels, -model(images, training=True), layer, beta, margin)
        variables = model.trainable_variables
        gradients = tape.gradient(loss, variables)
        own = [variable is layer.radii for variable in variables]
        for rate, wanted in ((0.01, False), (0.001, True)):
            chosen = [(g, v) for g, v, is_radius in zip(gradients, variables, own) if is_radius == wanted]
            keras.optimizers.SGD(rate, momentum=0.9).apply_gradients(chosen)

    return lambda: [step(images, labels) for images, labels in dataset]


def _beta_and_margin(centers, radii):
    """β and σ² (Eqs. 5 and 7), in numpy."""
    between = ((centers[:, None] - centers[None]) ** 2).sum(-1)
    np.fill_diagonal(between, np.inf)
    nearest = between.min(axis=1) / 4
    upper = max(nearest.max(), (radii**2).max())
    return np.float32([min(1.0, upper / nearest.min() - 1), min(nearest.min(), upper - nearest.min())])


def _released_loss(labels, distances, layer, beta, margin):
    """The sum of Eqs. 2, 6 and 8, with α / mean(α) as the weights of Eq. 6."""
    centers, radii = tf.convert_to_tensor(layer.centers), tf.convert_to_tensor(layer.radii)
    class_weights = tf.constant(CLASS_COUNTS.max() / CLASS_COUNTS, tf.float32)
    class_priors = tf.constant(CLASS_COUNTS / CLASS_COUNTS.sum(), tf.float32)
    pull = class_weights / tf.reduce_mean(class_weights)
    by_sample = [
        losses.region_loss(labels, tf.stop_gradient(distances), radii, class_weights, 0.05),
        beta * losses.distribution_loss(labels, distances, pull),
        losses.margin_cross_entropy(labels, distances, class_priors, margin),
    ]
    return sum(tf.reduce_mean(values) for values in by_sample) + losses.center_cross_entropy(centers, margin)
