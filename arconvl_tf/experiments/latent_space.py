"""What the figure of the latent space shows: features, centres and radii, in a plane."""

import numpy as np

MAX_POINTS_PER_CLASS = 200


def latent_space(model, dataset) -> dict[str, np.ndarray]:
    """Features of a dataset beside the model's regions; features longer than two are projected onto a plane.

    The plane is the one that keeps most of the centres' spread (and where they lie on a line, most of what else the features
    spread). Distances in it are at most the true ones. The rows of a linear head are no places: in place of centres stand
    the means of the classes' features then.

    Args:
        model: a trained `PrototypeClassifier`.
        dataset: batches of (images, labels).

    Returns:
        `points` (m, 2) and their `labels` (m,), the first 200 of every class; `centers` (k, 2), as means NaN of a class
        without samples; `radii` (k,), zeros where the method learns none; `feature_dim`; `kept`, the plane's share of the
        centres' spread; `centers_are_means`.
    """
    features, labels = _features(model, dataset)
    means = model.head == "linear"
    centers = _class_means(features, labels, model.num_classes) if means else model.class_regions.centers.numpy()
    radii = model.class_regions.radii.numpy() if model.objective.learns_radii else np.zeros(len(centers))
    feature_dim, kept = centers.shape[1], 1.0
    if feature_dim > 2 and np.isfinite(features).all() and np.isfinite(centers).any():
        origin, plane, kept = _plane(centers[np.isfinite(centers).all(axis=1)], features)
        features, centers = (features - origin) @ plane, (centers - origin) @ plane
    if feature_dim == 1:
        features, centers = (np.pad(values, ((0, 0), (0, 1))) for values in (features, centers))
    shown = [np.flatnonzero(labels == label)[:MAX_POINTS_PER_CLASS] for label in range(len(centers))]
    shown = np.concatenate(shown)
    return {
        "points": features[shown, :2],
        "labels": labels[shown],
        "centers": centers[:, :2],
        "radii": radii,
        "feature_dim": np.array(feature_dim),
        "kept": np.array(kept),
        "centers_are_means": np.array(means),
    }


def _plane(centers, features):
    """Origin (d,), directions (d, 2) and their share of the centres' spread."""
    origin = centers.mean(axis=0)
    spread, directions = np.linalg.svd(centers - origin, full_matrices=False)[1:]
    across = 2 if len(spread) > 1 and spread[1] > 1e-5 * spread[0] else 1
    plane = directions[:across]
    if across == 1:
        rest = features - origin
        rest = rest - rest @ plane.T @ plane
        plane = np.concatenate([plane, np.linalg.svd(rest.T @ rest)[2][:1]])
    return origin, plane.T, (spread[:2] ** 2).sum() / max((spread**2).sum(), np.finfo("float32").tiny)


def _class_means(features, labels, num_classes):
    own = [features[labels == label] for label in range(num_classes)]
    nothing = np.full(features.shape[1], np.nan, "float32")
    return np.stack([each.mean(axis=0) if len(each) else nothing for each in own])


def _features(model, dataset):
    features, labels = [], []
    for images, batch_labels in dataset:
        features.append(np.asarray(model.backbone.predict_on_batch(images), dtype="float32"))
        labels.append(np.asarray(batch_labels))
    return np.concatenate(features), np.concatenate(labels)
