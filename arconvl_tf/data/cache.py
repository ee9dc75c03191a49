"""Where the library keeps what it would otherwise compute again."""

import os
import pathlib
import tempfile


def cache_folder() -> pathlib.Path:
    """`arconvl_tf` in the user's cache folder (`XDG_CACHE_HOME`, or `~/.cache`); it need not exist and may be removed.

    Example:
        >>> cache_folder().name
        'arconvl_tf'
    """
    try:
        folder = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        folder = pathlib.Path(tempfile.gettempdir())
    return folder / "arconvl_tf"
