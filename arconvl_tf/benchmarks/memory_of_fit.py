"""Memory that stays behind after `fit` of a new model, for ARConvL and for stock Keras, each in a process of its own."""

import gc

import numpy as np

from arconvl_tf import backbones
from arconvl_tf.benchmarks import models
from arconvl_tf.benchmarks.processes import measured, resident_megabytes, start_measuring

KINDS = {"ARConvL": models.arconvl_model, "softmax cross-entropy": models.softmax_model}
MODELS = 15
COUNTED = 10  # the last of them: TensorFlow's own pools grow with the first


def measure(repeats, steps):
    """Megabytes a model; the number of models is fixed, whatever the repeats and steps."""
    statement = "from arconvl_tf.benchmarks.memory_of_fit import measure_kind as measure"
    return {kind: measured(start_measuring(statement, kind, MODELS, COUNTED)) for kind in KINDS}


def measure_kind(kind, num_models, counted):
    """The growth of this process with each of the last `counted` models that were trained in it and forgotten."""
    images = np.random.default_rng(0).uniform(0, 255, (256, 12, 12, 1)).astype("float32")
    # In the proportions of the class counts, of which the model warns otherwise.
    labels = np.repeat(np.arange(len(models.CLASS_COUNTS)), models.CLASS_COUNTS)[:: models.CLASS_COUNTS.sum() // 256][:256]
    megabytes = [resident_megabytes()]
    for _ in range(num_models):
        _fit_once(KINDS[kind], images, labels)
        gc.collect()
        megabytes.append(resident_megabytes())
    growths = np.diff(megabytes)[-counted:]
    return {f"megabytes_{name}": round(float(getattr(np, name)(growths)), 2) for name in ("mean", "min", "max")}


def _fit_once(build, images, labels):
    """In a function of its own, so that nothing holds the model afterwards; with no metric of ours in stock Keras' model."""
    model = build(backbones.simple_cnn(images.shape[1:], feature_dim=16), metrics=["accuracy"])
    model.fit(images, labels, batch_size=64, verbose=0, validation_data=(images[:64], labels[:64]))
