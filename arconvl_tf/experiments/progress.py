"""A live progress bar for `fit`: epochs, G-mean and the regions as they stand."""

import keras
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

FEW_STEPS = 5  # an epoch


class RunProgress(keras.callbacks.Callback):
    """Shows one line while a model trains, and before it a hint where an epoch has hardly a step.

    Args:
        console: the rich console to draw on.
        fits: how many models are trained one after the other.
    """

    def __init__(self, console, fits: int = 1):
        super().__init__()
        self._fits, self._fit = fits, 0
        bar = BarColumn(bar_width=24), TaskProgressColumn(), TimeRemainingColumn()
        self._stages = Progress(TextColumn("{task.description}"), *bar, console=console)
        self._progress = Progress(
            TextColumn("{task.fields[fit]}epoch {task.fields[epoch]}"),
            BarColumn(bar_width=12),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            # What a narrow terminal has no room for is cut off here, at its end.
            TextColumn("{task.fields[readout]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            console=console,
            expand=True,
        )

    def on_train_begin(self, logs=None):
        steps = self.params["steps"]
        if steps and steps < FEW_STEPS and not self._fit:
            advice = "So few learn little: try a smaller --batch-size or more --epochs."
            self._progress.console.print(f"Steps in an epoch: {steps}. {advice}")
        self._end_stages()
        epochs = self.params["epochs"]
        self._done = self._fit * epochs
        self._fit += 1
        fit = f"model {self._fit} of {self._fits}, " if self._fits > 1 else ""
        if self._fit == 1:
            self._task = self._progress.add_task("train", total=self._fits * epochs, epoch=0, readout="starting", fit=fit)
            self._progress.start()
        self._progress.update(self._task, fit=fit)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._progress.update(self._task, completed=self._done + epoch, epoch=epoch)

    def on_train_batch_end(self, batch, logs=None):
        # The logs stay untouched: reading them would make every step wait for its result.
        share = (batch + 1) / self.params["steps"] if self.params["steps"] else 0.0
        self._progress.update(self._task, completed=self._done + self._epoch + share)

    def on_epoch_end(self, epoch, logs=None):
        self._progress.update(self._task, completed=self._done + epoch + 1, readout=readout(logs))

    def on_train_end(self, logs=None):
        if self._fit == self._fits:
            self.stop()

    def stop(self):
        """Gives the terminal its cursor back; also after an interruption."""
        self._end_stages()
        self._progress.stop()

    def stage(self, description: str):
        """A bar for what comes before training: a function of (done, total), which draws it when it is first called."""
        tasks = []

        def tell(done, total):
            if not tasks:
                tasks.append(self._stages.add_task(description))
                self._stages.start()
            self._stages.update(tasks[0], completed=done, total=total)

        return tell

    def _end_stages(self):
        if self._stages.live.is_started:
            self._stages.stop()


def readout(logs):
    """One short line of what matters in a log.

    Example:
        >>> readout({"loss": 1.25, "val_g_mean": 0.5})
        'loss 1.25 · validation G-mean 0.500'
    """
    shown = {
        "loss": "loss {:.3g}",
        "val_g_mean": "validation G-mean {:.3f}",
        "beta": "β {:.2f}",
        "margin": "σ² {:.2f}",
        "radius_min": "radii {:.2f}",
        "radius_max": "–{:.2f}",
    }
    parts = [text.format(float(logs[name])) for name, text in shown.items() if name in logs]
    return " · ".join(parts).replace(" · –", "–")
