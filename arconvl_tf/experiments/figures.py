"""The pictures of a run, drawn from its files: recalls, confusion, the regions over the epochs, the latent space."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure  # not pyplot: whoever imports this keeps the display that was chosen
from matplotlib.patches import Circle

from arconvl_tf.experiments.run_directory import HISTORY, LATENT_SPACE, RunDirectory

MAX_NAMED_CLASSES = 100  # names and numbers of more could not be read, and figures wide enough would not fit in memory
MINORITY_COLOUR, MAJORITY_COLOUR = "#d1495b", "#30638e"


def draw_run(directory: RunDirectory) -> list:
    """Writes `recalls.png`, `confusion.png`, `latent_space.png` and, for ARConvL, `regions.png` into a run directory.

    Everything is read from the files of the finished run: neither model nor data are needed, at any later time.

    Args:
        directory: of a finished run.

    Returns:
        List of the paths written.

    Raises:
        RunDirectoryError: if the run isn't finished.
    """
    metrics = directory.metrics()
    title = f"{metrics['method']} on {metrics['dataset']}, imbalance {metrics['imbalance']:g}, seed {metrics['seed']}"
    counts, names = metrics["class_counts"], metrics["class_names"]
    figures = {
        "recalls": draw_recalls(metrics["test"]["recall"], counts, names),
        "confusion": draw_confusion(metrics["test"]["confusion"], names),
    }
    if directory.file(LATENT_SPACE).exists():  # version 0.1 kept none
        with np.load(directory.file(LATENT_SPACE)) as arrays:
            space = dict(arrays)
        # A run that diverged has no latent space to show; its recalls tell the story.
        if all(np.isfinite(values).all() for values in space.values()):
            figures["latent_space"] = draw_latent_space(space, counts, names)
    history = pd.read_csv(directory.file(HISTORY))
    if "beta" in history:
        figures["regions"] = draw_region_history(history, metrics["best_epoch"])
    paths = []
    for name, figure in figures.items():
        figure.suptitle(*_shown([title]), fontsize=10, color="0.35")
        paths.append(directory.file(f"{name}.png"))
        figure.savefig(paths[-1], dpi=130)
    return paths


def draw_picture_sheet(examples, class_counts, class_names):
    """Rows of example pictures by class; names of classes with fewer samples than the average class are in red.

    Args:
        examples: list of k lists of uint8 images (height, width, 1 or 3).
        class_counts: training samples of each class.
        class_names: list of k names.
    """
    counts = np.asarray(class_counts)
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
    axes.set(xticks=[], yticks=rows, yticklabels=[f"{name}\n{count}" for name, count in zip(_shown(class_names), counts)])
    axes.tick_params(length=0, labelsize=9)
    for label, count in zip(axes.get_yticklabels(), counts):
        label.set_color(MINORITY_COLOUR if count < counts.mean() else "black")
    return figure


def draw_recalls(recalls, class_counts, class_names):
    """Test recall of every class, coloured by whether the class has fewer training samples than the average class."""
    recalls = np.array([np.nan if recall is None else recall for recall in recalls])
    counts = np.asarray(class_counts)
    minority = counts < counts.mean()
    named = len(counts) <= MAX_NAMED_CLASSES
    figure = Figure(figsize=(max(6, 0.6 * len(counts)) if named else 14, 3.8), layout="constrained")
    axes = figure.subplots()
    positions = np.arange(len(counts))
    for mask, colour, label in (
        (~minority, MAJORITY_COLOUR, "more training samples than the mean"),
        (minority, MINORITY_COLOUR, "fewer"),
    ):
        if mask.any():
            axes.bar(positions[mask], recalls[mask], color=colour, label=label)
    if named:
        for position, recall in zip(positions, recalls):
            axes.text(position, np.nan_to_num(recall) + 0.01, f"{recall:.2f}", ha="center", va="bottom", fontsize=8)
        labels = [f"{name}\n({count})" for name, count in zip(_shown(class_names), counts)]
        axes.set_xticks(positions, labels, fontsize=8, rotation=_rotation(class_names))
    axes.set(ylim=(0, 1.12), ylabel="test recall", xlabel="class (training samples)" if named else "class")
    axes.legend(loc="upper center", ncols=2, fontsize=8, frameon=False, bbox_to_anchor=(0.5, 1.14))
    return figure


def draw_confusion(confusion, class_names):
    """The test confusion matrix: colours are shares of the true class, numbers are samples."""
    confusion = np.asarray(confusion)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    named = len(class_names) <= MAX_NAMED_CLASSES
    size = max(4.5, 0.5 * len(class_names) + 1) if named else 10
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if named:
        for row, column in np.argwhere(confusion > 0):
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, confusion[row, column], ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(len(class_names)), _shown(class_names), fontsize=8, rotation=_rotation(class_names))
        axes.set_yticks(range(len(class_names)), _shown(class_names), fontsize=8)
    axes.set(xlabel="predicted class", ylabel="true class")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def draw_region_history(history, best_epoch):
    """Radii (left) and β, σ² (right) at the end of every epoch."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    radii, adaptive = figure.subplots(1, 2)
    epochs = history["epoch"]
    radii.fill_between(
        epochs, history["radius_min"], history["radius_max"], color="0.8", label="class radii, smallest to largest"
    )
    radii.plot(epochs, history["benchmark_radius"], color=MAJORITY_COLOUR, label="benchmark radius (Eq. 3)")
    radii.plot(epochs, history["upper_bound_radius"], color=MINORITY_COLOUR, label="upper bound (Eq. 4)")
    radii.set(xlabel="epoch", ylabel="length in the feature space", ylim=(0, None))
    adaptive.plot(epochs, history["beta"], color=MAJORITY_COLOUR, label="weight β (Eq. 5)")
    adaptive.plot(epochs, history["margin"], color=MINORITY_COLOUR, label="margin σ² (Eq. 7)")
    adaptive.set(xlabel="epoch", ylabel="β (a number), σ² (a squared length)", ylim=(0, None))
    for axes in (radii, adaptive):
        axes.axvline(best_epoch, color="0.5", linestyle=":", linewidth=1, label="epoch chosen")
        axes.legend(fontsize=8)
    return figure


def draw_latent_space(space, class_counts, class_names):
    """Test features, class centres and regions.

    A circle keeps its radius in a projection, its samples may fall outside of it or into it.

    Args:
        space: see `latent_space.latent_space`.
        class_counts: training samples of each class.
        class_names: list of k names.
    """
    centers, radii = space["centers"], space["radii"]
    named = len(centers) <= MAX_NAMED_CLASSES
    legend_columns = -(-len(centers) // 25) if named else 0
    figure = Figure(figsize=(5.4 + 2 * legend_columns, 6), layout="constrained")
    axes = figure.subplots()
    colours = matplotlib.colormaps["tab10" if len(centers) <= 10 else "turbo"](np.linspace(0, 1, len(centers)))
    names = _shown(class_names)
    for label, (center, radius, colour) in enumerate(zip(centers, radii, colours)):
        own = space["points"][space["labels"] == label]
        name = f"{names[label]} ({class_counts[label]})"
        axes.scatter(*own.T, s=7, color=colour, alpha=0.6, linewidths=0, label=name)
        axes.add_patch(Circle(center, radius, fill=False, color=colour, linewidth=1.6))
        axes.plot(*center, marker="x", color="black", markersize=6)
    axes.set_aspect("equal", adjustable="datalim")
    if space["feature_dim"] > 2:
        axes.set(xlabel="first direction of the centres' spread", ylabel="second direction")
        axes.set_title(f"{space['feature_dim']} features projected onto a plane", fontsize=10)
    else:
        axes.set(xlabel="feature 1", ylabel="feature 2")
    if named:
        place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "ncols": legend_columns}
        legend = axes.legend(title="class (training samples)", fontsize=8, **place)
        for handle in legend.legend_handles:
            handle.set_sizes([30])
            handle.set_alpha(1)
    return figure


def _shown(names):
    """Names as they can be drawn: no formulas between dollar signs, nothing that is no letter."""
    return [str(name).encode(errors="replace").decode().replace("$", r"\$") for name in names]


def _rotation(names):
    return 60 if max(len(name) for name in names) > 4 else 0
