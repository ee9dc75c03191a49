"""The models that `arconvl benchmark` compares: ARConvL, stock Keras on the same network, the released program's manner."""

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import regions
from arconvl_tf.metrics import GMean
from arconvl_tf.models import ARConvL

CLASS_COUNTS = np.tile([60, 6000], 5)


def arconvl_model(backbone, **compile_options):
    model = ARConvL(backbone, CLASS_COUNTS)
    model.compile(keras.optimizers.SGD(0.01), metrics=["accuracy", GMean()], **compile_options)
    return model


def softmax_model(backbone):
    """The same backbone under a dense layer, trained by stock Keras with the same metrics."""
    logits = keras.layers.Dense(len(CLASS_COUNTS), dtype="float32")(backbone.output)
    model = keras.Model(backbone.input, logits)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss=loss, metrics=["accuracy", GMean()])
    return model


def with_stock_layers(backbone):
    """The same network with Keras' own batch normalisation and ELU."""

    def replace(layer):
        stock = next((kind for kind in (keras.layers.BatchNormalization, keras.layers.ELU) if isinstance(layer, kind)), None)
        return (stock or type(layer)).from_config(layer.get_config())

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
    model = ARConvL(backbone, CLASS_COUNTS)
    layer = model.class_regions

    def step(images, labels):
        centers, radii = layer.centers.numpy(), layer.radii.numpy()
        between = ((centers[:, None] - centers[None]) ** 2).sum(-1)
        np.fill_diagonal(between, np.inf)
        nearest = between.min(axis=1) / 4
        upper = max(nearest.max(), (radii**2).max())
        beta, margin = min(1.0, upper / nearest.min() - 1), min(nearest.min(), upper - nearest.min())
        # Handed over, so that the objective does not measure the regions a second time.
        geometry = regions.RegionGeometry(*np.float32([nearest.min(), upper, beta, margin]))
        with tf.GradientTape() as tape:
            distances = -model(images, training=True)
            terms = model.default_objective(
                labels, distances, tf.convert_to_tensor(layer.centers), tf.convert_to_tensor(layer.radii), geometry=geometry
            )
            loss = tf.add_n(list(terms.values()))
        variables = model.trainable_variables
        gradients = tape.gradient(loss, variables)
        own = [variable is layer.radii for variable in variables]
        for rate, wanted in ((0.01, False), (0.001, True)):
            chosen = [(g, v) for g, v, is_radius in zip(gradients, variables, own) if is_radius == wanted]
            keras.optimizers.SGD(rate, momentum=0.9).apply_gradients(chosen)

    return lambda: [step(images, labels) for images, labels in dataset]
