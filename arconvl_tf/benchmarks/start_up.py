"""Importing the package, the command's help, and from the start of a process to its first training step."""

from arconvl_tf.benchmarks.processes import output, start
from arconvl_tf.benchmarks.timing import take_turns

SCRIPTS = {
    "import arconvl_tf": "import arconvl_tf",
    "with TensorFlow": "from arconvl_tf import ARConvL",
    "first step": """
import keras
import numpy as np
import arconvl_tf as arc
model = arc.ARConvL(arc.backbones.simple_cnn((28, 28, 1)), class_counts=[1] * 10)
model.compile(keras.optimizers.SGD(0.1))
model.train_on_batch(np.zeros((128, 28, 28, 1), "float32"), np.arange(128) % 10)
""",
    "arconvl --help": "import sys; sys.argv = ['arconvl', '--help']; from arconvl_tf.cli import main; main()",
}


def measure(repeats, steps):
    """Seconds, each time in a new process."""
    return take_turns({name: lambda script=script: output(start(script)) for name, script in SCRIPTS.items()}, repeats)
