"""Sheets of pictures: examples of every class, and answers that are worth a look."""

import math
import pathlib

import numpy as np
from matplotlib.figure import Figure

from arconvl_tf.data.images import Reading
from arconvl_tf.experiments.figures.appearance import MINORITY_COLOUR, is_rare, shown

MAX_PICTURES = 24
COLUMNS = 6


def draw_picture_sheet(examples, class_counts, class_names) -> Figure:
    """Rows of example pictures by class; names of classes with fewer samples than the average class are bold and red.

    Args:
        examples: list of k lists of uint8 images (height, width, 1 or 3).
        class_counts: training samples of each class.
        class_names: list of k names.
    """
    columns = max(1, *map(len, examples))
    height, width, channels = max(examples, key=len)[0].shape
    gap = max(1, width // 16)
    # One image for the whole sheet: a plot for each picture would take minutes for a hundred classes.
    sheet = np.full((len(examples) * (height + gap), columns * (width + gap), channels), 255, "uint8")
    for row, pictures in enumerate(examples):
        for column, picture in enumerate(pictures):
            top, left = row * (height + gap), column * (width + gap)
            sheet[top : top + height, left : left + width] = picture
    size = (0.8 * columns + 2, 0.8 * len(examples) * height / width + 0.2)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet.squeeze(), cmap="gray", vmin=0, vmax=255)
    axes.spines[:].set_visible(False)
    rows = np.arange(len(examples)) * (height + gap) + height / 2
    names = [f"{shown(name)}\n{count}" for name, count in zip(class_names, class_counts)]
    axes.set(xticks=[], yticks=rows, yticklabels=names)
    axes.tick_params(length=0, labelsize=9)
    for label, rare in zip(axes.get_yticklabels(), is_rare(class_counts)):
        label.set(color=MINORITY_COLOUR if rare else "black", fontweight="bold" if rare else "normal")
    return figure


def draw_answers(rows: list[dict], reading: Reading, heading: str) -> Figure | None:
    """The first pictures of a list as the model sees them, each with its label, the answer and the answer's probability.

    Args:
        rows: see `predictions.COLUMNS`, `sample` being a path. Pictures that can't be read any more are left out.
        reading: how the run's pictures are read.
        heading: what these answers are.

    Returns:
        The figure, of at most 24 pictures; `None` where none can be read.
    """
    found = []
    for row in rows:
        try:
            found.append((row, reading.read(row["sample"])))
        except ValueError:
            continue
        if len(found) == MAX_PICTURES:
            break
    if not found:
        return None
    lines = math.ceil(len(found) / COLUMNS)
    height, width, _ = reading.image_shape
    figure = Figure(figsize=(1.7 * COLUMNS, lines * (min(1.65 * height / width, 3) + 0.6) + 0.6), layout="constrained")
    every = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axes in every:
        axes.axis("off")
    for axes, (row, picture) in zip(every, found):
        axes.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255)
        answer = f"{shown(row['truth'], 24)}\n→ {shown(row['predicted'], 22)}"
        source = shown(pathlib.PurePath(row["sample"]).name, 20)
        axes.set_title(f"{answer}\n{float(row['probability']):.2f} {source}", fontsize=8, loc="left", pad=3)
    figure.supxlabel(f"{heading}: label → answer, its probability, file", fontsize=9)
    return figure
