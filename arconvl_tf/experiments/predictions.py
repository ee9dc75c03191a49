"""What a run answered for every test sample, as a table: all measures of its test come out of it."""

import csv
import os
import pathlib

import numpy as np

from arconvl_tf.experiments.evaluation import Outcome, measures
from arconvl_tf.experiments.pooling import bootstrap_interval

COLUMNS = ("sample", "group", "fold", "truth", "predicted", "probability", "truth_probability", "distance")
NAMES = "surrogateescape"  # names of files may hold any bytes


def prediction_rows(side, tested: Outcome, model, class_names, fold: int | None = None) -> list[dict]:
    """One row a test sample.

    Args:
        side: `Side` that was tested, with names and groups where it has them.
        tested: what the model answered.
        model: the `PrototypeClassifier`.
        class_names: k names.
        fold: the number of the fold that was tested, from 1; `None` without folds.

    Returns:
        List of dicts with `sample` (its name, or its number), `group`, `fold`, `truth` and `predicted` (class names),
        `probability` of the latter and `truth_probability` of the former (`softmax` of the logits), `distance` to the
        predicted class's centre (a length; empty of a linear head).
    """
    probabilities = tested.probabilities
    rows = []
    for index, (label, predicted) in enumerate(zip(tested.labels, tested.predicted)):
        length = "" if model.head == "linear" else round(float(np.sqrt(max(0.0, -tested.logits[index, predicted]))), 4)
        rows.append(
            {
                "sample": index if side.names is None else str(side.names[index]),
                "group": "" if side.groups is None else str(side.groups[index]),
                "fold": "" if fold is None else fold,
                "truth": class_names[label],
                "predicted": class_names[predicted],
                "probability": float(f"{probabilities[index, predicted]:.4g}"),
                "truth_probability": float(f"{probabilities[index, label]:.4g}"),
                "distance": length,
            }
        )
    return rows


def judged(rows: list[dict], class_names, interval: bool) -> dict:
    """The measures of `metrics.json` for rows of predictions; with their 95 % bootstrap interval by groups, if asked for.

    Example:
        >>> row = {"truth": "owl", "predicted": "owl", "group": ""}
        >>> judged([row, {**row, "truth": "cat"}], ["cat", "owl"], interval=False)["recall"]
        [0.0, 1.0]
    """
    numbers = {name: number for number, name in enumerate(class_names)}
    labels, predicted = (np.array([numbers[row[column]] for row in rows], "int64") for column in ("truth", "predicted"))
    result = measures(labels, predicted, len(class_names))
    if interval:
        groups = np.array([row["group"] or f"sample {index}" for index, row in enumerate(rows)])
        for measure in ("g_mean", "class_wise_accuracy"):
            result[f"{measure}_interval"] = list(bootstrap_interval(labels, predicted, groups, measure=measure))
    return result


def write_rows(path: pathlib.Path, rows: list[dict]) -> None:
    """Writes a table beside its place and renames it, so that none is ever half there."""
    unfinished = path.with_name(f"unfinished-{path.name}")
    with unfinished.open("w", newline="", encoding="utf-8", errors=NAMES) as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(unfinished, path)


def read_rows(path: pathlib.Path) -> list[dict]:
    """The table as it was written, all cells as text."""
    with path.open(newline="", encoding="utf-8", errors=NAMES) as file:
        return list(csv.DictReader(file))
