"""Classifies pictures with the model of a finished run."""

import numpy as np
import tensorflow as tf

from arconvl_tf.data.images import find_images, read_image
from arconvl_tf.experiments.run_directory import RunDirectory

BATCH_SIZE = 256


def predict_images(directory: RunDirectory, paths) -> tuple[list[dict], list]:
    """Classifies pictures with the best model of a run.

    Args:
        directory: of a finished run.
        paths: picture files, or folders of them.

    Returns:
        (rows, unreadable): a list of dicts, one a picture, with `image` (path), `class` (name), `probability`
        (`softmax(−D)`), `distance` (to the class's centre, a length) and `inside_region` (`None` where the method
        learns no radii; no test of belonging, many samples of a class lie outside its region);
        and the paths of the files that can't be decoded.

    Raises:
        ValueError: if the run isn't finished, a path does not exist or a folder holds no picture.
    """
    model = directory.model()
    class_names = directory.metrics()["class_names"]
    image_shape = model.backbone.input_shape[1:]
    files = find_images(paths)
    rows, unreadable = [], []
    for start in range(0, len(files), BATCH_SIZE):
        readable, pixels = [], []
        for file in files[start : start + BATCH_SIZE]:
            try:
                pixels.append(read_image(file, image_shape))
                readable.append(file)
            except ValueError:
                unreadable.append(file)
        if readable:
            logits = model.predict_on_batch(tf.cast(tf.stack(pixels), tf.float32))
            rows += [_describe(model, class_names, file, row) for file, row in zip(readable, logits)]
    return rows, unreadable


def _describe(model, class_names, file, logits):
    label = int(np.argmax(logits))
    distance = float(np.sqrt(-logits[label]))
    radius = float(model.class_regions.radii.numpy()[label])
    return {
        "image": str(file),
        "class": class_names[label],
        "probability": round(float(tf.nn.softmax(logits)[label]), 6),
        "distance": round(distance, 6),
        "inside_region": distance <= radius if model.objective.learns_radii else None,
    }
