"""Pictures inside TFRecord files, read one by one through an index: a data set larger than the memory."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from arconvl_tf.data import images
from arconvl_tf.data.pipeline import Side

# A TFRecord is framed by its length (8 bytes) and a checksum (4) before it, and a checksum (4) after it.
HEADER_BYTES, FRAME_BYTES = 12, 16
INDEX_BATCH = 256


class RecordIndex(NamedTuple):
    """Where n records lie, and what their small features say.

    `files`: list of file names; `file_numbers`, `offsets`, `lengths`: integers (n,), of the record in its file;
    `features`: {name: int64 array (n,)}.
    """

    files: list
    file_numbers: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    features: dict


def index_records(files, feature_names):
    """Reads every file once and keeps 32 bytes of each record, and 8 of each of its named features.

    Args:
        files: names of TFRecord files of `tf.train.Example`s, in order.
        feature_names: names of integer features.

    Returns:
        `RecordIndex`, in the files' order.
    """
    specification = {name: tf.io.FixedLenFeature([], tf.int64) for name in feature_names}

    def describe(records):
        return tf.strings.length(records), tf.io.parse_example(records, specification)

    parts = []
    for number, file in enumerate(files):
        records = tf.data.TFRecordDataset(file).batch(INDEX_BATCH).map(describe, num_parallel_calls=2)
        described = list(records.as_numpy_iterator())
        if not described:
            continue
        lengths = np.concatenate([lengths for lengths, _ in described]).astype("int64")
        ends = np.cumsum(lengths + FRAME_BYTES)
        features = {name: np.concatenate([values[name] for _, values in described]) for name in feature_names}
        parts.append((np.full(len(lengths), number), ends - FRAME_BYTES - lengths + HEADER_BYTES, lengths, features))
    numbers, offsets, lengths, features = zip(*parts)
    features = {name: np.concatenate([part[name] for part in features]) for name in feature_names}
    return RecordIndex(list(files), np.concatenate(numbers), np.concatenate(offsets), np.concatenate(lengths), features)


def record_side(index, chosen, labels, image_shape, image_feature="image"):
    """A `Side` of the chosen records; pictures are read, decoded and resized when they are asked for.

    Args:
        index: `RecordIndex`.
        chosen: record numbers, shape (m,); a record may stand there more than once.
        labels: classes of the chosen, shape (m,).
        image_shape: (height, width, channels).
        image_feature: name of the feature that holds an encoded picture.
    """
    specification = {image_feature: tf.io.FixedLenFeature([], tf.string)}

    def read(positions):
        return np.array([_read_record(index, chosen[position]) for position in positions], dtype=object)

    def fetch(positions):
        # TensorFlow can't read a part of a file by its offset; decoding, which takes the time, is TensorFlow's again.
        records = tf.ensure_shape(tf.numpy_function(read, [positions], tf.string, stateful=False), [None])
        encoded = tf.io.parse_example(records, specification)[image_feature]
        decoded = tf.TensorSpec(image_shape, tf.uint8)
        return tf.map_fn(lambda picture: images.decode(picture, image_shape), encoded, fn_output_signature=decoded)

    return Side(fetch, labels)


def _read_record(index, number):
    with tf.io.gfile.GFile(index.files[index.file_numbers[number]], "rb") as file:
        file.seek(int(index.offsets[number]))
        return file.read(int(index.lengths[number]))
