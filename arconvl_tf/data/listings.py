"""Own pictures by name: which files belong to which class, from a folder of class folders or a CSV file."""

import csv
import os
import pathlib
from typing import NamedTuple

import numpy as np

from arconvl_tf.data import images

SIDES = ("train", "validation", "test")


class Listing(NamedTuple):
    """`class_names`: k names; `sides`: {"train", and where given "validation" and "test": (paths, labels 0..k−1)}."""

    class_names: list[str]
    sides: dict[str, tuple]


def list_folder(path: str | os.PathLike) -> Listing:
    """Lists `path/CLASS/PICTURE`, or `path/train/CLASS/PICTURE` with `validation` and `test` beside `train`.

    Pictures in deeper folders belong to the class above them. Links to folders inside a class folder are not entered.

    Returns:
        `Listing`; classes are in alphabetical order.

    Raises:
        ValueError: on fewer than two class folders, one without pictures, classes that `train` doesn't have, or another
            folder beside `train`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("owl", "cat"):
        ...         (pathlib.Path(folder) / name).mkdir()
        ...         (pathlib.Path(folder) / name / "1.png").touch()
        ...     list_folder(folder).class_names
        ['cat', 'owl']
    """
    root = pathlib.Path(path)
    folders = {"train": root}
    if (root / "train").is_dir():
        others = [name for name in _class_folders(root) if name not in SIDES]
        if others:
            raise ValueError(f"Expected no folders but {', '.join(SIDES)} in {root}. Received: {', '.join(others)}")
        folders = {side: root / side for side in SIDES if (root / side).is_dir()}
    class_names = _class_folders(folders["train"])
    if len(class_names) < 2:
        raise ValueError(
            f"Expected a folder for each of at least two classes in {folders['train']}. Received: {class_names or 'none'}"
        )
    sides = {}
    for side, folder in folders.items():
        unknown = sorted(set(_class_folders(folder)) - set(class_names))
        if unknown:
            raise ValueError(f"Expected the classes {', '.join(class_names)} in {folder}. Received: {', '.join(unknown)}")
        found = [images.images_below(folder / name) for name in class_names]
        labels = np.repeat(np.arange(len(class_names)), [len(own) for own in found])
        sides[side] = [path for own in found for path in own], labels
        empty = [name for name, own in zip(class_names, found) if not own]
        if side == "train" and empty:
            raise ValueError(f"Expected pictures of every class. Received: none in {folder / empty[0]}")
    return Listing(class_names, sides)


def _class_folders(folder):
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def list_csv(path: str | os.PathLike) -> Listing:
    """Lists the rows of a CSV file with the columns `path` and `label`, and optionally `split`.

    Paths are relative to the file's folder. Labels may be words or numbers, with or without gaps; classes are in
    alphabetical order, or in the order of their numbers if all labels are whole numbers. `split` is `train`
    (also where the cell is empty), `validation` or `test`.

    Returns:
        `Listing`.

    Raises:
        ValueError: on missing columns, an empty cell, an unknown split, a picture listed twice or a file that isn't
            there, fewer than two classes, or a class without a training picture.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = pathlib.Path(folder) / "labels.csv"
        ...     for name in ("1.png", "2.png"):
        ...         (pathlib.Path(folder) / name).touch()
        ...     _ = table.write_text("path,label\\n1.png,10\\n2.png,2\\n")
        ...     list_csv(table).class_names
        ['2', '10']
    """
    rows = _read_rows(pathlib.Path(path))
    labels = {row["label"] for _, row in rows}
    if len(labels) < 2:
        raise ValueError(f"Expected at least two classes in {path}. Received: {', '.join(labels) or 'no rows'}")
    whole = all(map(_is_whole, labels))
    class_names = sorted(labels, key=lambda name: (int(name) if whole else 0, name))
    numbers = {name: number for number, name in enumerate(class_names)}

    sides, seen = {"train": ([], [])}, set()
    for line, row in rows:
        side, picture = row.get("split") or "train", pathlib.Path(os.path.normpath(pathlib.Path(path).parent / row["path"]))
        if side not in SIDES:
            raise ValueError(f"Expected `split` among {', '.join(SIDES)}. Received: {side!r} in line {line} of {path}")
        if picture in seen:
            raise ValueError(f"Expected every picture once. Received: {row['path']} again in line {line} of {path}")
        if not picture.is_file():
            raise ValueError(f"Expected a picture file. Received: {picture}, which does not exist (line {line} of {path})")
        seen.add(picture)
        paths, own_labels = sides.setdefault(side, ([], []))
        paths.append(picture)
        own_labels.append(numbers[row["label"]])
    trained = set(sides["train"][1])
    untrained = [name for name in class_names if numbers[name] not in trained]
    if untrained:
        raise ValueError(f"Expected training pictures of every class in {path}. Received: none of class {untrained[0]}")
    return Listing(class_names, {side: (paths, np.array(own)) for side, (paths, own) in sides.items()})


def _read_rows(path):
    """[(line number, {column: text})]; every row has a path and a label."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = reader.fieldnames or []
            rows = [(reader.line_num, {name: (text or "").strip() for name, text in row.items() if name}) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"Expected a CSV file in UTF-8. Received: {path} ({error})") from error
    if not {"path", "label"} <= set(columns):
        raise ValueError(f"Expected the columns path and label in {path}. Received: {', '.join(columns) or 'an empty file'}")
    for line, row in rows:
        if not row["path"] or not row["label"]:
            raise ValueError(f"Expected a path and a label in every row. Received: an empty cell in line {line} of {path}")
    return rows


def _is_whole(text):
    return text.isascii() and text.removeprefix("-").isdigit()
