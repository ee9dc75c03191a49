"""Feature vectors instead of pictures: one NumPy archive, or arrays."""

import os
import zipfile
from typing import NamedTuple

import numpy as np

from arconvl_tf.data.listings import SIDES

KEYS = ("x", "y", "split", "group", "names", "class_names")
# Compressed by more than this to more than that, an archive is taken for a trap, which would fill the memory.
SUSPICIOUS_RATIO, SUSPICIOUS_BYTES = 100, 2**30


class Vectors(NamedTuple):
    """A set of feature vectors.

    `x` float32 (n, d); `labels` int64 (n,) in 0..k−1; `class_names`: k names; `sides`: {"train", and where given
    "validation" and "test": sorted indices into `x`}; `groups` and `names`: text (n,), or `None`.
    """

    x: np.ndarray
    labels: np.ndarray
    class_names: list[str]
    sides: dict[str, np.ndarray]
    groups: np.ndarray | None = None
    names: np.ndarray | None = None


def read_vectors(path: str | os.PathLike) -> Vectors:
    """Reads a `.npz` file, as `np.savez` and `np.savez_compressed` write it.

    Its arrays are `x` (n, d), real numbers; `y` (n,), integers or words, whose classes are in numeric or alphabetical order;
    and optionally `class_names` (k,), beside which `y` is in 0..k−1; `split` (n,) as `train` (also where it is empty),
    `validation` or `test`; `group` (n,), numbers or words, of samples that belong together; `names` (n,), what a sample is
    called. As many `names` as there are classes, and not as many as samples, are taken for `class_names`. Other arrays are
    not looked at, and nothing pickled is loaded.

    Returns:
        `Vectors`.

    Raises:
        ValueError: on a file that is no such archive, arrays of other shapes or types, NaN or infinity, fewer than two
            classes, or a class without a training vector.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/birds.npz", x=np.eye(3), y=["owl", "hen", "owl"], split=["train", "train", "test"])
        ...     vectors = read_vectors(f"{folder}/birds.npz")
        >>> vectors.class_names, vectors.labels.tolist(), vectors.sides["test"].tolist()
        (['hen', 'owl'], [1, 0, 1], [2])
    """
    arrays = _load(path)
    absent = [key for key in ("x", "y") if key not in arrays]
    if absent:
        raise ValueError(
            f"Expected the arrays x and y in {path}. Received: {', '.join(arrays) or 'none known'}. "
            "Write them with np.savez(path, x=…, y=…)"
        )
    x, y = checked_vectors(arrays["x"], arrays["y"], os.fspath(path))
    columns = {key: _text(arrays[key], key, path) for key in KEYS[2:] if key in arrays}
    if "class_names" not in columns and len(columns.get("names", y)) == len(np.unique(y)) < len(y):
        columns["class_names"] = columns.pop("names")
    class_names = columns.pop("class_names", None)
    for key, column in columns.items():
        if len(column) != len(y):
            raise ValueError(f"Expected {len(y)} values in {key} of {path}, one a vector. Received: {len(column)}")
    if "group" in columns and (columns["group"] == "").any():
        row = np.flatnonzero(columns["group"] == "")[0]
        raise ValueError(f"Expected a group for every vector of {path}. Received: an empty one in row {row}")
    class_names, labels = _numbered(y, class_names, path)
    sides = _sides(columns.get("split"), len(y), path)
    untrained = np.setdiff1d(np.arange(len(class_names)), labels[sides["train"]])
    if len(untrained):
        raise ValueError(
            f"Expected training vectors of every class in {path}. Received: none of class {class_names[untrained[0]]!r}"
        )
    return Vectors(x, labels, class_names, sides, columns.get("group"), columns.get("names"))


def checked_vectors(x: np.ndarray, y: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Feature vectors in single precision beside labels of one kind.

    Args:
        x: real numbers, shape (n, d).
        y: integers or words, shape (n,).
        where: they came from, for messages: a file, or a side.

    Returns:
        (x float32, y).

    Raises:
        ValueError: on other shapes and types, NaN, or numbers beyond single precision.

    Example:
        >>> checked_vectors(np.ones((2, 3), "float16"), np.array([0, 1]), "training")[0].dtype
        dtype('float32')
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y) or not x.size:
        raise ValueError(f"Expected x (n, d) and y (n,), n and d ≥ 1, in {where}. Received: shapes {x.shape} and {y.shape}")
    if x.dtype.kind not in "fiub":
        raise ValueError(f"Expected real numbers as x in {where}. Received: {x.dtype}")
    if y.dtype.kind not in "iuU":
        raise ValueError(f"Expected integers or words as y in {where}. Received: {y.dtype}")
    with np.errstate(over="ignore"):
        x = x.astype("float32", copy=False)
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise ValueError(
            f"Expected finite numbers as x in {where}. Received: NaN, infinity or a number beyond single precision in "
            f"{len(bad)} of {len(x)} rows, the first row {bad[0]}. Leave these rows out, or mend them"
        )
    return x, y


def _load(path):
    """{key: array} of the known keys."""
    try:
        with zipfile.ZipFile(path) as archive:
            declared = sum(entry.file_size for entry in archive.infolist())
        size = os.path.getsize(path)
        if declared > max(SUSPICIOUS_RATIO * size, SUSPICIOUS_BYTES):
            raise ValueError(f"{size} bytes that would become {declared / 2**30:.0f} GiB in memory")
        with np.load(path, allow_pickle=False) as arrays:
            return {key: _words(arrays[key]) for key in KEYS if key in arrays}
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, its decompressors and NumPy's reader each have errors of their own
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"Expected a NumPy archive (.npz) of plain arrays. Received: {path}, which isn't one or is damaged ({reason}). "
            "Write it again with np.savez"
        ) from error


def _words(array):
    """Text where it is bytes."""
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array


def _text(column, key, path):
    """A column as text, shape (n,)."""
    if column.ndim != 1 or column.dtype.kind not in ("iuU" if key == "group" else "U"):
        allowed = "words or integers" if key == "group" else "words"
        raise ValueError(
            f"Expected {key} of {path} to be {allowed}, of one axis. Received: {column.dtype}, shape {column.shape}"
        )
    return column.astype("str")


def _numbered(y, class_names, path):
    """(class names, labels int64 in 0..k−1)."""
    if class_names is None:
        found, labels = np.unique(y, return_inverse=True)
        class_names = found.astype("str")
    else:
        if y.dtype.kind == "U" or y.min() < 0 or y.max() >= len(class_names):
            received = "words" if y.dtype.kind == "U" else f"{y.min()} to {y.max()}"
            raise ValueError(
                f"Expected y in 0..{len(class_names) - 1} beside {len(class_names)} class names in {path}. "
                f"Received: {received}"
            )
        labels = y
    if len(class_names) < 2 or len(set(class_names)) < len(class_names):
        raise ValueError(
            f"Expected at least two classes of different names in {path}. Received: {', '.join(class_names[:10])}"
        )
    return class_names.tolist(), labels.astype("int64")


def _sides(split, number, path):
    if split is None:
        return {"train": np.arange(number)}
    split = np.where(split == "", "train", split)
    unknown = np.flatnonzero(~np.isin(split, SIDES))
    if len(unknown):
        raise ValueError(
            f"Expected `split` among {', '.join(SIDES)} in {path}. Received: {str(split[unknown[0]])!r} in row {unknown[0]}"
        )
    return {side: np.flatnonzero(split == side) for side in SIDES if side == "train" or (split == side).any()}
