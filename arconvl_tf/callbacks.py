"""Callbacks for `fit`: keep the best epoch; tell a dataset its epoch; defer the re-weighting of classes."""

import math
import warnings

import keras
import numpy as np
import tensorflow as tf


class BestEpoch(keras.callbacks.Callback):
    """Keeps the best epoch in memory and brings it back when training ends: weights, and the optimizers that go with them.

    As in the paper a tie goes to the later epoch. An epoch whose loss or value is NaN or infinite never wins: once weights
    have diverged every sample falls into one class, which many a metric takes for an answer. An epoch without validation
    (`validation_freq`) is passed over with a warning.

    With a few validation pictures of a class the G-mean may be 0 in every epoch, which says nothing about any of them: then
    the log `second` decides, the class-wise accuracy by default.

    Args:
        monitor: the log to choose by; the paper chooses by the validation G-mean.
        mode: `"max"`, `"min"`, or `"auto"`: losses fall, and metrics say which way is better.
        second: the log that decides while `monitor`, to be maximised, is 0 in every epoch; where there is no such log the
            later epoch wins.

    Attributes:
        epoch: the best epoch, counted from 0; `None` before the first.
        value: its value of `monitor`.
        reason: one sentence on how it was chosen.

    Raises:
        ValueError: at the end of an epoch whose logs lack `monitor`, or where `mode="auto"` can't tell the direction.

    Example:
        >>> BestEpoch("val_loss", mode="min").monitor
        'val_loss'
    """

    def __init__(self, monitor: str = "val_g_mean", *, mode: str = "auto", second: str = "val_class_wise_accuracy"):
        super().__init__()
        if mode not in ("auto", "min", "max"):
            raise ValueError(f'Expected `mode` to be "auto", "min" or "max". Received: mode={mode!r}')
        self.monitor, self.mode, self.second = monitor, mode, second
        self.on_train_begin()

    def on_train_begin(self, logs=None):
        self.epoch, self.value, self._key, self._kept = None, None, (-math.inf,), None
        self._rising, self._always_zero = True, True

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.monitor not in logs:
            if not self.monitor.startswith("val_") or any(name.startswith("val_") for name in logs):
                raise ValueError(
                    f"Expected {self.monitor!r} among the logs: compile with that metric. Received: {sorted(logs)}"
                )
            warnings.warn(f"BestEpoch passes over epochs without {self.monitor}: fit got no validation_data for them.")
            return
        if not all(math.isfinite(logs.get(name, 0.0)) for name in ("loss", "val_loss", self.monitor)):
            return
        value = float(logs[self.monitor])
        self._rising = self.mode == "max" or (self.mode == "auto" and _rises(self.model, self.monitor))
        self._always_zero &= value == 0
        undecided = self._rising and value == 0
        key = (value if self._rising else -value, float(logs.get(self.second, 0.0)) if undecided else 0.0)
        if key >= self._key:
            self.epoch, self.value, self._key = epoch, value, key
            self._kept = [np.array(variable) for variable in _variables(self.model)]

    def on_train_end(self, logs=None):
        if self._kept is not None:
            for variable, value in zip(_variables(self.model), self._kept, strict=True):
                variable.assign(value)

    @property
    def reason(self) -> str:
        if self.epoch is None:
            return f"No epoch had a finite loss and a finite {self.monitor}."
        if self._rising and self._always_zero:
            how = f"the one with the best {self.second}" if any(self._key) else "the last one"
            return f"{self.monitor} was 0 in every epoch, so it could not choose: epoch {self.epoch} is {how}."
        return f"Epoch {self.epoch} has the {'highest' if self._rising else 'lowest'} {self.monitor}, {self.value:.4g}."


def _variables(model):
    """All that an epoch leaves behind: weights, random states, both optimizers, what the objective has switched."""
    optimizer = getattr(model, "optimizer", None)
    return [
        *model.variables,
        *(optimizer.variables if optimizer is not None else []),
        *getattr(model, "objective_state", {}).values(),
    ]


def _rises(model, monitor):
    """Whether a higher value of a log is a better one, as the metric itself says it to Keras."""
    name = monitor.removeprefix("val_")
    if name.endswith("loss"):
        return False
    nested = [[metric, *getattr(metric, "metrics", [])] for metric in model.metrics]
    directions = [getattr(metric, "_direction", None) for metrics in nested for metric in metrics if metric.name == name]
    if not any(directions):
        raise ValueError(f"Expected `mode` to say whether {monitor} should be maximised or minimised. Received: mode='auto'")
    return directions[0] == "up"


class ToldEpoch(keras.callbacks.Callback):
    """Tells a dataset of this library which epoch it draws, so that order and augmentation change from pass to pass.

    `PrototypeClassifier.fit` and `ARConvL.fit` do that by themselves; this is for any other Keras model.

    Args:
        epoch: the variable `Splits.epoch`.

    Example:
        >>> import arconvl_tf as arc
        >>> splits = arc.load_data("digits")
        >>> model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = model.fit(splits.train, epochs=2, callbacks=[ToldEpoch(splits.epoch)], verbose=0)
        >>> int(splits.epoch)
        1
    """

    def __init__(self, epoch: tf.Variable):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch.assign(epoch)


class DeferredReweighting(keras.callbacks.Callback):
    """Switches the class weights of `LDAMLoss` on from an epoch onwards.

    Where `BestEpoch` brings back an earlier epoch, the weights are off again, as they were then.

    Args:
        start: the first epoch with weights, counted from 0. The reference takes the last fifth of the training.

    Example:
        >>> DeferredReweighting(start=40).start
        40
    """

    def __init__(self, start: int):
        super().__init__()
        self.start = start

    def on_train_begin(self, logs=None):
        if "reweighting" not in getattr(self.model, "objective_state", {}):
            received = getattr(self.model, "objective", None)
            raise ValueError(f"Expected a model compiled with LDAMLoss. Received: objective={received!r}")

    def on_epoch_begin(self, epoch, logs=None):
        self.model.objective_state["reweighting"].assign(float(epoch >= self.start))
