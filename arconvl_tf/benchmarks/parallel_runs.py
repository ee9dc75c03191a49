"""Steps of the MNIST network: one process with all threads, or one single-threaded process for every core."""

import tensorflow as tf

from arconvl_tf import hardware
from arconvl_tf.benchmarks import models
from arconvl_tf.benchmarks.processes import measured, start_measuring
from arconvl_tf.benchmarks.timing import take_turns


def measure(repeats, steps):
    """Steps a second, of all processes together."""
    cores = hardware.usable_cores()
    together, apart = [_seconds_a_step(*layout, repeats, steps) for layout in ((1, cores), (cores, 1))]
    return {
        f"one process, {cores} threads": {"steps_a_second": round(sum(1 / seconds for seconds in together), 2)},
        f"{cores} processes, one thread each": {"steps_a_second": round(sum(1 / seconds for seconds in apart), 2)},
    }


def _seconds_a_step(processes, threads, repeats, steps):
    """The median of each of the processes, which run at the same time."""
    statement = "from arconvl_tf.benchmarks.parallel_runs import measure_steps as measure"
    started = [start_measuring(statement, threads, repeats, steps) for _ in range(processes)]
    return [measured(process)["median"] for process in started]


def measure_steps(threads, repeats, steps):
    """Seconds a step of the MNIST network in this process, which must not have used TensorFlow before."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    with hardware.precision(hardware.default_precision()):
        model = models.arconvl_model(models.MNIST_NETWORK.backbone())
    step = models.fitting(model, models.MNIST_NETWORK.dataset(steps))
    return take_turns({"step": step}, repeats, per=steps)["step"]
