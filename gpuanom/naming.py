"""The order of ids, and paths as text: what names things in stores and tables."""

from __future__ import annotations

import errno
import re
from pathlib import Path

_NUMBER = re.compile(r"(\d+)")


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key of an exposure's or CCD's id: CCD2 comes before CCD10, and distinct ids never tie."""
    parts = _NUMBER.split(name)
    return tuple((1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts)), name


def path_text(path: str | Path) -> str:
    """A path as text that any encoding can hold: bytes that are no UTF-8 are shown escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def absolute(path: str | Path) -> Path:
    """A path that leads to the same file from every folder.

    The folder is not followed through links, so that a user finds the path as it was given; only where the path holds
    ``..`` its folder is resolved, since what ``..`` means depends on links.
    """
    whole = Path(path).absolute()
    if ".." not in whole.parts:
        return whole
    try:
        return whole.parent.resolve() / whole.name
    except (OSError, RuntimeError):  # a link that leads to itself
        return whole


def exists(path: Path) -> bool:
    """Whether a path leads to something; what the system refuses to look up for a moment counts as there."""
    try:
        path.stat()
    except ValueError:  # a null character
        return False
    except OSError as error:
        return error.errno in _FOR_A_MOMENT
    return True


_FOR_A_MOMENT = frozenset((errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM))
