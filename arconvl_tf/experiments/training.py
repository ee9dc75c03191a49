"""One run: data, model, training, the best epoch's test result, and its record."""

import dataclasses
import functools
import time

import keras
import numpy as np
import tensorflow as tf

from arconvl_tf import backbones, hardware
from arconvl_tf.callbacks import BestEpoch, DeferredReweighting
from arconvl_tf.data import Splits, load_data
from arconvl_tf.experiments import figures
from arconvl_tf.experiments.configuration import RunConfig
from arconvl_tf.experiments.latent_space import latent_space
from arconvl_tf.experiments.methods import method_named
from arconvl_tf.experiments.run_directory import HISTORY, RunDirectory
from arconvl_tf.metrics import ClassWiseAccuracy, GMean, class_recalls, class_wise_accuracy, g_mean
from arconvl_tf.models import ARConvL, PrototypeClassifier

# Steps between two returns to Python: it spares small networks the way back, see notebooks/results/README.md.
STEPS_PER_EXECUTION = 8
DEFERRED_SHARE = 0.8  # of the epochs pass before LDAM's weights set in


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model at its best epoch; `choice` says how that was chosen, `last` is the test result of the last epoch."""

    model: PrototypeClassifier
    best_epoch: int
    choice: str
    last: dict


def run(config: RunConfig, directory: RunDirectory, data_dir: str | None = None, callbacks=()) -> dict:
    """Trains, chooses the epoch with the best validation G-mean, tests it and writes the run directory.

    Args:
        config: what to run.
        directory: created when all input has been checked; a finished run of the same configuration is not repeated,
            an unfinished one is started again.
        data_dir: where TensorFlow Datasets keeps its files.
        callbacks: further Keras callbacks for `fit`.

    Returns:
        The content of `metrics.json`.

    Raises:
        ValueError: on bad options, or when the loss is not finite; `RunDirectoryError` if the directory holds another run
            or another process is at work there.
    """
    if directory.finished(config):
        return directory.metrics()
    started = time.time()
    splits = load_run_data(config, data_dir)
    method_named(config.method).make_objective(splits.class_counts, **config.loss_options)  # refuses bad options
    with directory.locked():
        directory.begin(config)
        try:
            logs = keras.callbacks.CSVLogger(str(directory.file(HISTORY)))
            trained = fit_model(config, splits, [logs, *callbacks])
        except Exception as error:
            directory.fail(f"{type(error).__name__}: {error}")
            raise
        directory.save_model(trained.model)
        directory.save_latent_space(latent_space(trained.model, splits.test))
        metrics = {
            "method": config.method,
            "dataset": config.dataset,
            "imbalance": config.imbalance.factor,
            "seed": config.seed,
            "class_counts": splits.class_counts.tolist(),
            "class_names": splits.class_names,
            "best_epoch": trained.best_epoch,
            "choice": trained.choice,
            "validation": evaluate(trained.model, splits.validation),
            "test": evaluate(trained.model, splits.test),
            "last": trained.last,
            "seconds": round(time.time() - started, 1),
        }
        # A directory without it is an unfinished run; a figure that can't be drawn is no reason to train again.
        directory.finish(metrics)
        figures.draw_run(directory)
    return metrics


def fit_model(config: RunConfig, splits: Splits, callbacks=()) -> Trained:
    """Trains the model of a configuration on data and brings its best epoch back; knows no directory.

    Raises:
        ValueError: on options that the method does not have, or when the loss is not finite.
    """
    keras.utils.set_random_seed(config.seed)
    with hardware.precision(config.precision):
        model = build_model(config, splits)
    epochs = config.recipe.epochs
    last, best = _LastEpoch(splits.test), BestEpoch()
    if "reweighting" in model.objective_state:
        callbacks = [DeferredReweighting(min(round(DEFERRED_SHARE * epochs), epochs - 1)), *callbacks]
    model.fit(
        splits.train,
        validation_data=splits.validation,
        epochs=epochs,
        verbose=0,
        callbacks=[last, best, *callbacks],
    )
    if best.epoch is None:
        raise ValueError(
            "Expected a finite loss on validation. Received: NaN or infinity in every epoch. Lower the learning rate, or "
            "look for a validation picture that is not finite"
        )
    return Trained(model, best.epoch, best.reason, last.result)


class _LastEpoch(keras.callbacks.Callback):
    """Tests the model as it is after the last epoch; stands before `BestEpoch`, which brings another one back."""

    def __init__(self, test):
        super().__init__()
        self.test = test

    def on_train_end(self, logs=None):
        self.result = evaluate(self.model, self.test)


def load_run_data(config: RunConfig, data_dir: str | None = None) -> Splits:
    """The `Splits` a run is trained and judged on."""
    return load_data(
        config.dataset,
        config.imbalance,
        seed=config.seed,
        batch_size=config.recipe.batch_size,
        augmentation=config.recipe.augmentation,
        data_dir=data_dir,
        image_size=config.image_size,
        overlap=config.overlap,
        skip_corrupt=config.skip_corrupt,
    )


def build_model(config: RunConfig, splits: Splits) -> PrototypeClassifier:
    """The compiled model of a run."""
    recipe, steps = config.recipe, len(splits.train)
    backbone = make_backbone(recipe.backbone, splits.image_shape, config.feature_dim, recipe.pixel_scale)
    objective = method_named(config.method).make_objective(splits.class_counts, **config.loss_options)
    sgd = functools.partial(keras.optimizers.SGD, momentum=recipe.momentum)
    drops = [recipe.learning_rate * 0.1**drop for drop in range(len(recipe.learning_rate_drops) + 1)]
    rates = _piecewise(recipe.learning_rate_drops, drops, steps)
    optimizers = {"optimizer": sgd(rates, weight_decay=recipe.weight_decay or None)}
    if objective.learns_radii:
        optimizers["radius_optimizer"] = sgd(_piecewise([recipe.radius_warmup_epochs], recipe.radius_learning_rates, steps))
        model = ARConvL(backbone, **objective.get_config())
    else:
        model = PrototypeClassifier(backbone, num_classes=len(splits.class_counts))
    model.compile(
        **optimizers,
        objective=objective,
        metrics=["accuracy", GMean(), ClassWiseAccuracy()],
        steps_per_execution=STEPS_PER_EXECUTION,
    )
    return model


def make_backbone(name: str, image_shape, feature_dim: int, pixel_scale: float = 1.0) -> keras.Model:
    """One of the paper's networks by name, on pixels multiplied by `pixel_scale`."""
    if name == "simple_cnn":
        network = backbones.simple_cnn(image_shape, feature_dim)
    else:
        network = backbones.resnet(image_shape, int(name.removeprefix("resnet")), feature_dim)
    if pixel_scale == 1:
        return network
    images = keras.Input(image_shape, name="image")
    return keras.Model(images, network(keras.layers.Rescaling(pixel_scale)(images)), name=f"scaled_{name}")


def evaluate(model: PrototypeClassifier, dataset, adjust=None) -> dict:
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


def _piecewise(epochs, values, steps_per_epoch):
    """A learning rate that changes at the start of the given epochs; Keras counts the boundary step to the old value."""
    if not epochs:  # Keras' schedule wants a boundary
        return values[0]
    boundaries = [epoch * steps_per_epoch - 1 for epoch in epochs]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, list(values))
