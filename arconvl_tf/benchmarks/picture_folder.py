"""A folder of JPEG files of 64×64 pixels: finding and checking them, then one pass, each size in a new process."""

import pathlib
import tempfile
import time

import numpy as np
import tensorflow as tf

from arconvl_tf.benchmarks.processes import measured, peak_megabytes, start_measuring
from arconvl_tf.data import load_data, make_splits

FOLDER_SIZES = (5_000, 50_000)


def measure(repeats, steps):
    """Each folder once, whatever the repeats: a second pass would find the files in the system's memory."""
    results = {}
    for count in FOLDER_SIZES:
        with tempfile.TemporaryDirectory() as folder:
            write_pictures(pathlib.Path(folder), count)
            process = start_measuring("from arconvl_tf.benchmarks.picture_folder import measure_folder as measure", folder)
            results[f"{count} pictures"] = measured(process)
    return results


def measure_folder(folder):
    """Files and pictures a second; the megabytes by which the process has grown after loading, and after a pass."""
    small = np.zeros((9, 64, 64, 3), "uint8"), np.arange(9) % 3
    list(make_splits(small, small).train)  # so that what TensorFlow needs anyway is not counted
    marks = [(time.perf_counter(), peak_megabytes())]
    splits = load_data(folder)
    marks.append((time.perf_counter(), peak_megabytes()))
    for _ in splits.train:
        pass
    marks.append((time.perf_counter(), peak_megabytes()))
    (started, before), (loaded, after_loading), (ended, after_pass) = marks
    return {
        "files_checked_a_second": sum(int(counts.sum()) for counts in splits.split_counts.values()) / (loaded - started),
        "pictures_a_second": int(splits.split_counts["train"].sum()) / (ended - loaded),
        "megabytes_to_load": round(after_loading - before),
        "megabytes_with_a_pass": round(after_pass - before),
    }


def write_pictures(folder, count, distinct=500):
    """Smooth random pictures in three classes."""
    coarse = tf.constant(np.random.default_rng(0).integers(0, 256, (distinct, 8, 8, 3)), tf.float32)
    pixels = tf.cast(tf.clip_by_value(tf.image.resize(coarse, (64, 64), "bicubic"), 0, 255), tf.uint8)
    encoded = [tf.io.encode_jpeg(picture).numpy() for picture in pixels]
    for number in range(count):
        path = folder / f"class {number % 3}" / f"{number:06}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded[number % distinct])
