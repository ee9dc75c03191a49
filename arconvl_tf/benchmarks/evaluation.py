"""`evaluate`, in the large batches of this library's validation data."""

import numpy as np

from arconvl_tf.benchmarks import models
from arconvl_tf.benchmarks.timing import take_turns
from arconvl_tf.data import make_splits


def measure(repeats, steps):
    """Seconds a picture, by network."""
    variants = {}
    count = models.BATCH_SIZE * steps
    for network in models.NETWORKS:
        side = np.random.default_rng(0).integers(0, 256, (count, *network.image_shape), "uint8"), np.arange(count) % 10
        dataset = make_splits(side, side).test
        model = models.arconvl_model(network.backbone())
        variants[network.name] = lambda model=model, dataset=dataset: model.evaluate(dataset, verbose=0)
    return take_turns(variants, repeats, per=count)
