"""Forward, backward and update of the head alone, 64 samples, each size in a process of its own for its peak memory."""

import itertools

import numpy as np
import tensorflow as tf

from arconvl_tf import losses, regions
from arconvl_tf.benchmarks.processes import forget_peak, measured, peak_megabytes, start_measuring
from arconvl_tf.benchmarks.timing import take_turns

SIZES = list(itertools.product((10, 100, 1000, 8142, 100_000), (64, 2048)))
BATCH_SIZE = 64
# Beyond it the centre term is left out: all pairs of 100 000 centres of 2 048 features would take longer than all else.
MAX_CENTER_PAIR_PRODUCTS = 1e12


def measure(repeats, steps):
    """Seconds a step, by the number of classes k, of features d, and the part of the head that takes it."""
    results = {}
    for num_classes, feature_dim in SIZES:
        parts = ["samples", "samples and centres", "dense softmax"]
        if num_classes**2 * feature_dim > MAX_CENTER_PAIR_PRODUCTS:
            parts.remove("samples and centres")
        for part in parts:
            rounds = 1 if part == "samples and centres" and num_classes > 1000 else repeats
            statement = "from arconvl_tf.benchmarks.region_head import measure_head as measure"
            process = start_measuring(statement, num_classes, feature_dim, part, rounds)
            results[f"k = {num_classes}, d = {feature_dim}, {part}"] = measured(process)
    return results


def measure_head(num_classes, feature_dim, part, repeats):
    """Seconds a step and the megabytes by which the process grew beyond its variables."""
    rng = np.random.default_rng(0)
    features = tf.constant(rng.standard_normal((BATCH_SIZE, feature_dim), "float32"))
    centers = tf.Variable(rng.standard_normal((num_classes, feature_dim), "float32"))
    labels = tf.constant(rng.integers(0, num_classes, BATCH_SIZE))
    bias = tf.Variable(tf.zeros(num_classes))
    priors = tf.fill([num_classes], 1.0 / num_classes)
    forget_peak()  # the arrays were copied on their way to TensorFlow
    before = peak_megabytes()

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(features)
            if part == "dense softmax":
                logits = tf.matmul(features, centers, transpose_b=True) + bias
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            else:
                distances = regions.squared_distances(features, centers)
                loss = tf.reduce_mean(losses.margin_cross_entropy(labels, distances, priors, tf.constant(1.0)))
                if part == "samples and centres":
                    loss += losses.center_cross_entropy(centers, tf.constant(1.0))
        by_features, by_centers = tape.gradient(loss, [features, centers])
        centers.assign_sub(0.01 * by_centers)
        return tf.reduce_sum(by_features)

    seconds = take_turns({"step": lambda: step().numpy()}, repeats)["step"]
    return {**seconds, "peak_megabytes": round(peak_megabytes() - before)}
