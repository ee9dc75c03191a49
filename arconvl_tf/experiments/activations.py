"""What a pretrained network's lower part makes of pictures: computed once for each picture and view, and kept on disk."""

import contextlib
import hashlib
import json
import os
import pathlib
import uuid
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf.data.cache import cache_folder
from arconvl_tf.data.pipeline import without_autotuning
from arconvl_tf.data.sides import Side

BATCH_SIZE = 32
SHARD_BATCHES = 8  # batches whose rows go into one file; an interrupted pass loses at most these
LARGEST = float(np.finfo("float16").max)
# The first one is what a model is tested on.
MIRRORS = (
    lambda images: images,
    lambda images: images[:, :, ::-1],
    lambda images: images[:, ::-1],
    lambda images: images[:, ::-1, ::-1],
)


class ActivationStore:
    """Rows of half-precision numbers on disk, found by the digest of what they were computed from.

    Files are written beside their place and renamed, each with a name of its own: an interrupted pass goes on where it was,
    and processes may share a folder.

    Args:
        folder: where the files lie; created when the first rows come.
    """

    @classmethod
    def of(cls, lower: keras.Model, views: int, about: str) -> "ActivationStore":
        """That of a network's lower part, in the user's cache folder, under a name made of all that its rows depend on.

        Args:
            lower: the network's lower part.
            views: how many views of a picture a row holds.
            about: what else there is: the network's name, where it is cut, how a file becomes a picture.
        """
        digest = hashlib.blake2b(digest_size=16)
        digest.update(json.dumps([views, about, lower.input_shape, lower.output_shape]).encode())
        for weight in lower.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
        return cls(cache_folder() / "activations" / digest.hexdigest())

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)
        self._shards, self._places = [], {}
        for path in sorted(self.folder.glob("*.keys.npy")):
            with contextlib.suppress(OSError, ValueError, EOFError):  # damaged: computed again
                self._open(path)

    def _open(self, path):
        keys = np.load(path)
        rows = np.load(str(path).replace(".keys.npy", ".rows.npy"), mmap_mode="r")
        if len(rows) != len(keys):
            raise ValueError(f"Expected a row for each key. Received: {len(rows)} rows in {path}")
        self._places |= {key.tobytes(): (len(self._shards), row) for row, key in enumerate(keys)}
        self._shards.append(rows)

    def missing(self, digests: np.ndarray) -> np.ndarray:
        """Indices of the digests (n, 16) without a row, of equal ones the first."""
        _, first = np.unique(digests, axis=0, return_index=True)
        return np.array([index for index in sorted(first) if digests[index].tobytes() not in self._places], dtype="int64")

    def add(self, digests: np.ndarray, rows: np.ndarray) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        # Keys come last: rows without them are not looked at.
        for kind, values in (("rows", rows), ("keys", digests)):
            unfinished = self.folder / f"unfinished-{name}.npy"
            np.save(unfinished, values)
            os.replace(unfinished, self.folder / f"{name}.{kind}.npy")
        self._open(self.folder / f"{name}.keys.npy")

    def reader(self, digests: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """A function of indices into `digests` (n, 16) that returns their rows."""
        places = [self._places[digest.tobytes()] for digest in digests]
        return lambda indices: np.stack([self._shards[shard][row] for shard, row in (places[index] for index in indices)])


def cached_activations(
    store: ActivationStore,
    lower: keras.Model,
    side: Side,
    views: int,
    progress: Callable[[int, int], None] | None = None,
) -> Side:
    """A side of a network's activations in place of pictures.

    Args:
        store: of this lower part and as many views.
        lower: the network's lower part, pictures (n, height, width, channels) → activations (n, …).
        side: of pictures, with `digests`.
        views: how many of the `MIRRORS` training draws from; `fetch` gives the first, the picture as it is.
        progress: called with the pictures done and all that are to be done.

    Returns:
        `Side`, whose rows lie in the store.
    """
    missing = store.missing(side.digests)
    todo = side.part(missing)
    batches = tf.data.Dataset.range(len(missing)).batch(BATCH_SIZE)
    batches = without_autotuning(batches.map(lambda indices: (indices, todo.fetch(indices))).prefetch(2))
    rows, start = [], 0
    for indices, images in batches:
        rows.append(_rows(lower, tf.cast(images, tf.float32), views))
        done = int(indices[-1]) + 1
        if len(rows) == SHARD_BATCHES or done == len(missing):
            store.add(todo.digests[start:done], np.concatenate(rows))
            rows, start = [], done
        if progress is not None:
            progress(done, len(missing))
    read = store.reader(side.digests)
    shape = lower.output_shape[1:]

    def views_of(indices):
        return tf.ensure_shape(tf.numpy_function(read, [indices], tf.float16, stateful=False), (None, views, *shape))

    def draw(indices, seed):
        chosen = tf.random.stateless_uniform([tf.size(indices)], seed, 0, views, tf.int32)
        return tf.gather(views_of(indices), chosen, axis=1, batch_dims=1)

    return side._replace(fetch=lambda indices: views_of(indices)[:, 0], draw=draw)


def _rows(lower, images, views):
    seen = [lower.predict_on_batch(mirror(images)) for mirror in MIRRORS[:views]]
    return np.clip(np.stack(seen, axis=1), -LARGEST, LARGEST).astype("float16")
