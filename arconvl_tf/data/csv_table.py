"""A CSV table of pictures, however a spreadsheet or a program wrote it."""

import csv
import io
import pathlib
from typing import NamedTuple

SEPARATORS = (",", ";", "\t")
COLUMNS = {"path": ("image", "file", "filename"), "label": ("class",), "split": (), "group": ()}  # by their other names
MISSING = ("", "nan")  # as pandas writes what isn't there


class Row(NamedTuple):
    """The line that a row begins in, counted from 1, and its cells; `split` and `group` are empty where there are none."""

    line: int
    path: str
    label: str
    split: str
    group: str


def read_table(path: pathlib.Path) -> list[Row]:
    """Reads the rows of a CSV file with the columns `path` and `label`, and optionally `split` and `group`.

    Columns may be in any case and order, have spaces around them and others beside them. `image`, `file` or `filename`
    stand for a missing `path`, `class` for a missing `label`. Commas, semicolons or tabulators separate cells; a mark of the
    byte order and spaces around cells are passed over.

    Raises:
        ValueError: on another encoding than UTF-8, missing or ambiguous columns, an open quote, cells beyond the header, no
            path or label in a row, or groups in some rows only.
    """
    try:
        text = path.read_text(encoding="utf-8-sig").replace("\ufeff", "")
    except UnicodeDecodeError as error:
        raise ValueError(f"Expected a CSV file in UTF-8. Received: {path} ({error})") from error
    separator = next((sign for sign in SEPARATORS if {"path", "label"} <= set(_columns(_header(text, sign), path))), ",")
    header = _header(text, separator)
    columns = _columns(header, path)
    if not {"path", "label"} <= set(columns):
        received = ", ".join(header) or "an empty file"
        raise ValueError(f"Expected the columns path and label in {path}. Received: {received}")

    rows = [_row(line, cells, header, columns, path) for line, cells in _records(text, separator, path)[1:]]
    _require_all_groups(rows, path)
    return rows


def _row(line, cells, header, columns, path):
    if any(cells[len(header) :]):
        raise ValueError(
            f"Expected {len(header)} cells a row, as the header has. Received: {len(cells)} in line {line} of {path}. "
            "Put quotes around a cell that holds a separator"
        )
    texts = {name: cells[place] for name, place in columns.items() if place < len(cells)}
    if any("\n" in text for text in texts.values()):
        raise ValueError(
            f"Expected cells of one line. Received: several lines in one from line {line} of {path}. Close the quote"
        )
    row = Row(line, **{name: "" if texts.get(name, "").lower() in MISSING else texts[name] for name in COLUMNS})
    if not row.path or not row.label:
        raise ValueError(f"Expected a path and a label in every row. Received: an empty cell in line {line} of {path}")
    return row


def _header(text, separator):
    """The names in the first line that isn't empty."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return [name.strip() for name in next(csv.reader([first], delimiter=separator, skipinitialspace=True), [])]


def _columns(header, path):
    """{column: place} of those that are there."""
    names = [name.lower() for name in header]
    columns = {}
    for column, others in COLUMNS.items():
        spellings = (column,) if column in names else others
        places = [place for place, name in enumerate(names) if name in spellings]
        if len(places) > 1:
            received = ", ".join(header[place] for place in places)
            raise ValueError(f"Expected one column {column} in {path}. Received: {received}. Rename all but one")
        if places:
            columns[column] = places[0]
    return columns


def _records(text, separator, path):
    """[(line it begins in, cells)] of all rows that are not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    records, line = [], 1
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                records.append((line, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"Expected a CSV file with every quote closed. Received: {error} in the row that begins in line {line} of {path}"
        ) from error
    return records


def _require_all_groups(rows, path):
    missing = [row.line for row in rows if not row.group]
    if missing and len(missing) < len(rows):
        raise ValueError(
            f"Expected a group in every row, or in none. Received: none in line {missing[0]} of {path}. "
            "Give a picture that stands alone a group of its own"
        )
