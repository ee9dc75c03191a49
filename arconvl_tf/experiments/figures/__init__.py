"""The pictures of a run, drawn from its files: recalls, confusion, the latent space, the regions over the epochs, sheets."""

import pathlib
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

from arconvl_tf.data.images import Reading
from arconvl_tf.experiments.figures.appearance import DPI, shown
from arconvl_tf.experiments.figures.results import draw_confusion, draw_recalls
from arconvl_tf.experiments.figures.sheets import draw_answers, draw_picture_sheet
from arconvl_tf.experiments.figures.space import draw_latent_space, draw_region_history
from arconvl_tf.experiments.pooling import recall_intervals
from arconvl_tf.experiments.predictions import read_rows, write_rows
from arconvl_tf.experiments.run_directory import HISTORY, LATENT_SPACE, TEST_PREDICTIONS, RunDirectory
from arconvl_tf.experiments.suspects import answers_for_training_samples, confident_mistakes, suspects

__all__ = ["Drawn", "draw_picture_sheet", "draw_run"]

SUSPECTS = "suspects.csv"
UNSEEN = "Training pictures that are most likely mislabelled, by models that had not seen them"
SEEN = "Training pictures that are most likely mislabelled, by the model that was trained on them (--folds sees more)"


class Drawn(NamedTuple):
    """What `draw_run` wrote: `paths`; and of the figures that it left out, by name, `reasons`."""

    paths: list[pathlib.Path]
    reasons: dict[str, str]


def draw_run(directory: RunDirectory) -> Drawn:
    """Draws the figures of a finished run from its files alone, at any later time.

    `recalls.png`, `confusion.png`; `latent_space.png`; of ARConvL `regions.png`; of own pictures `confusions.png`, the wrong
    answers that the model was surest of, and `suspects.png`, the training pictures that are most likely mislabelled.
    Of all own data `suspects.csv` has these in full, the likeliest first, with the columns of `test_predictions.csv`.

    Raises:
        RunDirectoryError: if the run isn't finished.
    """
    metrics = directory.metrics()
    title = shown(_title(metrics), 100)
    paths, reasons = [], {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a letter that the font lacks is drawn as a box
        for name, make in FIGURES.items():
            made = make(directory, metrics)
            if isinstance(made, str):
                reasons[name] = made
                continue
            made.suptitle(title, fontsize=10, color="0.35")
            paths.append(directory.file(f"{name}.png"))
            made.savefig(paths[-1], dpi=DPI)
    if directory.file(SUSPECTS).exists():
        paths.append(directory.file(SUSPECTS))
    return Drawn(paths, reasons)


def _title(metrics):
    factor, folds = metrics["imbalance"], len(metrics.get("folds") or ())
    parts = [f"{metrics['method']} on {pathlib.PurePath(metrics['dataset']).name}"]
    parts += [f"imbalance {factor:g}"] * (factor != 1) + [f"seed {metrics['seed']}"]
    return ", ".join(parts + [f"{folds} folds"] * (folds > 0))


# Each a figure, or the reason why there is none.


def _recalls(directory, metrics):
    test = metrics["test"]
    return draw_recalls(test, recall_intervals(np.array(test["confusion"])), metrics["class_counts"], metrics["class_names"])


def _confusion(directory, metrics):
    return draw_confusion(metrics["test"]["confusion"], metrics["class_names"])


def _latent_space(directory, metrics):
    path = directory.file(LATENT_SPACE)
    if not path.exists():
        return "version 0.1 kept no latent space"
    with np.load(path) as arrays:
        space = dict(arrays)
    # A run that diverged has no latent space to show; its recalls tell the story.
    if not np.isfinite(space["points"]).all() or not np.isfinite(space["centers"]).any():
        return "the features are not finite"
    points = "test samples of the first fold" if metrics.get("folds") else "test samples"
    return draw_latent_space(space, metrics["class_counts"], metrics["class_names"], points)


def _regions(directory, metrics):
    if not directory.file(HISTORY).exists():
        return "there is no history"
    history = pd.read_csv(directory.file(HISTORY))
    return draw_region_history(history, metrics["best_epoch"]) if "beta" in history else "the method has no regions"


def _confusions(directory, metrics):
    path = directory.file(TEST_PREDICTIONS)
    mistakes = confident_mistakes(read_rows(path)) if path.exists() else []
    if not mistakes:
        return "there are no wrong answers" if path.exists() else "older versions kept no predictions"
    return _sheet(mistakes, metrics, "The wrong answers that the model was surest of")


def _suspects(directory, metrics):
    rows = answers_for_training_samples(directory, metrics)
    if rows is None:
        return "there are no answers for training samples"
    found = suspects(rows)
    write_rows(directory.file(SUSPECTS), found)
    if not found:
        return "every training sample has the answer that its label says"
    return _sheet(found, metrics, UNSEEN if metrics.get("folds") else SEEN)


def _sheet(rows, metrics, heading):
    if metrics.get("reading") is None:
        return "the samples are no picture files"
    return draw_answers(rows, Reading.from_dict(metrics["reading"]), heading) or "the pictures are gone"


FIGURES = {
    "recalls": _recalls,
    "confusion": _confusion,
    "latent_space": _latent_space,
    "regions": _regions,
    "confusions": _confusions,
    "suspects": _suspects,
}
