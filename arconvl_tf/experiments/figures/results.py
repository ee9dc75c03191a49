"""What a run's test says, class by class: recalls with their intervals, and the confusion matrix."""

import numpy as np
from matplotlib.figure import Figure  # not pyplot: whoever imports this keeps the display that was chosen
from matplotlib.lines import Line2D

from arconvl_tf.experiments.figures.appearance import (
    MAJORITY_COLOUR,
    MAX_NAMED_CLASSES,
    MINORITY_COLOUR,
    is_rare,
    shown,
)

COMMON = {"color": MAJORITY_COLOUR, "marker": "o", "label": "more training samples than the mean"}
RARE = {"color": MINORITY_COLOUR, "marker": "D", "label": "fewer"}


def draw_recalls(test: dict, intervals, class_counts, class_names) -> Figure:
    """Test recall of every class with its interval; rare classes in another colour and form.

    Args:
        test: `g_mean`, `confusion` and, if there is one, `g_mean_interval`, as in `metrics.json`.
        intervals: (low, high) of each recall, shape (k, 2), NaN of a class without test samples.
        class_counts: training samples of each class.
        class_names: list of k names.
    """
    tested = np.sum(test["confusion"], axis=1)
    recalls = np.diag(test["confusion"]) / np.where(tested, tested, np.nan)
    draw = _named_recalls if len(recalls) <= MAX_NAMED_CLASSES else _many_recalls
    figure = Figure(figsize=(14, 4), layout="constrained")
    axes = figure.subplots()
    draw(figure, axes, recalls, np.asarray(intervals), tested, class_counts, class_names)
    interval = test.get("g_mean_interval")
    title = f"G-mean {test['g_mean']:.3f}" + (f", {interval[0]:.3f} to {interval[1]:.3f}" if interval else "")
    kinds = [kind for kind, present in ((COMMON, ~is_rare(class_counts)), (RARE, is_rare(class_counts))) if present.any()]
    handles = [Line2D([], [], markersize=6, **kind) for kind in kinds]
    letters = {"fontsize": 8, "title_fontsize": 9, "frameon": False}
    figure.legend(handles=handles, title=title, loc="outside lower center", ncols=2, **letters)
    return figure


def _named_recalls(figure, axes, recalls, intervals, tested, counts, names):
    """A line a class: names need no turning, however many there are."""
    figure.set_size_inches(7, 1.5 + max(0.26 * len(recalls), 0.8))
    rows = np.arange(len(recalls))
    for rare, kind in ((False, COMMON), (True, RARE)):
        own = is_rare(counts) == rare
        axes.hlines(rows[own], *intervals[own].T, color=kind["color"], linewidth=1.6)
        axes.plot(recalls[own], rows[own], linestyle="", markersize=6, color=kind["color"], marker=kind["marker"])
    axes.set_yticks(rows, [f"{shown(name)} ({count})" for name, count in zip(names, counts)], fontsize=8)
    for row, (recall, number) in enumerate(zip(recalls, tested)):
        said = f"{recall:.2f} of {number}" if number else "not tested"
        axes.text(1.02, row, said, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    axes.grid(axis="x", color="0.9")
    axes.grid(axis="y", color="0.95")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.4, -0.6))
    axes.set_xlabel(
        "test recall, with its 95 % interval for independent samples\n(in brackets: training samples)", fontsize=9
    )


def _many_recalls(figure, axes, recalls, intervals, tested, counts, names):
    """A column a class, the frequent ones first."""
    order = np.argsort(-np.asarray(counts), kind="stable")
    places = np.arange(len(order))
    for rare, kind in ((False, COMMON), (True, RARE)):
        own = is_rare(counts)[order] == rare
        axes.vlines(places[own], *intervals[order][own].T, color=kind["color"], linewidth=0.5, alpha=0.5)
        axes.plot(places[own], recalls[order][own], linestyle="", markersize=2.5, color=kind["color"], marker=kind["marker"])
    axes.set(xlim=(-1, len(order)), ylim=(-0.02, 1.02), xlabel="class, by falling number of training samples")
    axes.set_ylabel("test recall, with its 95 % interval\nfor independent samples")


def draw_confusion(confusion, class_names) -> Figure:
    """The test confusion matrix: colours are shares of the true class, numbers are samples."""
    confusion = np.asarray(confusion)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    classes = len(class_names)
    named = classes <= MAX_NAMED_CLASSES
    size = max(4.5, (0.5 if classes <= 20 else 0.3) * classes + 1) if named else 10
    letters = 8 if classes <= 20 else 6
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if named:
        for row, column in np.argwhere(confusion > 0):
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, confusion[row, column], ha="center", va="center", fontsize=letters, color=colour)
        names = [shown(name) for name in class_names]
        turned = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 4 else {}
        axes.set_xticks(range(classes), names, fontsize=8, **turned)
        axes.set_yticks(range(classes), names, fontsize=8)
    axes.set(xlabel="predicted class", ylabel="true class")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure
