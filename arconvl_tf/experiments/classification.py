"""Classifies picture files, or feature vectors, with the model of a finished run."""

import collections
import itertools
import multiprocessing.pool
import os
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from arconvl_tf.data.finding import find_images
from arconvl_tf.data.images import Reading
from arconvl_tf.data.pipeline import evaluation_batch_size
from arconvl_tf.data.sides import PARALLEL_CALLS
from arconvl_tf.experiments.run_directory import RunDirectory


def classify(
    directory: RunDirectory, paths: Iterable[str | os.PathLike], probabilities: bool = False
) -> tuple[Iterator[dict], dict]:
    """Classifies picture files with the model of a run; where that takes feature vectors, those of an archive.

    Pictures are read as those were that the model was trained on, some at a time: however many there are, few are in memory.

    Args:
        directory: of a finished run.
        paths: pictures, folders of them or patterns, see `finding.find_images`. For vectors one `.npz` file with `x` (n, d)
            and, if you like, `names` (n,).
        probabilities: whether to give those of all classes.

    Returns:
        (rows, unreadable). Rows come as they are asked for, a dict a picture with `image` (its path; of vectors `sample`,
        name or number), `class` (name), `probability` (`softmax` of the logits), `distance` (to the class's centre, a
        length; `None` of a linear head), `inside_region` (`None` where the method learns no regions; no test of belonging,
        many samples of a class lie outside its region) and, if asked for, `p_CLASS` of every class. `unreadable`,
        {path: why}, is complete when all rows have been asked for.

    Raises:
        ValueError: if the run isn't finished, a path does not exist, a folder holds no picture, or a file no such vectors.
    """
    model = directory.model()
    metrics = directory.metrics()
    class_names = model.class_names or metrics["class_names"]
    input_shape = model.backbone.input_shape[1:]
    unreadable = {}
    if len(input_shape) == 1:
        samples, column = zip(*_read_vectors(paths, *input_shape)), "sample"
    else:
        reading = Reading.from_dict(metrics["reading"]) if metrics.get("reading") else Reading(input_shape)
        samples, column = _pictures(find_images(paths), reading, unreadable, evaluation_batch_size(input_shape)), "image"
    return _rows(model, class_names, samples, column, probabilities), unreadable


def _pictures(files, reading, unreadable, most):
    """(path, pixels) of the readable ones, in order; `most` are decoded while the model is at work on those before."""

    def read(file):
        try:
            return reading.read(file)
        except ValueError as error:
            return str(error.__cause__)

    with multiprocessing.pool.ThreadPool(PARALLEL_CALLS) as pool:
        ahead, remaining = collections.deque(), iter(files)
        # A pool's own `imap` would decode all of them at once, and keep what nobody has asked for yet.
        while True:
            started = itertools.islice(remaining, most - len(ahead))
            ahead.extend((file, pool.apply_async(read, [file])) for file in started)
            if not ahead:
                return
            file, result = ahead.popleft()
            if isinstance(pixels := result.get(), str):
                unreadable[file] = pixels
            else:
                yield file, pixels


def _read_vectors(paths, width):
    """(names or numbers, x) of one archive."""
    expected = f"Expected one .npz file with x (n, {width}), finite numbers, and if you like names (n,)"
    paths = [pathlib.Path(path) for path in paths]
    if len(paths) != 1:
        raise ValueError(f"{expected}. Received: {len(paths)} paths")
    try:
        with np.load(paths[0], allow_pickle=False) as arrays:
            x, names = arrays["x"], arrays.get("names")
    except FileNotFoundError:
        raise
    except Exception as error:  # NumPy's reader and the decompressors below it each have errors of their own
        reason = str(error).partition(". ")[0]  # what NumPy advises next is to load it unsafely
        raise ValueError(f"{expected}. Received: {paths[0]} ({reason})") from error
    if x.ndim != 2 or x.shape[1] != width or x.dtype.kind not in "fiub":
        raise ValueError(f"{expected}. Received: {paths[0]}, whose x is {x.dtype} of shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{expected}. Received: {paths[0]}, which holds NaN or infinity")
    # As many names as classes may be meant for those.
    return (range(len(x)) if names is None or names.shape != (len(x),) else names), x


def _rows(model, class_names, samples, column, probabilities):
    size = evaluation_batch_size(model.backbone.input_shape[1:])
    learns_radii = model.objective.learns_radii
    radii = model.class_regions.radii.numpy()
    samples = iter(samples)
    while batch := list(itertools.islice(samples, size)):
        names, inputs = zip(*batch)
        logits = model.predict_on_batch(tf.cast(np.stack(inputs), tf.float32))
        shares = tf.nn.softmax(logits).numpy()
        for name, own, share in zip(names, logits, shares):
            label = int(own.argmax())
            distance = None if model.head == "linear" else float(np.sqrt(max(0.0, -own[label])))
            yield {
                column: str(name),
                "class": class_names[label],
                "probability": round(float(share[label]), 6),
                "distance": None if distance is None else round(distance, 6),
                "inside_region": distance <= float(radii[label]) if learns_radii else None,
            } | {f"p_{each}": round(float(value), 6) for each, value in zip(class_names, share) if probabilities}
