"""A run's directory: what is in it, in which state it is, and how its files are written so that none is ever half there."""

import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import socket

from arconvl_tf.experiments.configuration import RunConfig

CONFIG, HISTORY, MODEL, METRICS, FAILED = "config.json", "history.csv", "best.keras", "metrics.json", "failed.json"
LATENT_SPACE, LOCK, UNFINISHED = "latent_space.npz", "run.lock", "unfinished-"
VERSIONS, FINGERPRINT = "versions", "fingerprint"  # beside the configuration in its file
TEST_PREDICTIONS, TRAINING_PREDICTIONS = "test_predictions.csv", "training_predictions.csv"
FOLD_PREDICTIONS = "fold-{}.csv"


class RunDirectoryError(ValueError):
    """The run directory holds something else than the run asked for."""


class RunDirectory:
    """The record of one run.

    `config.json` holds all that is needed to run it again; `history.csv` an epoch a line; `best.keras` the model;
    `latent_space.npz` what the figure of that name shows; `test_predictions.csv` an answer a line (with folds first in
    `fold-1.csv`, …; of own data without folds there is `training_predictions.csv` as well); `metrics.json` the result;
    `failed.json` why there is none.
    A directory without `metrics.json` is unfinished.

    Args:
        path: of the directory, which need not exist.

    Example:
        >>> RunDirectory("runs/no-such-run").state
        'new'
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)

    def __str__(self):
        return str(self.path)

    def file(self, name: str) -> pathlib.Path:
        return self.path / name

    # ------------------------------------------------------------------------------------------------------ reading

    @property
    def state(self) -> str:
        """`"new"`, `"running"` (or interrupted), `"trained"` (but not yet tested), `"finished"` or `"failed"`."""
        by_file = {METRICS: "finished", FAILED: "failed", MODEL: "trained", CONFIG: "running"}
        return next((state for name, state in by_file.items() if self.file(name).exists()), "new")

    def config(self) -> RunConfig:
        """The configuration of the run.

        Raises:
            RunDirectoryError: if there is none.
        """
        values = {name: value for name, value in self._held().items() if name not in (VERSIONS, FINGERPRINT)}
        try:
            return RunConfig.from_dict(values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunDirectoryError(
                f"Expected the configuration of a run in {self.file(CONFIG)}. Received: something else"
            ) from error

    def _held(self):
        """The content of `config.json`."""
        path = self.file(CONFIG)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RunDirectoryError(f"Expected a run directory with a config.json. Received: {self}") from error
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise RunDirectoryError(f"Expected the configuration of a run in {path}. Received: something else")
        return values

    def metrics(self) -> dict:
        """The content of `metrics.json`.

        Raises:
            RunDirectoryError: if there is none, or what is there is not a run's.
        """
        path = self.file(METRICS)
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"))
            metrics["class_names"], metrics["test"]["recall"]
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RunDirectoryError(f"Expected a finished run. Received: {self}, which has no metrics.json") from error
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunDirectoryError(f"Expected a run's metrics in {path}. Remove it, and the run starts again") from error
        return metrics

    def model(self):
        """The best model of the finished run.

        Raises:
            RunDirectoryError: if the run isn't finished.
        """
        import keras

        self.metrics()  # written when all is done
        if not self.file(MODEL).exists():
            raise RunDirectoryError(f"Expected a finished run. Received: {self}, which has no best.keras")
        return keras.models.load_model(self.file(MODEL))

    def finished(self, config: RunConfig) -> bool:
        """Whether the directory holds this run, finished.

        Raises:
            RunDirectoryError: if it holds another run, or files that no run wrote.
        """
        if not self.path.exists():
            return False
        if not self.path.is_dir():
            raise RunDirectoryError(f"Expected a directory for the run. Received: {self}, which is a file")
        if self.state == "new":
            if any(file.name != LOCK and not file.name.startswith(UNFINISHED) for file in self.path.iterdir()):
                raise RunDirectoryError(f"Expected an empty or new directory. {self} holds files that are not a run's")
            return False
        differences = config.differences(self.config())
        if differences:
            raise RunDirectoryError(
                f"{self} holds another run, with {', '.join(differences)}. Choose another directory with --out, or remove "
                "this one"
            )
        return self.state == "finished"

    def check_data(self, splits, fingerprint: str | None) -> None:
        """Refuses data that have changed since the run: another drawing might test on samples it was trained on.

        Args:
            splits: as the run would have them now.
            fingerprint: see `preparation.fingerprint`. Where there is none, or the run is older than version 0.3, only
                classes and numbers of samples are compared.

        Raises:
            RunDirectoryError: if contents, labels, groups or their order differ.
        """
        metrics, before = self.metrics(), self._held().get(FINGERPRINT)
        if None in (before, fingerprint):
            wanted = {name: metrics[name] for name in ("class_names", "class_counts")}
            wanted["test samples"] = [sum(row) for row in metrics["test"]["confusion"]]
            found = [splits.class_names, splits.class_counts.tolist(), splits.split_counts["test"].tolist()]
            for (name, then), now in zip(wanted.items(), found, strict=True):
                if now != then:
                    raise RunDirectoryError(f"Expected the data of the run, with {name} {then}. Received: {now}")
        elif fingerprint != before:
            raise RunDirectoryError(
                f"Expected the data that {self} was trained on. Received: others, or other labels, groups or names. Choose "
                "another directory with --out, or remove this one"
            )

    # ------------------------------------------------------------------------------------------------------ writing

    @contextlib.contextmanager
    def locked(self):
        """Holds the directory for this process, and creates it; a lock whose process is gone is taken over.

        Raises:
            RunDirectoryError: if another process is at work there.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = self.file(LOCK)
        if not _is_held(lock):
            lock.unlink(missing_ok=True)
        try:
            with lock.open("x", encoding="utf-8") as file:  # of two that come at once, one gets it
                json.dump({"process": os.getpid(), "host": socket.gethostname()}, file)
        except FileExistsError:
            raise RunDirectoryError(
                f"Expected a directory that no other process writes to. {lock} says that one does: if not, remove that file"
            ) from None
        try:
            yield self
        finally:
            lock.unlink(missing_ok=True)

    def begin(self, config: RunConfig, fingerprint: str | None = None) -> None:
        """Writes the configuration, and forgets what an earlier attempt left; of the same data, finished folds stay."""
        for name in (FAILED, MODEL, HISTORY):
            self.file(name).unlink(missing_ok=True)
        if not self.file(CONFIG).exists() or self._held().get(FINGERPRINT) != fingerprint:
            for fold in self.path.glob(FOLD_PREDICTIONS.format("*")):
                fold.unlink()
        self._write_json(CONFIG, {**config.to_dict(), FINGERPRINT: fingerprint, VERSIONS: versions()})

    def save_model(self, model) -> None:
        unfinished = self.file(UNFINISHED + MODEL)
        model.save(unfinished)
        os.replace(unfinished, self.file(MODEL))

    def save_latent_space(self, arrays: dict) -> None:
        import numpy as np

        unfinished = self.file(UNFINISHED + LATENT_SPACE)
        np.savez_compressed(unfinished, **arrays)
        os.replace(unfinished, self.file(LATENT_SPACE))

    def finish(self, metrics: dict) -> None:
        self._write_json(METRICS, metrics)

    def fail(self, reason: str) -> None:
        self._write_json(FAILED, {"reason": reason})

    def _write_json(self, name, values):
        _write(self.file(name), json.dumps(values, indent=1) + "\n")


def versions() -> dict:
    """Versions and settings of what a result may depend on, in its last digits at least."""
    packages = ("arconvl_tf", "tensorflow", "keras", "numpy", "scikit-learn", "tensorflow-datasets")
    found = {"python": platform.python_version(), "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "TensorFlow's choice")}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _write(path, text):
    """Beside the file first, then renamed: whoever reads sees the old content or the new one."""
    unfinished = path.with_name(UNFINISHED + path.name)
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def _is_held(lock):
    try:
        owner = json.loads(lock.read_text(encoding="utf-8"))
        if owner["host"] != socket.gethostname():
            return True
        os.kill(owner["process"], 0)
    except PermissionError:  # a process of somebody else's
        return True
    except (OSError, ValueError, KeyError, TypeError):  # no lock, one that was cut off, or a process that is gone
        return False
    return owner["process"] != os.getpid()
