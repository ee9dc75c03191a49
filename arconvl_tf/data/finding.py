"""Pictures on disk by name: which files of a folder, a list or a pattern are pictures."""

import glob
import os
import pathlib
from collections.abc import Iterable

IMAGE_SUFFIXES = (
    ".apng", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"
)  # fmt: skip
# What systems and programs leave beside pictures: previews, copies of deleted files, notes on a folder.
RUBBISH = {
    "#recycle", "$recycle.bin", "@eadir", "@recycle", "__macosx", "__pycache__", "desktop.ini", "ehthumbs.db",
    "lost+found", "system volume information", "thumbs.db",
}  # fmt: skip
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def find_images(paths: Iterable[str | os.PathLike]) -> list[pathlib.Path]:
    """The picture files among `paths`.

    Args:
        paths: files, which are taken as they are; folders, each standing for all pictures below it, sorted; and where
            nothing has that name patterns such as `*.jpg` and `**/x*.png`. Links to folders below are not entered.

    Raises:
        ValueError: if a path does not exist, or a folder or pattern yields no picture.
    """
    found = []
    for path in map(pathlib.Path, paths):
        if path.is_dir():
            below = images_below(path)
            if not below:
                suffixes = ", ".join(IMAGE_SUFFIXES)
                raise ValueError(f"Expected pictures ({suffixes}) in {path}. Received: a folder without any")
            found += below
        elif path.exists():
            found.append(path)
        elif glob.has_magic(str(path)):
            matching = _images_matching(path)
            if not matching:
                raise ValueError(f"Expected pictures that match {path}. Received: none")
            found += matching
        else:
            raise ValueError(f"Expected a picture or a folder of pictures. Received: {path}, which does not exist")
    return found


def images_below(folder: str | os.PathLike) -> list[pathlib.Path]:
    """The picture files of a folder and its subfolders, sorted; possibly none.

    Files count by their suffix, and those with none or an unknown one by their first bytes. Hidden ones and rubbish
    (`is_rubbish`) do not count, wherever they lie below the folder. Links to folders are not entered.

    Raises:
        ValueError: if a folder can't be looked into.
    """
    found = []
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not is_rubbish(name)]
        found += [path for path in (pathlib.Path(parent, name) for name in files) if _is_picture(path)]
    return sorted(found)


def is_rubbish(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or one that systems leave behind.

    Example:
        >>> [name for name in ("cat", "_cat", ".cache", "@eaDir", "Thumbs.db", "._cat.jpg") if is_rubbish(name)]
        ['.cache', '@eaDir', 'Thumbs.db', '._cat.jpg']
    """
    return name.startswith(".") or name.lower() in RUBBISH


def _images_matching(pattern):
    """Folders stand for the pictures below them; none is named twice."""
    fixed = next(place for place, part in enumerate(pattern.parts) if glob.has_magic(part))
    base = pathlib.Path(*pattern.parts[:fixed])
    found = {}
    for path in sorted(base.glob("/".join(pattern.parts[fixed:]))):
        if not any(map(is_rubbish, path.relative_to(base).parts)):
            found |= dict.fromkeys(images_below(path) if path.is_dir() else [path] * _is_picture(path))
    return list(found)


def _is_picture(path):
    if is_rubbish(path.name):
        return False
    # By its name alone: a broken link or a file that can't be read shall be named later, not passed over.
    return path.suffix.lower() in IMAGE_SUFFIXES or _begins_like_a_picture(path)


def _begins_like_a_picture(path):
    try:
        if not path.is_file():  # a pipe would wait for ever
            return False
        with path.open("rb") as file:
            start = file.read(18)
    except OSError:
        return False
    return (
        start.startswith(SIGNATURES)
        or (start.startswith(b"RIFF") and start[8:12] == b"WEBP")
        or (start.startswith(b"BM") and start[15:18] == bytes(3))  # of the header's size, which is small
        # Cameras' raw files begin likewise, but have a suffix of their own.
        or (not path.suffix and start.startswith(TIFF_SIGNATURES))
    )


def _refuse(error):
    raise ValueError(f"Expected a folder that can be read. Received: {error.filename} ({error.strerror})")
