"""`arconvl benchmark`: how fast this machine trains, and where the time goes.

Variants that are compared take turns in one run, so that a machine that slows down slows all of them; quote medians and
ratios. Nothing here is a test: a slow machine measures slow, it fails nothing. What was learnt with it, with numbers,
stands in the README under "Speed".
"""

import contextlib
import functools
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import backbones, hardware, losses, regions
from arconvl_tf.benchmark_models import (
    CLASS_COUNTS,
    arconvl_model,
    forward_flops,
    released_manner,
    softmax_model,
    with_stock_layers,
)
from arconvl_tf.data import load_data, make_splits
from arconvl_tf.data.pipeline import without_autotuning

NETWORKS = {
    "MNIST network": (lambda: backbones.simple_cnn((28, 28, 1)), (28, 28, 1)),
    "ResNet-44": (lambda: backbones.resnet((32, 32, 3), 44), (32, 32, 3)),
}
BATCH_SIZE = 128
HEAD_SIZES = list(itertools.product((10, 100, 1000, 8142, 100_000), (64, 2048)))
HEAD_BATCH = 64
# Beyond it the centre term is left out: all pairs of 100 000 centres of 2 048 features would take longer than all else.
MAX_CENTER_PAIR_PRODUCTS = 1e12
FOLDER_SIZES = (5_000, 50_000)


def run(sections=None, repeats=5, steps=10):
    """Measures the chosen sections.

    Args:
        sections: names among `SECTIONS`; all of them by default.
        repeats: how often the variants of a section take turns.
        steps: training steps of one turn.

    Returns:
        `{"machine": {...}, section: {variant: {"median", "min", "max", ...}}}`, seconds unless the name says otherwise.
    """
    results = {"machine": machine()}
    for name in sections or SECTIONS:
        results[name] = SECTIONS[name](repeats, steps)
    return results


def machine():
    """What the numbers were measured on, with the speed of a large matrix product as a yardstick."""
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


def take_turns(variants, repeats, per=1):
    """Times callables in turn, after one untimed round; every round has an order of its own.

    Args:
        variants: `{name: callable}`.
        repeats: timed rounds.
        per: units of work in one call, by which the seconds are divided.

    Returns:
        `{name: {"median", "min", "max"}}`, seconds per unit.
    """
    seconds = {name: [] for name in variants}
    shuffled = random.Random(0)
    for round_number in range(repeats + 1):
        for name in shuffled.sample(list(variants), len(variants)):
            started = time.perf_counter()
            variants[name]()
            if round_number:
                seconds[name].append((time.perf_counter() - started) / per)
    return {
        name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
        for name, values in seconds.items()
    }


def training_step(repeats, steps):
    """A `fit` step of ARConvL, of plain softmax cross-entropy, and of the released program's manner, by network."""
    results = {}
    for network, (build, shape) in NETWORKS.items():
        dataset = _random_dataset(shape, steps)
        builders = {
            "ARConvL": lambda: arconvl_model(build()),
            f"ARConvL, {steps} steps an execution": lambda: arconvl_model(build(), steps_per_execution=steps),
            "ARConvL with Keras' layers": lambda: arconvl_model(with_stock_layers(build())),
            "softmax cross-entropy": lambda: softmax_model(build()),
        }
        variants = {name: _fit(model, dataset) for name, model in _in_fast_precisions(network, builders).items()}
        variants[f"{network}, as the released program, float32"] = released_manner(build(), dataset)
        measured = take_turns(variants, repeats, per=steps)
        flops = 3 * BATCH_SIZE * forward_flops(build())
        for name, result in measured.items():
            precision = name.rpartition(", ")[2].removeprefix("mixed_")
            gflops = flops / result["median"] / 1e9
            result.update(gflops=round(gflops, 1), share_of_matrix_product=round(gflops / peak_gflops(precision), 3))
        results |= measured
    return results


def against_cross_entropy(repeats, steps):
    """ARConvL and plain softmax cross-entropy again, in turn after every single step, so that a machine's moods cancel."""
    results = {}
    for network, (build, shape) in NETWORKS.items():
        batches = iter(_random_dataset(shape, 1).repeat())
        builders = {
            "ARConvL": lambda: arconvl_model(build()),
            "softmax cross-entropy": lambda: softmax_model(build()),
        }
        models = _in_fast_precisions(network, builders)
        for model in models.values():
            model.make_train_function()
        # What `fit` calls for each batch; `train_on_batch` would reset the metrics every time.
        variants = {name: lambda model=model: model.train_function(batches) for name, model in models.items()}
        results |= take_turns(variants, repeats * steps)
    return results


def _in_fast_precisions(network, builders):
    """The models that the builders make, in float32 and, where the machine is fast at it, in bfloat16, by full name."""
    models = {}
    for precision in ["float32"] + ["mixed_bfloat16"] * hardware.fast_bfloat16():
        with hardware.precision(precision):
            models |= {f"{network}, {name}, {precision}": build() for name, build in builders.items()}
    return models


def input_pipeline(repeats, steps):
    """A batch of 128 pictures 32×32×3 from memory, without and with the paper's augmentation; and ResNet-44's step on one."""
    rng = np.random.default_rng(0)
    side = rng.integers(0, 256, (60 * BATCH_SIZE, 32, 32, 3), "uint8"), np.arange(60 * BATCH_SIZE) % 10
    datasets = {name: make_splits(side, side, augmentation=name).train for name in ("none", "paper")}
    variants = {f"augmentation {name}": lambda dataset=dataset: sum(1 for _ in dataset) for name, dataset in datasets.items()}
    results = take_turns(variants, repeats, per=len(datasets["none"]))
    build, shape = NETWORKS["ResNet-44"]
    precision = hardware.default_precision()
    with hardware.precision(precision):
        step = _fit(arconvl_model(build()), _random_dataset(shape, steps))
    return results | take_turns({f"ResNet-44, ARConvL, {precision}": step}, repeats, per=steps)


def picture_folder(repeats, steps):
    """A folder of JPEG files of 64×64 pixels: finding and checking them, then one pass, each size in a new process."""
    results = {}
    for count in FOLDER_SIZES:
        with tempfile.TemporaryDirectory() as folder:
            _write_pictures(pathlib.Path(folder), count)
            script = f"from arconvl_tf import benchmark; benchmark.print_folder({folder!r})"
            results[f"{count} pictures"] = json.loads(_in_new_process(script))
    return results


def print_folder(folder):
    """Measures one folder and prints JSON; see `picture_folder`. Megabytes are the growth of the process by then."""
    small = np.zeros((9, 64, 64, 3), "uint8"), np.arange(9) % 3
    list(make_splits(small, small).train)  # so that what TensorFlow needs anyway is not counted
    marks = [(time.perf_counter(), _peak_kilobytes())]
    splits = load_data(folder)
    marks.append((time.perf_counter(), _peak_kilobytes()))
    for _ in splits.train:
        pass
    marks.append((time.perf_counter(), _peak_kilobytes()))
    (started, before), (loaded, after_loading), (ended, after_pass) = marks
    result = {
        "files_checked_a_second": sum(int(counts.sum()) for counts in splits.split_counts.values()) / (loaded - started),
        "pictures_a_second": int(splits.split_counts["train"].sum()) / (ended - loaded),
        "megabytes_to_load": round((after_loading - before) / 1024),
        "megabytes_with_a_pass": round((after_pass - before) / 1024),
    }
    print(json.dumps(result))


def _write_pictures(folder, count, distinct=500):
    """Smooth random pictures in three classes."""
    coarse = tf.constant(np.random.default_rng(0).integers(0, 256, (distinct, 8, 8, 3)), tf.float32)
    pixels = tf.cast(tf.clip_by_value(tf.image.resize(coarse, (64, 64), "bicubic"), 0, 255), tf.uint8)
    encoded = [tf.io.encode_jpeg(picture).numpy() for picture in pixels]
    for number in range(count):
        path = folder / f"class {number % 3}" / f"{number:06}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded[number % distinct])


def evaluation(repeats, steps):
    """`evaluate`, seconds a picture, in the large batches of this library's validation data."""
    variants = {}
    count = BATCH_SIZE * steps
    for network, (build, shape) in NETWORKS.items():
        images = np.random.default_rng(0).integers(0, 256, (count, *shape), "uint8")
        dataset = make_splits((images, np.arange(count) % 10), (images, np.arange(count) % 10)).test
        model = arconvl_model(build())
        variants[network] = lambda model=model, dataset=dataset: model.evaluate(dataset, verbose=0)
    return take_turns(variants, repeats, per=count)


def region_head(repeats, steps):
    """Forward and backward through the head alone, 64 samples, each size in a process of its own for its peak memory."""
    results = {}
    for num_classes, feature_dim in HEAD_SIZES:
        parts = ["samples", "samples and centres", "dense softmax"]
        if num_classes**2 * feature_dim > MAX_CENTER_PAIR_PRODUCTS:
            parts.remove("samples and centres")
        for part in parts:
            rounds = 1 if part == "samples and centres" and num_classes > 1000 else repeats
            script = f"from arconvl_tf import benchmark; benchmark.print_head({num_classes}, {feature_dim}, {part!r}, {rounds})"
            results[f"k = {num_classes}, d = {feature_dim}, {part}"] = json.loads(_in_new_process(script))
    return results


def print_head(num_classes, feature_dim, part, repeats):
    """Measures one head and prints JSON; see `region_head`."""
    rng = np.random.default_rng(0)
    features = tf.constant(rng.standard_normal((HEAD_BATCH, feature_dim), "float32"))
    centers = tf.Variable(rng.standard_normal((num_classes, feature_dim), "float32"))
    labels = tf.constant(rng.integers(0, num_classes, HEAD_BATCH))
    bias = tf.Variable(tf.zeros(num_classes))
    priors = tf.fill([num_classes], 1.0 / num_classes)
    _forget_peak()  # the arrays were copied on their way to TensorFlow
    before = _peak_kilobytes()

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(features)
            if part == "dense softmax":
                logits = tf.matmul(features, centers, transpose_b=True) + bias
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            else:
                distances = regions.squared_distances(features, centers)
                loss = losses.margin_cross_entropy(labels, distances, priors, tf.constant(1.0))
                if part == "samples and centres":
                    loss += losses.center_cross_entropy(centers, tf.constant(1.0))
        by_features, by_centers = tape.gradient(loss, [features, centers])
        centers.assign_sub(0.01 * by_centers)
        return tf.reduce_sum(by_features)

    result = take_turns({"step": lambda: step().numpy()}, repeats)["step"]
    result["peak_megabytes"] = round((_peak_kilobytes() - before) / 1024)
    print(json.dumps(result))


def start_up(repeats, steps):
    """Importing the package, and from the start of a process to its first training step, each in new processes."""
    first_step = """
        import keras, numpy as np
        import arconvl_tf as arc
        model = arc.ARConvL(arc.backbones.simple_cnn((28, 28, 1)), [1] * 10)
        model.compile(keras.optimizers.SGD(0.1))
        model.train_on_batch(np.zeros((128, 28, 28, 1), "float32"), np.arange(128) % 10)
    """
    return take_turns(
        {
            "import arconvl_tf": lambda: _in_new_process("import arconvl_tf"),
            "first step": lambda: _in_new_process(first_step),
            "arconvl --help": lambda: _in_new_process(
                "import sys; sys.argv = ['arconvl', '--help']; from arconvl_tf.cli import main; main()"
            ),
        },
        repeats,
    )


def parallel_runs(repeats, steps):
    """Steps of the MNIST network: one process with all threads, or one single-threaded process for every core."""
    cores = hardware.usable_cores()
    work = f"from arconvl_tf import benchmark; benchmark.print_steps({{}}, {repeats}, {steps})"
    together = json.loads(_in_new_process(work.format(cores)))
    apart = [_start_process(work.format(1)) for _ in range(cores)]
    alone = [json.loads(_output(process)) for process in apart]
    steps_a_second = {
        f"one process, {cores} threads": 1 / together["median"],
        f"{cores} processes, one thread each": sum(1 / result["median"] for result in alone),
    }
    return {name: {"steps_a_second": round(value, 2)} for name, value in steps_a_second.items()}


def print_steps(threads, repeats, steps):
    """Measures the MNIST network's step with a number of threads and prints JSON; see `parallel_runs`."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    build, shape = NETWORKS["MNIST network"]
    with hardware.precision(hardware.default_precision()):
        model = arconvl_model(build())
    print(json.dumps(take_turns({"step": _fit(model, _random_dataset(shape, steps))}, repeats, per=steps)["step"]))


SECTIONS = {
    "training_step": training_step,
    "against_cross_entropy": against_cross_entropy,
    "input_pipeline": input_pipeline,
    "picture_folder": picture_folder,
    "evaluation": evaluation,
    "region_head": region_head,
    "start_up": start_up,
    "parallel_runs": parallel_runs,
}


# ------------------------------------------------------------------------------------------------------------- helpers


def _random_dataset(shape, steps):
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(0, 255, (BATCH_SIZE * steps, *shape)), tf.float32)
    labels = tf.constant(rng.integers(0, len(CLASS_COUNTS), BATCH_SIZE * steps))
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH_SIZE).cache().prefetch(2)
    return without_autotuning(dataset)


def _fit(model, dataset):
    return lambda: model.fit(dataset, verbose=0, shuffle=False)


def _peak_kilobytes():
    """Of this process; `getrusage` would begin with the memory of the process that started it."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0])
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # macOS, in bytes there


def _forget_peak():
    """Lets the peak begin anew at the memory in use now, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")


def _start_process(script):
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _output(process):
    output, _ = process.communicate()
    if process.returncode:
        raise OSError(f"A process of the benchmark ended with status {process.returncode}")
    return output


def _in_new_process(script):
    return _output(_start_process(script))
