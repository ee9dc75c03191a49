"""Callbacks for `fit`: keep the best epoch; defer the re-weighting of classes."""

import warnings

import keras
import numpy as np

from arconvl_tf.baselines import LDAMLoss


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the best value of a log, in memory, and restores them when training ends.

    As in the paper a tie goes to the later epoch. An epoch whose loss or value is NaN or infinite never wins: once weights
    have diverged every sample falls into one class, which many a metric takes for an answer. An epoch without validation
    (`validation_freq`) is passed over with a warning.

    Args:
        monitor: the log to maximise; the paper chooses by the validation G-mean.

    Attributes:
        epoch: the best epoch, counted from 0; `None` before the first.
        value: its value.

    Raises:
        ValueError: at the end of an epoch whose logs lack `monitor`.

    Example:
        >>> callback = BestEpoch()
        >>> callback.monitor
        'val_g_mean'
    """

    def __init__(self, monitor="val_g_mean"):
        super().__init__()
        self.monitor = monitor
        self.on_train_begin()

    def on_train_begin(self, logs=None):
        self.epoch, self.value, self._weights = None, -np.inf, None

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.monitor not in logs:
            if not self.monitor.startswith("val_") or any(name.startswith("val_") for name in logs):
                raise ValueError(
                    f"Expected {self.monitor!r} among the logs: compile with that metric. Received: {sorted(logs)}"
                )
            warnings.warn(f"BestEpoch passes over epochs without {self.monitor}: fit got no validation_data for them.")
            return
        value = float(logs[self.monitor])
        diverged = not all(np.isfinite(logs.get(name, 0.0)) for name in ("loss", "val_loss", self.monitor))
        if value >= self.value and not diverged:
            self.epoch, self.value, self._weights = epoch, value, self.model.get_weights()

    def on_train_end(self, logs=None):
        if self._weights is not None:
            self.model.set_weights(self._weights)


class DeferredReweighting(keras.callbacks.Callback):
    """Switches the class weights of `LDAMLoss` on from an epoch onwards.

    They stay on: where `BestEpoch` brings an earlier epoch back, `evaluate` reports another loss than that epoch's log.
    Predictions don't depend on them.

    Args:
        start: the first epoch with weights, counted from 0. The reference takes the last fifth of the training.

    Example:
        >>> DeferredReweighting(start=40).start
        40
    """

    def __init__(self, start):
        super().__init__()
        self.start = start

    def on_train_begin(self, logs=None):
        objective = getattr(self.model, "objective", None)
        if not isinstance(objective, LDAMLoss):
            raise ValueError(f"Expected a model compiled with LDAMLoss. Received: objective={objective!r}")

    def on_epoch_begin(self, epoch, logs=None):
        self.model.objective.reweighting.assign(float(epoch >= self.start))
