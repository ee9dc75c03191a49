"""What the numbers were measured on."""

import functools
import importlib.metadata
import platform

import tensorflow as tf

from arconvl_tf import hardware
from arconvl_tf.benchmarks.timing import take_turns


def describe():
    """Processor, cores and versions, with the speed of a large matrix product as a yardstick."""
    types = ["float32"] + ["bfloat16"] * hardware.fast_bfloat16()
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": hardware.usable_cores(),
        "matrix_product_gflops": {dtype: round(peak_gflops(dtype)) for dtype in types},
        "tensorflow": importlib.metadata.version("tensorflow"),
        "keras": importlib.metadata.version("keras"),
    }


@functools.cache
def peak_gflops(dtype):
    """The speed of a product of 2048×2048 matrices, the fastest of five."""
    operand = tf.cast(tf.random.normal((2048, 2048)), dtype)
    seconds = take_turns({"product": lambda: tf.matmul(operand, operand)[0, 0].numpy()}, 5)
    return 2 * 2048**3 / seconds["product"]["min"] / 1e9
