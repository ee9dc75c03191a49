"""One run: data, model, training, the best epoch's test result, and the directory that records them."""

import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import time

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import hardware
from arconvl_tf.baselines import LDAMLoss
from arconvl_tf.callbacks import BestEpoch, DeferredReweighting
from arconvl_tf.data import load_data
from arconvl_tf.experiments import figures
from arconvl_tf.experiments.recipes import DEFERRED_SHARE, RunConfig, make_backbone, make_objective
from arconvl_tf.metrics import ClassWiseAccuracy, GMean, class_recalls, class_wise_accuracy, g_mean
from arconvl_tf.models import ARConvL, PrototypeClassifier

# Steps between two returns to Python: it spares small networks the way back, see the README under "Speed".
STEPS_PER_EXECUTION = 8


class RunDirectoryError(ValueError):
    """The run directory holds something else than the run asked for."""


def run(config, directory, data_dir=None, callbacks=()):
    """Trains, chooses the epoch with the best validation G-mean, tests it and writes the run directory.

    Args:
        config: `RunConfig`.
        directory: created when all input has been checked; a finished run of the same configuration is not repeated,
            an unfinished one is started again.
        data_dir: where TensorFlow Datasets keeps its files.
        callbacks: further Keras callbacks for `fit`.

    Returns:
        The content of `metrics.json`.

    Raises:
        ValueError: on bad options, or when the loss is not finite in any epoch; `RunDirectoryError` if the directory holds another run.
    """
    started = time.time()
    directory = pathlib.Path(directory)
    if finished(directory, config):
        return read_metrics(directory)

    keras.utils.set_random_seed(config.seed)
    splits = load_run_data(config, data_dir)
    with hardware.precision(config.precision):
        model = build_model(config, splits)

    directory.mkdir(parents=True, exist_ok=True)
    _write_json(directory / "config.json", {**config.to_dict(), "versions": versions()})
    best = BestEpoch()
    logs = keras.callbacks.CSVLogger(str(directory / "history.csv"))
    if isinstance(model.objective, LDAMLoss):
        start = min(round(DEFERRED_SHARE * config.recipe.epochs), config.recipe.epochs - 1)
        callbacks = [DeferredReweighting(start), *callbacks]
    model.fit(
        splits.train,
        validation_data=splits.validation,
        epochs=config.recipe.epochs,
        verbose=0,
        shuffle=False,  # the dataset shuffles itself
        callbacks=[best, logs, *callbacks],
    )
    if best.epoch is None:
        raise ValueError(
            "Expected a finite loss. Received: NaN or infinity in every epoch. Lower the learning rate, or the loss's numbers"
        )
    model.save(directory / "best.keras")
    metrics = {
        "method": config.method,
        "dataset": config.dataset,
        "imbalance": config.imbalance,
        "seed": config.seed,
        "class_counts": splits.class_counts.tolist(),
        "class_names": splits.class_names,
        "best_epoch": best.epoch,
        "validation": evaluate(model, splits.validation),
        "test": evaluate(model, splits.test),
        "seconds": round(time.time() - started, 1),
    }
    # A directory without it is an unfinished run; a figure that can't be drawn is no reason to train again.
    _write_json(directory / "metrics.json", metrics)
    figures.draw_run(directory, model, splits, metrics)
    return metrics


def finished(directory, config):
    """Whether the directory holds this run, finished.

    Raises:
        RunDirectoryError: if it holds another run, or files that no run wrote.
    """
    directory = pathlib.Path(directory)
    if not directory.exists():
        return False
    if not directory.is_dir():
        raise RunDirectoryError(f"Expected a directory for the run. Received: {directory}, which is a file")
    if not (directory / "config.json").exists():
        if any(directory.iterdir()):
            raise RunDirectoryError(f"Expected an empty or new directory. {directory} holds files that are not a run's")
        return False
    held, wanted = [_flat(run_config.to_dict()) for run_config in (read_config(directory), config)]
    differing = [name for name in wanted | held if held.get(name) != wanted.get(name)]
    if differing:
        raise RunDirectoryError(
            f"{directory} holds another run, with "
            + ", ".join(f"{name} {held.get(name)} in place of {wanted.get(name)}" for name in differing)
            + ". Choose another directory with --out, or remove this one"
        )
    return (directory / "metrics.json").exists()


def read_config(directory):
    """The `RunConfig` of a run directory.

    Raises:
        RunDirectoryError: if there is none.
    """
    path = pathlib.Path(directory) / "config.json"
    try:
        values = json.loads(path.read_text())
        values.pop("versions", None)
        return RunConfig.from_dict(values)
    except OSError as error:
        raise RunDirectoryError(f"Expected a run directory with a config.json. Received: {directory}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise RunDirectoryError(f"Expected the configuration of a run in {path}. Received: something else") from error


def read_metrics(directory):
    """The content of `metrics.json` of a finished run.

    Raises:
        RunDirectoryError: if there is none, or what is there is not a run's.
    """
    path = pathlib.Path(directory) / "metrics.json"
    try:
        metrics = json.loads(path.read_text())
        metrics["class_names"], metrics["test"]["recall"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunDirectoryError(f"Expected a finished run. Received: {directory}, which has no metrics.json") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunDirectoryError(f"Expected the metrics of a run in {path}. Remove it, and the run starts again") from error
    return metrics


def load_model(directory):
    """The best model of a finished run.

    Raises:
        RunDirectoryError: if the run isn't finished.
    """
    read_metrics(directory)  # written when all is done
    path = pathlib.Path(directory) / "best.keras"
    if not path.exists():
        raise RunDirectoryError(f"Expected a finished run. Received: {directory}, which has no best.keras")
    return keras.models.load_model(path)


def load_run_data(config, data_dir=None):
    """The `Splits` a run is trained and judged on."""
    recipe = config.recipe
    return load_data(
        config.dataset,
        imbalance=config.imbalance,
        minority=config.minority,
        profile=config.profile,
        keep=config.keep,
        seed=config.seed,
        batch_size=recipe.batch_size,
        augmentation=recipe.augmentation,
        data_dir=data_dir,
        image_size=config.image_size,
        overlap=config.overlap,
        skip_corrupt=config.skip_corrupt,
    )


def check_run_data(directory, splits):
    """Refuses data that have changed since the run: another drawing might test on pictures it was trained on.

    Only classes and numbers of samples are compared: files that were exchanged or renamed are not noticed.

    Raises:
        RunDirectoryError: if classes or their numbers of samples differ from those of `metrics.json`.
    """
    metrics = read_metrics(directory)
    wanted = {name: metrics[name] for name in ("class_names", "class_counts")}
    wanted["test samples"] = np.sum(metrics["test"]["confusion"], axis=1).tolist()
    found = [splits.class_names, splits.class_counts.tolist(), splits.split_counts["test"].tolist()]
    for (name, before), now in zip(wanted.items(), found):
        if now != before:
            raise RunDirectoryError(f"Expected the data of the run, with {name} {before}. Received: {now}")


def build_model(config, splits):
    """The compiled model of a run."""
    recipe, steps = config.recipe, len(splits.train)
    backbone = make_backbone(recipe.backbone, splits.image_shape, config.feature_dim)
    objective = make_objective(config.method, splits.class_counts, **config.loss_options)
    drops = [recipe.learning_rate * 0.1**drop for drop in range(len(recipe.learning_rate_drops) + 1)]
    optimizers = {"optimizer": keras.optimizers.SGD(_piecewise(recipe.learning_rate_drops, drops, steps))}
    if objective.learns_radii:
        radius_rates = _piecewise([recipe.radius_warmup_epochs], recipe.radius_learning_rates, steps)
        optimizers["radius_optimizer"] = keras.optimizers.SGD(radius_rates)
        model = ARConvL(backbone, **objective.get_config())
    else:
        model = PrototypeClassifier(backbone, len(splits.class_counts))
    model.compile(
        **optimizers,
        objective=objective,
        metrics=["accuracy", GMean(), ClassWiseAccuracy()],
        steps_per_execution=STEPS_PER_EXECUTION,
    )
    return model


def evaluate(model, dataset, adjust=None):
    """The measures of `metrics.json` on a dataset of (images, labels).

    Args:
        model: a `PrototypeClassifier`.
        dataset: batches of (images, labels).
        adjust: optional function of the logits (n, k), for instance a post-hoc logit adjustment.
    """
    num_classes = model.num_classes
    confusion = np.zeros((num_classes, num_classes), dtype="int64")
    for images, labels in dataset:
        logits = model.predict_on_batch(images)
        predicted = tf.argmax(logits if adjust is None else adjust(logits), axis=1)
        confusion += tf.math.confusion_matrix(labels, predicted, num_classes, dtype=tf.int64).numpy()
    recalls = class_recalls(confusion)
    return {
        "g_mean": float(g_mean(recalls)),
        "class_wise_accuracy": float(class_wise_accuracy(recalls)),
        "recall": [None if np.isnan(recall) else float(recall) for recall in recalls],
        "confusion": confusion.tolist(),
    }


def versions():
    """Versions and settings of what a result may depend on, in its last digits at least."""
    packages = ("arconvl_tf", "tensorflow", "keras", "numpy", "scikit-learn", "tensorflow-datasets")
    found = {"python": platform.python_version(), "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "TensorFlow's choice")}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _flat(values):
    """One level of names, as JSON keeps them: what the recipe and the loss options hold stands beside the rest."""
    rest = json.loads(json.dumps(values))
    return rest.pop("recipe") | rest.pop("loss_options") | rest


def _piecewise(epochs, values, steps_per_epoch):
    """A learning rate that changes at the start of the given epochs; Keras counts the boundary step to the old value."""
    if not epochs:  # Keras' schedule wants a boundary
        return values[0]
    boundaries = [epoch * steps_per_epoch - 1 for epoch in epochs]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, list(values))


def _write_json(path, values):
    path.write_text(json.dumps(values, indent=1) + "\n")
