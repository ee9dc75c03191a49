"""Picture files as a data set: decoded as they are needed, so that it may be larger than the memory."""

import dataclasses
import multiprocessing.pool
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from arconvl_tf.data import images
from arconvl_tf.data.duplicates import joined, near_duplicates, picture_hashes
from arconvl_tf.data.listings import Listing
from arconvl_tf.data.options import DataOptions
from arconvl_tf.data.sides import PARALLEL_CALLS, Side, Sides

DEFAULT_SIZE = 64
MAX_OWN_SIZE = 256
HASHED_SIZE = 64


def sides_of_files(
    listing: Listing, options: DataOptions, default_size: int | None = None, progress: Callable | None = None
) -> Sides:
    """Turns a `Listing` of picture files into `Sides`.

    Every file is decoded once at the start, so that a broken one is reported before training begins. Afterwards only
    the list of paths stays in memory.

    Args:
        listing: see `listings.list_folder` and `listings.list_csv`.
        options: how pictures are read, and which stay together.
        default_size: of pictures whose size nobody chose; by default their own if all are alike and no side is longer than
            256, else 64.
        progress: called with the pictures looked at so far, and all that there are.

    Returns:
        `Sides`. Pictures are grey if all of them are.

    Raises:
        ValueError: on unreadable files, or a side or class that holds none but those.
    """
    examined = _examined(listing, progress)
    unreadable = {path: why for side in examined.values() for path, why in side.unreadable.items()}
    if unreadable and not options.skip_corrupt:
        advice = "Remove them, or leave them out with skip_corrupt (--skip-corrupt)"
        raise ValueError(f"{images.complaint(unreadable)}. {advice}")
    shapes = [shape for side in examined.values() for shape in side.shapes]
    reading = images.Reading(
        _common_shape(shapes, options.image_size, default_size),
        fit=options.fit,
        background=options.background,
        full_scale=images.full_scale_of(max(side.largest_deep for side in examined.values())),
    )
    sides = {side: _side(listing, side, examined[side], reading) for side in examined}
    for name, side in sides.items():
        if not len(side.labels):
            raise ValueError(f"Expected pictures in {name}. Received: none")
    missing = np.setdiff1d(np.arange(len(listing.class_names)), sides["train"].labels)
    if len(missing):
        raise ValueError(f"Expected readable pictures of every class. Received: none of {listing.class_names[missing[0]]}")
    found = Sides(
        **sides,
        image_shape=reading.image_shape,
        class_names=listing.class_names,
        reading=reading,
        remarks=_remarks(examined, unreadable),
    )
    return _kept_together(with_lookalikes(found)) if options.keep_duplicates_together else found


def with_lookalikes(sides: Sides) -> Sides:
    """Sides of picture files with `lookalikes`, near-duplicates being numbered over all sides; it decodes every file."""
    given, reading = sides.given(), sides.reading
    small = images.Reading((HASHED_SIZE, HASHED_SIZE, 1), reading.fit, reading.background, reading.full_scale)
    with multiprocessing.pool.ThreadPool(PARALLEL_CALLS) as pool:
        pictures = pool.imap(small.read, np.concatenate([side.names for side in given.values()]), chunksize=16)
        lookalikes = near_duplicates(picture_hashes(pictures))
    return _told_apart(sides, "lookalikes", lookalikes)


def _kept_together(sides):
    """Near-duplicates become one group, and so do groups that they connect, on whichever side."""
    given = sides.given()
    lookalikes = np.concatenate([side.lookalikes for side in given.values()])
    groups = lookalikes
    if sides.train.groups is not None:
        groups = joined(np.concatenate([side.groups for side in given.values()]), lookalikes)
    sizes = np.unique(groups, return_counts=True)[1]
    together = sizes[sizes > 1].sum()
    remark = f"{together} of {len(groups)} pictures stay together with others; the largest group is of {sizes.max()}."
    return _told_apart(dataclasses.replace(sides, remarks=(*sides.remarks, remark)), "groups", groups)


def _told_apart(sides, field, values):
    """Values of the samples of all sides, one side after the other, as a field of each side's own."""
    given = sides.given()
    ends = np.cumsum([len(side.labels) for side in given.values()])[:-1]
    parts = zip(given.items(), np.split(values, ends))
    return dataclasses.replace(sides, **{name: side._replace(**{field: own}) for (name, side), own in parts})


def _common_shape(shapes, image_size, default_size):
    channels = 1 if shapes and all(shape[-1] == 1 for shape in shapes) else 3
    size = image_size or default_size
    if size is not None:
        return (size, size, channels)
    sizes = {shape[:2] for shape in shapes}
    alike = len(sizes) == 1 and max(min(sizes)) <= MAX_OWN_SIZE
    return (*sizes.pop(), channels) if alike else (DEFAULT_SIZE, DEFAULT_SIZE, channels)


def _examined(listing, progress):
    total, done = sum(len(paths) for paths, _ in listing.sides.values()), 0
    examined = {}
    for side, (paths, _) in listing.sides.items():
        tell = None if progress is None else lambda count, before=done: progress(before + count, total)
        examined[side] = images.examine(paths, PARALLEL_CALLS, tell)
        done += len(paths)
    return examined


def _side(listing, side, examined, reading):
    paths, labels = listing.sides[side]
    readable = np.array([index for index, path in enumerate(paths) if path not in examined.unreadable], dtype="int64")
    kept, groups = examined.paths, listing.groups[side]

    def read(indices):
        return np.array([reading.read(kept[index]) for index in indices], "uint8").reshape(-1, *reading.image_shape)

    def fetch(indices):
        pixels = tf.numpy_function(read, [indices], tf.uint8, stateful=False)
        return tf.ensure_shape(pixels, (None, *reading.image_shape))

    return Side(
        fetch,
        np.asarray(labels, "int64")[readable],
        groups=None if groups is None else np.asarray(groups)[readable],
        names=np.array([str(path) for path in kept]),
        digests=examined.digests,
    )


def _remarks(examined, unreadable):
    animations = sum(side.animations for side in examined.values())
    remarks = [f"Left out: {len(unreadable)} files that can't be read."] if unreadable else []
    if animations:
        remarks.append(f"Of {animations} animations or files of several pages the first picture is taken.")
    return tuple(remarks)
