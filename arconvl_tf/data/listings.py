"""Own pictures by name: which files belong to which class, from a folder of class folders or a CSV file."""

import os
import pathlib
import re
from typing import NamedTuple

import numpy as np

from arconvl_tf.data import csv_table, finding

SIDES = ("train", "validation", "test")
SIDE_WORDS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
}  # fmt: skip
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?")


class Listing(NamedTuple):
    """Which pictures there are.

    Attributes:
        class_names: k names.
        sides: {"train", and where given "validation" and "test": (paths, labels 0..k−1)}.
        names: {side: for each picture the path below the folder, or as the CSV file gives it}.
        groups: {side: for each picture the name of its group, or None where there are no groups}. Pictures of one group,
            whatever their class, show the same thing and belong on one side of a split.
    """

    class_names: list[str]
    sides: dict[str, tuple]
    names: dict[str, list[str]]
    groups: dict[str, list[str] | None]


def side_named(text: str) -> str | None:
    """The side that a folder's name or a cell of a `split` column means, None if it is none.

    Example:
        >>> [side_named(text) for text in ("Training", "test_set", "valid", "cat")]
        ['train', 'test', 'validation', None]
    """
    return SIDE_WORDS.get(re.sub(r"[ _-]?(set|data)$", "", text.lower()))


def list_folder(path: str | os.PathLike, group_by: str | int | None = None) -> Listing:
    """Lists `path/CLASS/PICTURE`, or `path/train/CLASS/PICTURE` with validation and test folders beside `train`.

    Folders of sides may have any of their usual names (`side_named`). Pictures in deeper folders belong to the class above
    them. Hidden folders and rubbish (`finding.is_rubbish`) are no classes. Links to folders inside a class folder are not
    entered.

    Args:
        path: the folder.
        group_by: what makes pictures belong together: a regular expression that is searched in the path below `path`
            (its first group, or all it matches), or which folder between class and picture, counted from 1 below the class.

    Returns:
        `Listing`; classes are in alphabetical order.

    Raises:
        ValueError: on fewer than two class folders, one without pictures, classes that `train` doesn't have, folders of
            sides beside others, or a picture without a group.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("owl", "cat"):
        ...         (pathlib.Path(folder) / name).mkdir()
        ...         (pathlib.Path(folder) / name / "1.png").touch()
        ...     listing = list_folder(folder, group_by="[0-9]+")
        >>> listing.class_names, listing.names["train"], listing.groups["train"]
        (['cat', 'owl'], ['cat/1.png', 'owl/1.png'], ['1', '1'])
    """
    root = pathlib.Path(path)
    side_folders = _side_folders(root)
    class_names = _folders(side_folders["train"])
    if len(class_names) < 2:
        raise ValueError(
            f"Expected a folder for each of at least two classes in {side_folders['train']}. "
            f"Received: {class_names or 'none'}"
        )
    sides, names, groups = {}, {}, {}
    for side, folder in side_folders.items():
        unknown = sorted(set(_folders(folder)) - set(class_names))
        if unknown:
            raise ValueError(f"Expected the classes {', '.join(class_names)} in {folder}. Received: {', '.join(unknown)}")
        found = [finding.images_below(folder / name) if (folder / name).is_dir() else [] for name in class_names]
        labels = np.repeat(np.arange(len(class_names)), [len(own) for own in found])
        empty = [name for name, own in zip(class_names, found) if not own]
        if side == "train" and empty:
            raise ValueError(
                f"Expected pictures ({', '.join(finding.IMAGE_SUFFIXES)}) of every class. Received: none in "
                f"{folder / empty[0]}. Add some, or remove the folder"
            )
        paths = [path for own in found for path in own]
        sides[side] = paths, labels
        names[side] = [path.relative_to(root).as_posix() for path in paths]
        between = [path.relative_to(folder).parts[1:-1] for path in paths]
        groups[side] = None if group_by is None else _groups(names[side], between, group_by)
    return Listing(class_names, sides, names, groups)


def list_csv(path: str | os.PathLike, group_by: str | int | None = None) -> Listing:
    """Lists the rows of a CSV file with the columns `path` and `label`, and optionally `split` and `group`.

    Paths are relative to the file's folder. Labels may be words or numbers, with or without gaps; classes are in
    alphabetical order, or in the order of their numbers if all labels are numbers, `1` and `1.0` being one then. `split`
    names a side as a folder would (`side_named`); an empty cell is `train`. For how the file may be written see
    `csv_table.read_table`.

    Args:
        path: the file.
        group_by: takes the place of the column `group`, see `list_folder`; folders are counted from the one that has
            the label's name.

    Returns:
        `Listing`.

    Raises:
        ValueError: on a malformed table, an unknown split, a picture listed twice or a file that isn't there, fewer than two
            classes, a class without a training picture, or a picture without a group.

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
    path = pathlib.Path(path)
    rows = csv_table.read_table(path)
    labels = _merged_numbers([row.label for row in rows])
    class_names = _sorted_names(set(labels))
    if len(class_names) < 2:
        raise ValueError(f"Expected at least two classes in {path}. Received: {', '.join(class_names) or 'no rows'}")
    places = {name: number for number, name in enumerate(class_names)}
    numbers = np.array([places[label] for label in labels])
    row_sides = np.array([_side_of(row, path) for row in rows])
    files = _files(rows, path)
    row_groups = _row_groups(rows, group_by)

    sides, names, groups = {}, {}, {}
    for side in [side for side in SIDES if side == "train" or side in row_sides]:
        own = np.flatnonzero(row_sides == side)
        sides[side] = [files[row] for row in own], numbers[own]
        names[side] = [rows[row].path for row in own]
        groups[side] = None if row_groups is None else [row_groups[row] for row in own]
    untrained = np.setdiff1d(numbers, sides["train"][1])
    if len(untrained):
        raise ValueError(
            f"Expected training pictures of every class in {path}. Received: none of class {class_names[untrained[0]]}"
        )
    return Listing(class_names, sides, names, groups)


def _folders(folder):
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not finding.is_rubbish(entry.name))


def _side_folders(root):
    """{side: its folder}; the root itself is the training side where no folder names one."""
    named = {}
    for name in _folders(root):
        named.setdefault(side_named(name), []).append(name)
    others = named.pop(None, [])
    if not named:
        return {"train": root}
    if others:
        sides = ", ".join(name for names in named.values() for name in names)
        raise ValueError(
            f"Expected no folders but {', '.join(SIDES)} in {root}, or none of these. Received: {', '.join(others)} beside "
            f"{sides}. Move the class folders into one folder named train, or rename {sides}"
        )
    for side, names in named.items():
        if len(names) > 1:
            raise ValueError(f"Expected one {side} folder in {root}. Received: {', '.join(names)}. Join or rename them")
    if "train" not in named:
        received = ", ".join(name for names in named.values() for name in names)
        raise ValueError(f"Expected a folder named train in {root} as well. Received: {received}. Add or rename one")
    return {side: root / named[side][0] for side in SIDES if side in named}


def _merged_numbers(texts):
    """Whole numbers without their `.0` if all are numbers: pandas writes it where another cell is missing."""
    if not all(map(NUMBER.fullmatch, texts)):
        return texts
    return [re.sub(r"\.0*$", "", text) for text in texts]


def _sorted_names(names):
    numeric = all(map(NUMBER.fullmatch, names))
    return sorted(names, key=lambda name: (float(name) if numeric else 0, name))


def _side_of(row, table):
    side = side_named(row.split) if row.split else "train"
    if side is None:
        raise ValueError(f"Expected `split` among {', '.join(SIDES)}. Received: {row.split!r} in line {row.line} of {table}")
    return side


def _files(rows, table):
    files, seen = [], set()
    for row in rows:
        spellings = [row.path, row.path.replace("\\", "/")]  # the latter of a table from Windows
        candidates = [os.path.normpath(table.parent / spelling) for spelling in spellings]
        file = next(filter(os.path.isfile, candidates), None)
        where = f"line {row.line} of {table}"
        if file is None:
            raise ValueError(f"Expected a picture file. Received: {candidates[0]}, which does not exist ({where})")
        if file in seen:
            raise ValueError(f"Expected every picture once. Received: {row.path} again in {where}")
        seen.add(file)
        files.append(pathlib.Path(file))
    return files


def _row_groups(rows, group_by):
    if group_by is not None:
        names = [row.path.replace("\\", "/") for row in rows]
        return _groups(names, [_below(name, row.label) for name, row in zip(names, rows)], group_by)
    groups = [row.group for row in rows]
    return _merged_numbers(groups) if all(groups) else None


def _below(name, label):
    """The folders below the class folder in a path; none if there is no such folder."""
    folders = pathlib.PurePosixPath(name).parts[:-1]
    return folders[folders.index(label) + 1 :] if label in folders else ()


def _groups(names, folders, group_by):
    """The group of each picture.

    Args:
        names: the paths of n pictures as text.
        folders: n tuples, the folders between class and picture.
        group_by: see `list_folder`.
    """
    level = int(group_by) if re.fullmatch("[0-9]+", str(group_by)) else None
    if level == 0:
        raise ValueError("Expected `group_by` to count folders from 1, the one below the class. Received: 0")
    try:
        pattern = re.compile(str(group_by))
    except re.error as error:
        raise ValueError(
            f"Expected `group_by` to be a regular expression or a whole number. Received: {group_by!r} ({error})"
        ) from error

    def group_of(name, between):
        if level is not None:
            return between[level - 1] if level <= len(between) else None
        match = pattern.search(name)
        return match and match[1 if pattern.groups else 0]

    groups = list(map(group_of, names, folders))
    without = [name for name, group in zip(names, groups) if not group]
    if without:
        raise ValueError(
            f"Expected a group in the path of every picture (group_by={group_by}). Received: {without[0]}, one of "
            f"{len(without)} without. Mend the expression, or name the groups in a CSV file's column group"
        )
    return groups
