"""Files of weights."""

import os
import pathlib


def existing_file(path: str | os.PathLike) -> str:
    """The path, if there is a file; a `ValueError` otherwise."""
    if not pathlib.Path(path).is_file():
        raise ValueError(
            "Expected `weights` to be 'imagenet', None or the path of a file. Received: "
            f"weights={os.fspath(path)!r}, which is no file. Check the path"
        )
    return os.fspath(path)


def load_weights(network, path: str | os.PathLike) -> None:
    """Keras' `load_weights`, whose complaints become one line.

    Args:
        network: a Keras model.
        path: of a file that Keras saved: `.weights.h5`, `.keras` or `.h5`.

    Raises:
        ValueError: if there is no such file, or it holds other weights than the network's.
    """
    path = existing_file(path)
    try:
        network.load_weights(path)
    except Exception as error:  # h5py, zipfile and Keras raise many kinds
        reason = str(error).strip().partition("\n")[0][:200]
        raise ValueError(
            f"Expected the weights of {network.name}, without a classifier, as Keras saves them (.weights.h5, .keras, .h5). "
            f"Received: {path} ({reason}). Name another file, or the network it belongs to"
        ) from None
