"""What the figure of the latent space shows: features, centres and radii, in a plane."""

import numpy as np

MAX_POINTS_PER_CLASS = 200


def latent_space(model, dataset) -> dict[str, np.ndarray]:
    """Features of a dataset beside the model's regions; features longer than two are projected onto a plane.

    The plane is the one that keeps most of the centres' spread. Distances in it are at most the true ones.

    Args:
        model: a trained `PrototypeClassifier`.
        dataset: batches of (images, labels).

    Returns:
        `points` (m, 2) and their `labels` (m,), the first 200 of every class; `centers` (k, 2); `radii` (k,), zeros where
        the method learns none; `feature_dim`, a number.
    """
    features, labels = _features(model, dataset)
    centers = model.class_regions.centers.numpy()
    radii = model.class_regions.radii.numpy() if model.objective.learns_radii else np.zeros(len(centers))
    feature_dim = centers.shape[1]
    if feature_dim > 2 and np.isfinite(centers).all():
        origin = centers.mean(axis=0)
        plane = np.linalg.svd(centers - origin, full_matrices=False)[2][:2].T
        features, centers = (features - origin) @ plane, (centers - origin) @ plane
    shown = [np.flatnonzero(labels == label)[:MAX_POINTS_PER_CLASS] for label in range(len(centers))]
    shown = np.concatenate(shown)
    return {
        "points": features[shown, :2],
        "labels": labels[shown],
        "centers": centers[:, :2],
        "radii": radii,
        "feature_dim": np.array(feature_dim),
    }


def _features(model, dataset):
    features, labels = [], []
    for images, batch_labels in dataset:
        features.append(np.asarray(model.backbone.predict_on_batch(images), dtype="float32"))
        labels.append(np.asarray(batch_labels))
    return np.concatenate(features), np.concatenate(labels)
