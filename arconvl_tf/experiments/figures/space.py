"""The feature space: test samples, centres and regions in a plane, and the regions over the epochs."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from arconvl_tf.experiments.figures.appearance import DPI, MAJORITY_COLOUR, MAX_NAMED_CLASSES, MINORITY_COLOUR, look, shown

MAX_IN_LEGEND = 12  # more are named where they lie


def draw_latent_space(space: dict, class_counts, class_names, points: str = "test samples") -> Figure:
    """Test features, class centres and regions; few classes have a legend, more their names beside the centres.

    A circle keeps its radius in a projection, its samples may fall outside of it or into it. Many in a small part of the
    space would all cover each other, and are left out.

    Args:
        space: see `latent_space.latent_space`; centres that are not finite are left out.
        class_counts: training samples of each class.
        class_names: list of k names.
        points: which samples these are, in words.
    """
    centers, radii, plane = space["centers"], space["radii"], space["feature_dim"] <= 2
    classes = np.flatnonzero(np.isfinite(centers).all(axis=1))
    many = len(centers) > MAX_IN_LEGEND
    # Names are placed by the pixel: what goes on the figure later must not move them, nor change the width of letters.
    figure = Figure(figsize=(10, 10.4), dpi=DPI) if many else Figure(figsize=(7.4, 6), layout="constrained")
    axes = figure.add_axes((0.07, 0.06, 0.91, 0.86)) if many else figure.subplots()
    for label in range(len(centers)):
        own = space["points"][space["labels"] == label]
        axes.scatter(*own.T, s=9, alpha=0.5, linewidths=0, **look(label))
    encircled = [label for label in classes if radii[label] > 0 and (plane or not many)]
    for label in encircled:
        colour = look(label)["color"]
        axes.add_patch(Circle(centers[label], radii[label], fill=False, color=colour, linewidth=1.0 if many else 1.6))
    axes.plot(*centers[classes].T, linestyle="", marker="x", color="black", markersize=4 if many else 6)
    axes.set_aspect("equal", adjustable="datalim")
    about = [] if plane else [f"{space['feature_dim']} features projected onto a plane"]
    if "kept" in space and not plane:
        about[0] += f", which keeps {space['kept']:.0%} of the centres' spread"
    crosses = "their mean in a class" if space.get("centers_are_means", False) else "centre of a class"
    about += [f"points: {points}; ×: {crosses}" + "; circle: its region" * bool(encircled)]
    axes.set_title("\n".join(about), fontsize=9)
    if plane:
        axes.set(xlabel="feature 1", ylabel="feature 2")
    else:
        axes.set(xlabel="first direction of the centres' spread", ylabel="second direction")
    if not many:
        _add_legend(axes, class_counts, class_names)
    elif len(centers) <= MAX_NAMED_CLASSES:
        _name_beside(axes, centers[classes], [class_names[label] for label in classes], [look(label) for label in classes])
    return figure


def _add_legend(axes, class_counts, class_names):
    handles = [
        Line2D([], [], linestyle="", markersize=6, label=f"{shown(name, 24)} ({count})", **look(label))
        for label, (name, count) in enumerate(zip(class_names, class_counts))
    ]
    axes.legend(handles=handles, title="class (training samples)", fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _name_beside(axes, centers, names, looks):
    """Names near the centres, moved apart, with a line to where they belong."""
    figure = axes.figure
    labels = [
        axes.annotate(
            shown(name, 18),
            center,
            xytext=center,
            fontsize=7.5,
            ha="center",
            va="center",
            bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": own["color"], "alpha": 0.85},
            arrowprops={"arrowstyle": "-", "color": own["color"], "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
        )
        for center, name, own in zip(centers, names, looks)
    ]
    figure.draw_without_rendering()  # now the axes and the names have their sizes
    sizes = np.array([label.get_bbox_patch().get_window_extent().size for label in labels]) + 2
    places = placed_apart(axes.transData.transform(centers), sizes, axes.bbox.get_points())
    for label, place in zip(labels, axes.transData.inverted().transform(places)):
        label.xyann = tuple(place)


def placed_apart(anchors: np.ndarray, sizes: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Places for boxes near their anchors, where they cover neither each other nor any anchor.

    One after the other takes the nearest free place, those in the middle of the throng first; where there is none, it lies
    on its anchor.

    Args:
        anchors: shape (m, 2), in pixels.
        sizes: width and height of each box, shape (m, 2).
        frame: ((left, bottom), (right, top)), which they don't leave.

    Returns:
        The boxes' middles, shape (m, 2).

    Example:
        >>> anchors, sizes = np.array([[50.0, 50.0], [50.0, 50.0]]), np.array([[20, 10], [20, 10]])
        >>> placed_apart(anchors, sizes, frame=np.array([[39, 0], [61, 100]])).round().tolist()
        [[50.0, 60.0], [50.0, 40.0]]
    """
    halves = np.asarray(sizes) / 2
    lengths, angles = np.arange(0, np.ptp(frame, axis=0).max(), 5), np.linspace(0, 2 * np.pi, 36, endpoint=False)
    # Ellipses, since names are wide; the nearest first.
    around = (lengths[:, None, None] * np.stack([2 * np.sin(angles), np.cos(angles)], axis=1)).reshape(-1, 2)
    places = np.array(anchors, dtype=float)
    taken, reach = places.copy(), np.full_like(places, 3)  # crosses first, then boxes as they come
    for index in np.argsort(np.linalg.norm(places - np.median(places, axis=0), axis=1), kind="stable"):
        tried = anchors[index] + around
        tried = tried[((tried >= frame[0] + halves[index]) & (tried <= frame[1] - halves[index])).all(axis=1)]
        covering = (np.abs(tried[:, None] - taken) < halves[index] + reach).all(axis=2).any(axis=1)
        if not covering.all():
            places[index] = tried[covering.argmin()]
        taken, reach = np.concatenate([taken, places[index : index + 1]]), np.concatenate([reach, halves[index : index + 1]])
    return places


def draw_region_history(history, best_epoch: int) -> Figure:
    """Radii (left) and β, σ² (right) at the end of every epoch.

    Args:
        history: `history.csv` of an ARConvL run as a table.
        best_epoch: whose model was kept.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    radii, adaptive = figure.subplots(1, 2)
    epochs = history["epoch"]
    one, other = {"color": MAJORITY_COLOUR}, {"color": MINORITY_COLOUR, "linestyle": "--"}
    radii.fill_between(
        epochs, history["radius_min"], history["radius_max"], color="0.8", label="class radii, smallest to largest"
    )
    radii.plot(epochs, history["benchmark_radius"], **one, label="benchmark radius (Eq. 3)")
    radii.plot(epochs, history["upper_bound_radius"], **other, label="upper bound (Eq. 4)")
    radii.set(xlabel="epoch", ylabel="length in the feature space", ylim=(0, None))
    adaptive.plot(epochs, history["beta"], **one, label="weight β (Eq. 5)")
    adaptive.plot(epochs, history["margin"], **other, label="margin σ² (Eq. 7)")
    adaptive.set(xlabel="epoch", ylabel="β (a number), σ² (a squared length)", ylim=(0, None))
    for axes in (radii, adaptive):
        axes.axvline(best_epoch, color="0.5", linestyle=":", linewidth=1, label="epoch chosen")
        axes.legend(fontsize=8)
    return figure
