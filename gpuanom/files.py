"""Files that are written whole or not at all, and what stands in the way in words that help."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gpuanom.errors import OutputError, printable
from gpuanom.naming import path_text

_REMEDIES = {
    errno.ENOSPC: "make room on the disk and repeat the command",
    errno.EDQUOT: "make room within your quota and repeat the command",
    errno.EFBIG: "a limit of file sizes was reached (ulimit -f); raise it and repeat the command",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.EISDIR: "a folder has that name; choose another name",
    errno.ENOENT: "its folder does not exist; make the folder first",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another path",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def cannot_be_written(path: Path, error: OSError, remedy: str = "") -> OutputError:
    """The error that tells why a file or folder could not be written, and what helps.

    Parameters
    ----------
    path : Path
        The file or folder that the user asked for.
    error : OSError
        What the system said.
    remedy : str, optional
        What else the user should know, after the remedy for this error.
    """
    what = error.strerror or " ".join(str(error).split()) or type(error).__name__
    advice = "; ".join(text for text in (_REMEDIES.get(error.errno or 0, ""), remedy) if text)
    return OutputError(printable(f"{path_text(path)}: cannot be written: {what}{f' ({advice})' if advice else ''}"))


@contextmanager
def whole_file(path: Path, *, remedy: str = "") -> Iterator[Path]:
    """Write a file whole or not at all.

    The block writes the file whose path it is given, which lies beside `path`. It gets the name `path` when the block
    ends, and is removed when anything goes wrong: a file that was there before is then left as it was. What is no
    regular file (``/dev/stdout``, a named pipe) is written to directly, and of a link the file that it leads to is
    replaced, not the link.

    Parameters
    ----------
    path : Path
        The file to write.
    remedy : str, optional
        What else the error's message should say, behind the remedy for the error itself.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    OutputError
        When the file cannot be written; the message names the file and the remedy.
    """
    try:
        target = _target(path)
        if target is None:
            yield path
            return
        partial = partial_path(target)
        try:
            yield partial
            partial.replace(target)
        finally:
            # A folder of the temporary file's name is not ours to remove.
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    except OutputError:
        raise
    except OSError as error:
        raise cannot_be_written(path, error, remedy) from None


def partial_path(path: Path) -> Path:
    """The file beside `path` that is written first, and renamed when it is whole."""
    return path.with_name(f".{path.name}.partial")


def _target(path: Path) -> Path | None:
    """The file to replace; None for what is no regular file and can only be written to."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        # Also a link that leads nowhere: the file that it names is made.
        return path.resolve() if path.is_symlink() else path
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        return None
    return path.resolve() if path.is_symlink() else path


def make_folder(folder: Path, *, remedy: str = "") -> None:
    """Make a folder, with those that it lies in, where it is missing.

    Parameters
    ----------
    folder : Path
    remedy : str, optional
        What else the error's message should say, behind the remedy for the error itself.

    Raises
    ------
    OutputError
        When it cannot be made; the message names the folder and the remedy.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_be_written(folder, error, remedy) from None


def write_text(path: Path, text: str, *, remedy: str = "") -> None:
    """Write a text file in UTF-8, whole or not at all; line ends stay as they are.

    Raises
    ------
    OutputError
        When the file cannot be written; see `whole_file`.
    """
    with whole_file(path, remedy=remedy) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def require_writable(path: Path) -> None:
    """Check that a file can be written, before minutes are spent on what it will hold.

    Raises
    ------
    OutputError
        When the file cannot be written; see `whole_file`.
    """
    try:
        target = _target(path)
        if target is not None:
            partial = partial_path(target)
            partial.touch()
            partial.unlink()
    except OSError as error:
        raise cannot_be_written(path, error) from None
