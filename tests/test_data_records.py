import os
import pathlib
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf

from arconvl_tf.data import records


def example(number, size):
    """A record of known label and of a length that its picture decides."""
    pixels = tf.fill([size, size, 1], tf.constant(number, tf.uint8))
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[tf.io.encode_png(pixels).numpy()])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number % 7])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


class RecordsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        sizes = np.random.default_rng(0).integers(1, 40, 30)
        self.written = [example(number, int(size)) for number, size in enumerate(sizes)]
        self.files = [str(pathlib.Path(folder.name) / f"{number}.tfrecord") for number in range(3)]
        for file, part in zip(self.files, (self.written[:11], [], self.written[11:])):
            with tf.io.TFRecordWriter(file) as writer:
                for record in part:
                    writer.write(record)
        cache = mock.patch.dict(os.environ, XDG_CACHE_HOME=folder.name)
        cache.start()
        self.addCleanup(cache.stop)
        self.cache = pathlib.Path(folder.name) / "arconvl_tf"
        records._columns.cache_clear()
        self.index = records.index_records(self.files, ["label"])

    def test_the_index_finds_every_record(self):
        self.assertAllEqual(self.index.features["label"], np.arange(30) % 7)
        self.assertAllEqual(self.index.file_numbers, [0] * 11 + [2] * 19)
        for number, written in enumerate(self.written):
            self.assertEqual(records._read_record(self.index, number), written)

    def test_the_index_is_kept_until_the_files_change(self):
        (kept,) = self.cache.iterdir()
        records._columns.cache_clear()
        with mock.patch.object(records, "_read_columns", side_effect=AssertionError("read again")):
            again = records.index_records(self.files, ["label"])
            self.assertAllEqual(again.offsets, self.index.offsets)
            self.assertAllEqual(again.features["label"], self.index.features["label"])
        for contents in (b"broken off", b""):
            kept.write_bytes(contents)
            records._columns.cache_clear()
            self.assertAllEqual(records.index_records(self.files, ["label"]).lengths, self.index.lengths)
        with tf.io.TFRecordWriter(self.files[1]) as writer:
            writer.write(self.written[0])
        self.assertLen(records.index_records(self.files, ["label"]).offsets, 31)

    def test_a_cache_that_cannot_be_written_is_done_without(self):
        records._columns.cache_clear()
        with mock.patch.dict(os.environ, XDG_CACHE_HOME=self.files[0]):
            self.assertAllEqual(records.index_records(self.files, ["label"]).offsets, self.index.offsets)
            records._columns.cache_clear()
            del os.environ["XDG_CACHE_HOME"]
            with mock.patch.object(pathlib.Path, "home", side_effect=RuntimeError("no home")):
                self.assertAllEqual(records.index_records(self.files, ["label"]).offsets, self.index.offsets)

    def test_indices_of_one_data_set_share_their_arrays(self):
        self.assertIs(records.index_records(self.files, ["label"]).offsets, self.index.offsets)

    def test_pictures_are_fetched_in_any_order(self):
        chosen = np.array([4, 17, 4, 29, 0])
        side = records.record_side(self.index, chosen, chosen % 7, image_shape=(6, 6, 1))
        fetched = tf.function(side.fetch)(tf.constant([3, 0, 1, 2, 4], tf.int64))
        self.assertAllEqual(fetched, np.full((6, 6, 1), 1) * np.array([29, 4, 17, 4, 0])[:, None, None, None])
