"""Tests that need a folder of their own."""

import pathlib
import tempfile

import tensorflow as tf


class FolderTestCase(tf.test.TestCase):
    """`root` is an empty folder, gone after each test."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def write(self, name, contents):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)
        return path
