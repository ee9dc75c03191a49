"""A `fit` step of ARConvL, of plain softmax cross-entropy, and of the released program's manner, by network."""

from arconvl_tf.benchmarks import models
from arconvl_tf.benchmarks.machine import peak_gflops
from arconvl_tf.benchmarks.timing import take_turns


def measure(repeats, steps):
    results = {}
    for network in models.NETWORKS:
        results |= measure_network(network, repeats, steps)
    return results


def measure_network(network, repeats, steps):
    """Seconds a step of 128 pictures, with the speed in GFLOP/s and its share of a large matrix product's."""
    dataset = network.dataset(steps)
    builders = {
        "ARConvL": lambda: models.arconvl_model(network.backbone()),
        f"ARConvL, {steps} steps an execution": lambda: models.arconvl_model(network.backbone(), steps_per_execution=steps),
        "ARConvL with Keras' layers": lambda: models.arconvl_model(models.with_stock_layers(network.backbone())),
        "softmax cross-entropy": lambda: models.softmax_model(network.backbone()),
    }
    built = models.in_fast_precisions(network.name, builders)
    variants = {name: models.fitting(model, dataset) for name, model in built.items()}
    variants[f"{network.name}, as the released program, float32"] = models.released_manner(network.backbone(), dataset)
    measured = take_turns(variants, repeats, per=steps)
    flops = 3 * models.BATCH_SIZE * models.forward_flops(network.backbone())
    for name, result in measured.items():
        precision = name.rpartition(", ")[2].removeprefix("mixed_")
        gflops = flops / result["median"] / 1e9
        result.update(gflops=round(gflops, 1), share_of_matrix_product=round(gflops / peak_gflops(precision), 3))
    return measured
