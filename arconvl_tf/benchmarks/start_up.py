"""Importing the package, the command's help, and from the start of a process to its first training step."""

from arconvl_tf.benchmarks.processes import output, start
from arconvl_tf.benchmarks.timing import take_turns

FIRST_STEP = """
import keras
import numpy as np
import arconvl_tf as arc
model = arc.ARConvL(arc.backbones.simple_cnn((28, 28, 1)), class_counts=[1] * 10)
model.compile(keras.optimizers.SGD(0.1))
model.train_on_batch(np.zeros((128, 28, 28, 1), "float32"), np.arange(128) % 10)
"""
PROCESSES = {
    "import arconvl_tf": ("-c", "import arconvl_tf"),
    "with TensorFlow": ("-c", "from arconvl_tf import ARConvL"),
    "first step": ("-c", FIRST_STEP),
    "arconvl --help": ("-m", "arconvl_tf", "--help"),
}


def measure(repeats, steps):
    """Seconds, each time in a new process."""
    variants = {name: lambda arguments=arguments: output(start(*arguments)) for name, arguments in PROCESSES.items()}
    return take_turns(variants, repeats)
