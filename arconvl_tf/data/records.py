"""Pictures inside TFRecord files, read one by one through an index: a data set larger than the memory."""

import contextlib
import functools
import hashlib
import os
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from arconvl_tf.data.cache import cache_folder
from arconvl_tf.data.images import Reading
from arconvl_tf.data.pipeline import without_autotuning
from arconvl_tf.data.sides import PARALLEL_CALLS, Side

# A TFRecord is framed by its length (8 bytes) and a checksum (4) before it, and a checksum (4) after it.
HEADER_BYTES, FRAME_BYTES = 12, 16
INDEX_BATCH = 32


class RecordIndex(NamedTuple):
    """Where n records lie, and what their small features say.

    `files`: list of file names; `file_numbers`, `offsets`, `lengths`: integers (n,), of the record in its file;
    `features`: {name: int64 array (n,)}.
    """

    files: list[str]
    file_numbers: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    features: dict[str, np.ndarray]


def index_records(files: Sequence[str], feature_names: Sequence[str]) -> RecordIndex:
    """Where every record lies, and the values of its small features.

    The first call reads every file from end to end, which takes as long as the disk needs for that. The index, 24 bytes
    a record and 8 for each feature, is kept in the user's cache folder (`XDG_CACHE_HOME`, or `~/.cache`) under
    `arconvl_tf` for as long as the files keep their names, sizes and dates.

    Args:
        files: names of TFRecord files of `tf.train.Example`s, in order.
        feature_names: names of integer features.

    Returns:
        `RecordIndex`, in the files' order.

    Raises:
        tf.errors.OpError: if a file isn't there or isn't whole.
    """
    columns = dict(_columns(_cache_path(files, feature_names), tuple(files), tuple(feature_names)))
    where = [columns.pop(name) for name in ("file_numbers", "offsets", "lengths")]
    return RecordIndex(list(files), *where, features=columns)


@functools.lru_cache(maxsize=4)  # TensorFlow never lets go of what a `numpy_function` has seen: all sides share it
def _columns(cache, files, feature_names):
    try:
        return dict(np.load(cache))
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):
        columns = _read_columns(files, feature_names)
    with contextlib.suppress(OSError):  # a cache folder that can't be written costs time, no more
        cache.parent.mkdir(parents=True, exist_ok=True)
        unfinished = cache.with_suffix(f".{os.getpid()}.npz")
        np.savez(unfinished, **columns)
        unfinished.replace(cache)
    return columns


def _cache_path(files, feature_names):
    found = [tf.io.gfile.stat(file) for file in files]
    described = [(file, status.length, status.mtime_nsec) for file, status in zip(files, found)]
    key = hashlib.blake2b(repr((described, feature_names)).encode(), digest_size=16).hexdigest()
    return cache_folder() / f"{key}.npz"


def _read_columns(files, feature_names):
    specification = {name: tf.io.FixedLenFeature([], tf.int64) for name in feature_names}

    def describe(number, records):
        lengths = tf.cast(tf.strings.length(records), tf.int64)
        return {"file_numbers": number + 0 * lengths, "lengths": lengths, **tf.io.parse_example(records, specification)}

    numbered = tf.data.Dataset.from_tensor_slices((np.arange(len(files)), list(files)))
    batches = numbered.flat_map(
        lambda number, file: tf.data.TFRecordDataset(file).batch(INDEX_BATCH).map(lambda records: (number, records))
    ).map(describe, num_parallel_calls=PARALLEL_CALLS, deterministic=True)
    described = list(without_autotuning(batches.prefetch(2)).as_numpy_iterator())
    columns = {name: np.concatenate([batch[name] for batch in described]) for name in described[0]}
    ends = np.cumsum(columns["lengths"] + FRAME_BYTES)
    # Offsets count from the start of each file.
    first = np.searchsorted(columns["file_numbers"], columns["file_numbers"])
    starts = np.concatenate([[0], ends])
    return {**columns, "offsets": starts[:-1] - starts[first] + HEADER_BYTES}


def record_side(index: RecordIndex, chosen: np.ndarray, labels: np.ndarray, image_shape: tuple[int, int, int]) -> Side:
    """A `Side` of the chosen records; pictures are read, decoded and resized when they are asked for.

    Args:
        index: `RecordIndex`.
        chosen: record numbers, shape (m,); a record may stand there more than once.
        labels: classes of the chosen, shape (m,).
        image_shape: (height, width, channels).
    """

    reading = Reading(image_shape)

    def read(positions):
        records = [tf.train.Example.FromString(_read_record(index, chosen[position])) for position in positions]
        pictures = [reading.decode(record.features.feature["image"].bytes_list.value[0]) for record in records]
        return np.array(pictures, "uint8").reshape(-1, *image_shape)

    def fetch(positions):
        # TensorFlow can't read a part of a file by its offset.
        return tf.ensure_shape(tf.numpy_function(read, [positions], tf.uint8, stateful=False), (None, *image_shape))

    return Side(fetch, labels)


def _read_record(index, number):
    with tf.io.gfile.GFile(index.files[index.file_numbers[number]], "rb") as file:
        file.seek(int(index.offsets[number]))
        return file.read(int(index.lengths[number]))
