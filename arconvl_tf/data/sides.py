"""What a data set holds before anything is drawn from it: sides of samples that are fetched by number."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from arconvl_tf import hardware
from arconvl_tf.data.images import Reading

# tf.data runs on the processor: what it reads must not lie in the memory of a GPU.
PIPELINE_DEVICE = "CPU:0"
# Batches (or pictures) at work at a time, each of which takes its memory; their order doesn't depend on it.
PARALLEL_CALLS = min(hardware.usable_cores(), 8)


class Side(NamedTuple):
    """One side of a data set.

    `fetch` turns indices (m,) into images (m, …); `labels` (n,) are all. `draw(indices, seed)` is what training sees in
    place of an augmented `fetch`, where the views of a picture are at hand already. `groups` (n,) are names of what must
    stay together, `names` (n,) the samples' own, `digests` (n, 16) bytes that tell contents apart, `lookalikes` (n,)
    numbers that near-duplicates share; each `None` where unknown.
    """

    fetch: Callable
    labels: np.ndarray
    draw: Callable | None = None
    groups: np.ndarray | None = None
    names: np.ndarray | None = None
    digests: np.ndarray | None = None
    lookalikes: np.ndarray | None = None

    def part(self, indices: np.ndarray) -> "Side":
        """The samples at the given indices, in that order."""
        with tf.device(PIPELINE_DEVICE):
            chosen = tf.constant(indices, tf.int64)
        about = {name: getattr(self, name) for name in ("groups", "names", "digests", "lookalikes")}
        about = {name: None if values is None else values[indices] for name, values in about.items()}
        draw = None if self.draw is None else lambda positions, seed: self.draw(tf.gather(chosen, positions), seed)
        return Side(lambda positions: self.fetch(tf.gather(chosen, positions)), self.labels[indices], draw, **about)


@dataclasses.dataclass(frozen=True, eq=False)
class Sides:
    """A data set.

    Attributes:
        train: what is trained on, and divided where a side is missing.
        test, validation: sides of their own, or `None`.
        image_shape: of one sample: (height, width, channels), or (d,) of feature vectors.
        class_names: k names.
        reading: how pictures become `image_shape`; `None` where they have it already.
        remarks: what the user should know of these data, a line each.
    """

    train: Side
    image_shape: tuple
    class_names: Sequence[str]
    test: Side | None = None
    validation: Side | None = None
    reading: Reading | None = None
    remarks: tuple[str, ...] = ()

    def given(self) -> dict[str, Side]:
        """The sides that there are, by name."""
        sides = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: side for name, side in sides.items() if side is not None}

    def mapped(self, change: Callable[[Side], Side], image_shape: tuple) -> "Sides":
        """Every side changed, its samples then being of another shape."""
        changed = {name: change(side) for name, side in self.given().items()}
        return dataclasses.replace(self, image_shape=image_shape, **changed)


def side_in_memory(images: np.ndarray, labels: np.ndarray, **about) -> Side:
    """A side of arrays: images (n, …), labels (n,)."""
    with tf.device(PIPELINE_DEVICE):
        pixels = tf.constant(images)
    return Side(lambda indices: tf.gather(pixels, indices), labels.astype("int64"), **about)
