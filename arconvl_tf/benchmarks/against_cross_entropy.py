"""ARConvL and plain softmax cross-entropy, in turn after every single step, so that a machine's moods cancel."""

from arconvl_tf.benchmarks import models
from arconvl_tf.benchmarks.timing import take_turns


def measure(repeats, steps):
    """Seconds a step of 128 pictures, by network."""
    results = {}
    for network in models.NETWORKS:
        builders = {
            "ARConvL": lambda network=network: models.arconvl_model(network.backbone()),
            "softmax cross-entropy": lambda network=network: models.softmax_model(network.backbone()),
        }
        variants = models.single_steps(models.in_fast_precisions(network.name, builders), network)
        results |= take_turns(variants, repeats * steps)
    return results
