"""What an activation costs: in ResNet-44's training step, and alone, where forms of ELU compete."""

import functools

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import layers
from arconvl_tf.benchmarks import models
from arconvl_tf.benchmarks.timing import take_turns

SHAPE = (models.BATCH_SIZE, 32, 32, 16)  # what an ELU of the first stage gets


def measure(repeats, steps):
    """Seconds a training step of 128 pictures; seconds forward and backward through one activation, with its errors."""
    return in_network(models.RESNET, repeats * steps) | alone(SHAPE, repeats * steps)


# ---------------------------------------------------------------------------------------------------------- in a network


def in_network(network, rounds):
    """Seconds a step of ARConvL with one activation or another in the place of the backbone's ELU, in turn after each step.

    With oneDNN TensorFlow computes ReLU together with the batch normalisation before it: ReLU saves more than its own time.
    """
    layer_classes = {"our ELU": layers.ELU, "Keras' ELU": keras.layers.ELU, "ReLU": keras.layers.ReLU}
    layer_classes["no activation"] = keras.layers.Identity

    def build(layer_class):
        replacements = {keras.layers.ELU: lambda layer: layer_class(name=layer.name)}
        return models.arconvl_model(models.with_layers(network.backbone(), replacements))

    builders = {name: functools.partial(build, layer_class) for name, layer_class in layer_classes.items()}
    return take_turns(models.single_steps(models.in_fast_precisions(network.name, builders), network), rounds)


# ----------------------------------------------------------------------------------------------------------------- alone


def through_float32(x):
    return tf.cast(tf.nn.elu(tf.cast(x, tf.float32)), x.dtype)


@tf.custom_gradient
def keeping_exponential(x):
    """exp(min(x, 0)) serves as the value, less 1, and as the whole slope; digits near zero are lost."""
    wide = tf.cast(x, tf.float32)
    exponential = tf.exp(tf.minimum(wide, 0.0))
    slope = tf.cast(exponential, x.dtype)
    # Not `exponential - 1.0`, which TensorFlow's graph optimizer would turn into the other form's expm1.
    return tf.cast(tf.maximum(wide, exponential + -1.0), x.dtype), lambda upstream: upstream * slope


@tf.custom_gradient
def keeping_expm1(x):
    """As before with exp(x) − 1 from one function, which keeps the digits near zero."""
    wide = tf.cast(x, tf.float32)
    below = tf.math.expm1(tf.minimum(wide, 0.0))
    slope = tf.cast(below + 1.0, x.dtype)
    return tf.cast(tf.maximum(wide, below), x.dtype), lambda upstream: upstream * slope


@tf.custom_gradient
def keeping_value(x):
    """TensorFlow's value, and a slope from it in two simple passes in place of TensorFlow's one."""
    value = tf.nn.elu(x)
    return value, lambda upstream: upstream * (tf.minimum(value, 0) + 1)


FORMS = {
    "our ELU": lambda x: layers.ELU(dtype=x.dtype.name)(x),
    "Keras' ELU": lambda x: keras.layers.ELU(dtype=x.dtype.name)(x),
    "tf.nn.elu": tf.nn.elu,
    "tf.nn.elu through float32": through_float32,
    "tf.nn.elu compiled by XLA": tf.function(tf.nn.elu, jit_compile=True),
    "exponential kept": keeping_exponential,
    "expm1 kept": keeping_expm1,
    "value kept": keeping_value,
}


def alone(shape, rounds):
    """Seconds forward and backward of one tensor, in turn after every call, in float32 and in bfloat16.

    Beside it stand the largest errors against float64 with the same numbers: of the value and of the gradient, absolute,
    and of the value relative to itself, which tells what is left of its digits near zero. ReLU is there for its time.
    """
    rng = np.random.default_rng(0)
    numbers, slopes = rng.standard_normal((2, *shape), "float32")
    variants, errors = {}, {}
    for dtype in ("float32", "bfloat16"):
        x, upstream = tf.cast(numbers, dtype), tf.cast(slopes, dtype)
        for name, form in {**FORMS, "ReLU": tf.nn.relu}.items():
            step = functools.partial(forward_and_backward(form, x), x, upstream)
            full_name = f"alone, {name}, {dtype}"
            # A number is fetched, so that the clock runs until a GPU has finished too.
            variants[full_name] = lambda step=step: step()[1][0, 0, 0, 0].numpy()
            errors[full_name] = errors_of_elu(step, x, upstream) if name in FORMS else {}
    return {name: {**seconds, **errors[name]} for name, seconds in take_turns(variants, rounds).items()}


def forward_and_backward(form, like):
    """A graph (x, upstream gradient) → (value, gradient), for tensors like the one given."""

    def step(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = form(x)
        return value, tape.gradient(value, x, output_gradients=upstream)

    return tf.function(step).get_concrete_function(like, like)


def errors_of_elu(step, x, upstream):
    """The largest errors of `step()` as an ELU of x, in plain numbers."""
    value, gradient, x, upstream = [tensor.numpy().astype("float64") for tensor in (*step(), x, upstream)]
    expected = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    errors = {
        "value_error": value - expected,
        "gradient_error": gradient - upstream * np.exp(np.minimum(x, 0)),
        "relative_value_error": np.divide(value - expected, expected, out=np.zeros_like(x), where=expected != 0),
    }
    return {name: float(np.abs(error).max()) for name, error in errors.items()}
