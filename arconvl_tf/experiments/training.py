"""One run: data, model, training, the test result of the epoch that was chosen, and its record."""

import dataclasses
import time

import keras
import numpy as np

from arconvl_tf import hardware
from arconvl_tf.callbacks import BestEpoch, DeferredReweighting
from arconvl_tf.data import Splits
from arconvl_tf.data.catalog import is_own
from arconvl_tf.data.folds import shared_groups
from arconvl_tf.data.pipeline import evaluation_dataset
from arconvl_tf.experiments import figures
from arconvl_tf.experiments.configuration import RunConfig
from arconvl_tf.experiments.evaluation import evaluate, outcome
from arconvl_tf.experiments.latent_space import latent_space
from arconvl_tf.experiments.methods import method_named
from arconvl_tf.experiments.networks import build_model, joined
from arconvl_tf.experiments.predictions import judged, prediction_rows, read_rows, write_rows
from arconvl_tf.experiments.preparation import ALL, Prepared, fingerprint, load_pictures, prepare, split_pictures
from arconvl_tf.experiments.run_directory import (
    FOLD_PREDICTIONS,
    HISTORY,
    TEST_PREDICTIONS,
    TRAINING_PREDICTIONS,
    RunDirectory,
)
from arconvl_tf.models import PrototypeClassifier

DEFERRED_SHARE = 0.8  # of the epochs pass before LDAM's weights set in
NOTABLE_SHARE = 0.02  # of test pictures with a near-duplicate in training


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model at the epoch that was chosen.

    `choice` says how that was; `last` is the test result of the last epoch, `None` where it is that epoch; `training` is
    what the last epoch's log says of the training samples: `accuracy`, `class_wise_accuracy`, `g_mean`.
    """

    model: PrototypeClassifier
    best_epoch: int
    choice: str
    last: dict | None
    training: dict


def run(config: RunConfig, directory: RunDirectory, data_dir: str | None = None, callbacks=(), progress=None) -> dict:
    """Trains, chooses an epoch, tests it and writes the run directory.

    Args:
        config: what to run.
        directory: created when all input has been checked; a finished run of the same configuration is not repeated,
            an unfinished one is started again.
        data_dir: where TensorFlow Datasets keeps its files.
        callbacks: further Keras callbacks for `fit`.
        progress: see `preparation.load_pictures`.

    Returns:
        The content of `metrics.json`.

    Raises:
        ValueError: on bad options, or when the loss is not finite; `RunDirectoryError` if the directory holds another run
            or another process is at work there.
    """
    finished = directory.finished(config)
    if finished and not is_own(config.dataset):
        return directory.metrics()
    started = time.time()
    method_named(config.method).make_objective([1, 1], **config.loss_options)  # refuses bad options
    pictures = load_pictures(config, data_dir, progress)
    contents = fingerprint(config, pictures)
    if finished:
        directory.check_data(None if config.folds else split_pictures(config, pictures), contents)
        return directory.metrics()
    prepared = prepare(config, pictures, progress)
    with directory.locked():
        directory.begin(config, contents)
        try:
            logs = keras.callbacks.CSVLogger(str(directory.file(HISTORY)))
            test = _cross_validate if config.folds else _hold_out
            trained, result = test(prepared, directory, logs, callbacks)
        except Exception as error:
            directory.fail(f"{type(error).__name__}: {error}")
            raise
        directory.save_model(trained.model if prepared.lower is None else joined(prepared.lower, trained.model))
        metrics = {
            "method": config.method,
            "dataset": config.dataset,
            "imbalance": config.imbalance.factor,
            "seed": config.seed,
            **result,
            "reading": pictures.reading and pictures.reading.to_dict(),
            "seconds": round(time.time() - started, 1),
        }
        # A directory without it is an unfinished run; a figure that can't be drawn is no reason to train again.
        directory.finish(metrics)
        figures.draw_run(directory)
    return metrics


def _hold_out(prepared, directory, logs, callbacks):
    """Trains once, and tests on the side that was set aside."""
    config, splits = prepared.config, prepared.splits()
    trained = fit_model(config, splits, [logs, *callbacks], prepared.upper)
    rows = _tested(trained, splits, "test", directory, TEST_PREDICTIONS)
    if is_own(config.dataset):
        _tested(trained, splits, "train", directory, TRAINING_PREDICTIONS)
    directory.save_latent_space(latent_space(trained.model, splits.test))
    return trained, {
        "class_counts": splits.class_counts.tolist(),
        "class_names": splits.class_names,
        "best_epoch": trained.best_epoch,
        "choice": trained.choice,
        "validation": None if splits.validation is None else evaluate(trained.model, splits.validation),
        "test": judged(rows, splits.class_names, interval=is_own(config.dataset)),
        "last": trained.last,
        "remarks": remarks(prepared, [splits], trained),
    }


def _cross_validate(prepared, directory, logs, callbacks):
    """Every fold is tested by a model of all others; the model that is kept is trained on them all.

    Predictions are kept fold by fold, so that an interrupted run goes on with the next one.
    """
    config, rows = prepared.config, []
    folds = [prepared.splits(fold) for fold in range(config.folds)]
    for fold, splits in enumerate(folds, start=1):
        path = directory.file(FOLD_PREDICTIONS.format(fold))
        if not path.exists():
            trained = fit_model(config, splits, callbacks, prepared.upper)
            if fold == 1:
                directory.save_latent_space(latent_space(trained.model, splits.test))
            _tested(trained, splits, "test", directory, path.name, fold)
        rows.append(read_rows(path))
    everything = prepared.splits(ALL)
    trained = fit_model(config, everything, [logs, *callbacks], prepared.upper)
    pooled = [row for own in rows for row in own]
    write_rows(directory.file(TEST_PREDICTIONS), pooled)
    return trained, {
        "class_counts": everything.class_counts.tolist(),
        "class_names": everything.class_names,
        "best_epoch": trained.best_epoch,
        "choice": trained.choice,
        "folds": [judged(own, everything.class_names, interval=False) for own in rows],
        "validation": None,
        "test": judged(pooled, everything.class_names, interval=True),
        "last": None,
        "remarks": remarks(prepared, folds, trained),
    }


def _tested(trained, splits, part, directory, file_name, fold=None):
    """Writes what the model answers for one part of the splits, and reads it again."""
    side = splits.parts[part]
    tested = outcome(trained.model, evaluation_dataset(side, splits.image_shape))
    write_rows(directory.file(file_name), prediction_rows(side, tested, trained.model, splits.class_names, fold))
    return read_rows(directory.file(file_name))


def remarks(prepared: Prepared, folds: list[Splits], trained: Trained) -> list[str]:
    """What the user should know beside the figures, a sentence each."""
    found = list(prepared.pictures.remarks)
    shares = [share for splits in folds if (share := prepared.share_of_duplicates(splits)) is not None]
    if shares and np.mean(shares) > NOTABLE_SHARE:
        found.append(
            f"{np.mean(shares):.0%} of the test pictures have a near-duplicate among those that were trained on: the result "
            "flatters. Keep them together with --keep-duplicates-together, or --group-by what they have in common."
        )
    tested = sum(splits.split_counts["test"] for splits in folds)
    absent = [name for name, count in zip(folds[0].class_names, tested) if not count]
    if absent:
        found.append(f"No test sample of class {', '.join(absent)}: the G-mean is that of the other classes.")
    parts = folds[0].parts
    if len(folds) == 1 and parts["train"].groups is not None and parts["test"].groups is not None:
        both = shared_groups(parts["train"].groups, parts["test"].groups)
        if both:
            found.append(f"{len(both)} groups stand in training and in test, {both[0]} for one: the result flatters.")
    learnt, chance = trained.training["class_wise_accuracy"], 1 / len(folds[0].class_names)
    if learnt < (1 + chance) / 2:
        found.append(
            f"The training samples themselves are hardly learnt: class-wise accuracy {learnt:.2f} in the last epoch. Try "
            "more --epochs, another --learning-rate, a smaller --batch-size, or a pretrained --backbone."
        )
    return found


def fit_model(config: RunConfig, splits: Splits, callbacks=(), upper: keras.Model | None = None) -> Trained:
    """Trains the model of a configuration on data; knows no directory.

    Args:
        config: of the run.
        splits: of pictures or vectors, or of the activations that `upper` takes.
        callbacks: further Keras callbacks.
        upper: the upper part of a pretrained network; it stays as it is, a copy learns.

    Raises:
        ValueError: on options that the method does not have, or when the loss is not finite.
    """
    keras.utils.set_random_seed(config.seed)
    with hardware.precision(config.precision):
        model = build_model(config, splits, upper)
    epochs = config.recipe.epochs
    last, best, log = _LastEpoch(splits.test), BestEpoch(), keras.callbacks.History()
    if "reweighting" in model.objective_state:
        callbacks = [DeferredReweighting(min(round(DEFERRED_SHARE * epochs), epochs - 1)), *callbacks]
    chosen = [last, best] if config.recipe.choice == "validation" else []
    model.fit(
        splits.train,
        validation_data=splits.validation,
        epochs=epochs,
        verbose=0,
        callbacks=[log, *chosen, *callbacks],
    )
    training = {name: log.history[name][-1] for name in ("accuracy", "class_wise_accuracy", "g_mean")}
    if not chosen:
        return Trained(model, epochs - 1, "The last epoch: the recipe sets no validation samples aside.", None, training)
    if best.epoch is None:
        raise ValueError(
            "Expected a finite loss on validation. Received: NaN or infinity in every epoch. Lower the learning rate, or "
            "look for a validation picture that is not finite"
        )
    return Trained(model, best.epoch, best.reason, last.result, training)


class _LastEpoch(keras.callbacks.Callback):
    """Tests the model as it is after the last epoch; stands before `BestEpoch`, which brings another one back."""

    def __init__(self, test):
        super().__init__()
        self.test = test

    def on_train_end(self, logs=None):
        self.result = evaluate(self.model, self.test)
