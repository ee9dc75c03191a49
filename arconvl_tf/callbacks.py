"""Callbacks for `fit`: keep the best epoch; defer the re-weighting of classes."""

import keras
import numpy as np


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the best value of a log, in memory, and restores them when training ends.

    As in the paper a tie goes to the later epoch, and an epoch whose value is NaN never wins.

    Args:
        monitor: the log to maximise; the paper chooses by the validation G-mean.

    Attributes:
        epoch: the best epoch, counted from 0; `None` before the first.
        value: its value.

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
        if self.monitor not in (logs or {}):
            raise ValueError(
                f"Expected {self.monitor!r} among the logs: pass validation_data and compile with that metric. "
                f"Received: {sorted(logs or {})}"
            )
        value = float(logs[self.monitor])
        if value >= self.value:
            self.epoch, self.value, self._weights = epoch, value, self.model.get_weights()

    def on_train_end(self, logs=None):
        if self._weights is not None:
            self.model.set_weights(self._weights)


class DeferredReweighting(keras.callbacks.Callback):
    """Switches the class weights of `LDAMLoss` on from an epoch onwards.

    Args:
        start: the first epoch with weights, counted from 0. The reference takes the last fifth of the training.

    Example:
        >>> DeferredReweighting(start=40).start
        40
    """

    def __init__(self, start):
        super().__init__()
        self.start = start

    def on_epoch_begin(self, epoch, logs=None):
        self.model.objective.reweighting.assign(float(epoch >= self.start))
