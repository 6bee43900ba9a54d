"""Writing files whole or not at all, and the errors that say why a file cannot be written and what helps."""

from __future__ import annotations

import bz2
import errno
import fcntl
import gzip
import lzma
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from gpuanom.errors import OutputError, printable
from gpuanom.paths import path_text

_REMEDIES = {
    errno.ENOSPC: "make room on the disk and repeat the command",
    errno.EDQUOT: "make room within your quota and repeat the command",
    errno.EFBIG: "a limit of file sizes was reached (ulimit -f); raise it and repeat the command",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.EISDIR: "a folder has that name; choose another name",
    errno.ENOENT: "the folder does not exist; make it first",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.EEXIST: "a file has this name, and a folder is to be made; choose another path",
    errno.ENAMETOOLONG: "choose a shorter name",
}

FITS = "FITS file"
LABELS = "file of people's labels"
MODEL = "trained model"
"""What messages call files that nothing but a file of their own kind replaces."""

_FITS_START = b"SIMPLE  ="
"""The first bytes of every FITS file, also of the .fz files that fpack writes."""
_STORE_START = b"SQLite format 3\0"
"""The first bytes of a database, such as the measurements of a night."""
_LABELS_START = b"exposure,camera,kind,label,"
"""The first bytes of the labels that `gpuanom label` and the report keep: hours of people's work."""
_MODEL_START = b'{"__metadata__":{"gpuanom":'
"""The first bytes of a model behind the 8 bytes that say how long its header is: hours of a GPU."""
_START_LENGTH = 8 + len(_MODEL_START)
_PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""How files that a program packed whole are opened, by their first bytes."""


def cannot_be_written(path: Path, error: OSError, remedy: str = "") -> OutputError:
    """Return the error that says why a file or folder could not be written, and what helps.

    Parameters
    ----------
    path : Path
        The file or folder that the user asked for.
    error : OSError
        The error that the system raised.
    remedy : str, optional
        What else the user should know: it follows the remedy for this error.

    Returns
    -------
    OutputError
        To be raised by the caller.
    """
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    number = error.errno or 0
    if reason.startswith("Not enough space on disk"):  # as astropy says it, with the bytes that it asked for
        number, reason = errno.ENOSPC, os.strerror(errno.ENOSPC)
    usual_remedy = _REMEDIES.get(number, "")
    if number in (errno.EEXIST, errno.ENOENT) and (link := _broken_link(path)):
        reason, usual_remedy = link
    advice = "; ".join(text for text in (usual_remedy, remedy) if text)
    return OutputError(printable(f"{path_text(path)}: cannot be written: {reason}{f' ({advice})' if advice else ''}"))


def _broken_link(path: Path) -> tuple[str, str] | None:
    """What is wrong with a path, and what helps, where the path or a folder of the path is a link that leads nowhere.

    A folder on a disk that is not mounted is such a link.
    """
    with suppress(OSError):
        for part in (path, *path.parents):
            if part.is_symlink() and not part.exists():
                shown = "it" if part == path else path_text(part)
                return f"{shown} is a link to {path_text(part.readlink())}, which does not exist", "mend the link"
    return None


def require_replaceable(path: Path, *, same: str = "") -> None:
    """Refuse to replace what no command makes again in a moment: by a slip such a file has the name of the output.

    Parameters
    ----------
    path : Path
        The file that will be written. Its content decides, whatever its name is, also inside a gzip, bzip2 or xz file.
    same : str, optional
        One of `FITS`, `LABELS` and `MODEL`, where such a file is written and may replace an earlier one.

    Raises
    ------
    OutputError
        When the file is there and holds FITS, people's labels or a model, or is a database.
    """
    try:
        regular = _target(path) is not None
    except OSError:
        return  # what keeps the file from being written is said when it is written
    if regular and (kind := _precious(path)) and kind != same:
        raise OutputError(
            printable(f"{path_text(path)}: is a {kind} and is not replaced (choose another name for the output)")
        )


def _precious(path: Path) -> str:
    """What a regular file is that no output may replace; empty for any other, and for one that is missing or damaged.

    The words are those of the message.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_START_LENGTH)
            if start.startswith(_STORE_START):
                return "database, as it keeps the measurements of a night,"
            if start.startswith(_LABELS_START):
                return LABELS
            if start[8:] == _MODEL_START:
                return MODEL
            for magic, unpacked in _PACKED.items():
                if start.startswith(magic):
                    file.seek(0)
                    start = unpacked(file).read(len(_FITS_START))
                    break
    except (OSError, EOFError, lzma.LZMAError):
        return ""  # what keeps the file from being written is said when it is written
    return FITS if start.startswith(_FITS_START) else ""


@contextmanager
def whole_file(path: Path, *, remedy: str = "", same: str = "") -> Iterator[Path]:
    """Write a file whole or not at all.

    The block writes to a temporary file beside `path`. When the block ends, the temporary file is
    renamed to `path`; when an error occurs, the temporary file is removed, and a file that existed
    before is left as it was. Where `path` is a link, the file that the link leads to is replaced,
    not the link. Where `path` is no regular file (``/dev/stdout``, a named pipe), the block writes
    to `path` itself. FITS files, labels and models are replaced by nothing but files of their kind,
    and a database by nothing.

    Parameters
    ----------
    path : Path
        The file to write.
    remedy : str, optional
        What else an error message should say, after the remedy for the error itself.
    same : str, optional
        One of `FITS`, `LABELS` and `MODEL`, where such a file is written and may replace an earlier one.

    Yields
    ------
    Path
        The file to which the block writes.

    Raises
    ------
    OutputError
        When the file cannot be written, or would replace a file that is not to be lost; the message names the file and
        the remedy.
    """
    try:
        require_replaceable(path, same=same)
        target = _target(path)
        if target is None:
            yield path
            return
        with _partial_alone(target) as partial:
            try:
                yield partial
                partial.replace(target)
            finally:
                # A folder that happens to have the temporary file's name is not removed.
                with suppress(OSError):
                    partial.unlink(missing_ok=True)
    except OutputError:
        raise
    except OSError as error:
        raise cannot_be_written(path, error, remedy) from None


def partial_path(path: Path) -> Path:
    """The file beside `path` that is written first, and renamed when it is whole."""
    return path.with_name(f".{path.name}.partial")


@contextmanager
def _partial_alone(target: Path) -> Iterator[Path]:
    """A temporary file beside `target` that nobody else writes: two programs may write one file at the same time.

    The usual name is taken by the program that locks the folder, so that a killed program leaves no more than one file.
    """
    with _locked(target.parent, wait=False) as alone:
        of_this_thread = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.partial")
        yield partial_path(target) if alone else of_this_thread


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one program at a time read, change and write files of a folder; others wait for the block to end.

    Parameters
    ----------
    folder : Path
        The folder to lock. On a file system without locks nobody waits.
    """
    with _locked(folder, wait=True):
        yield


@contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Lock a folder, and tell whether no other program has locked it. Without locks no other program is known of."""
    lock, alone = -1, True
    try:
        with suppress(OSError):  # a folder that may not be read, or a file system without locks
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                alone = False
        yield alone
    finally:
        if lock >= 0:
            os.close(lock)


def _target(path: Path) -> Path | None:
    """Return the file to replace; None where the path is no regular file and can only be written to."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        # The same for a link that leads nowhere: the file that the link names is made.
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


def write_text(path: Path, text: str, *, remedy: str = "", same: str = "") -> None:
    """Write a text file in UTF-8, whole or not at all.

    Parameters
    ----------
    path : Path
        The file to write.
    text : str
        The file's content; line ends are written as they are.
    remedy : str, optional
        What else an error message should say, after the remedy for the error itself.
    same : str, optional
        See `whole_file`.

    Raises
    ------
    OutputError
        When the file cannot be written; see `whole_file`.
    """
    with whole_file(path, remedy=remedy, same=same) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def require_writable(path: Path, *, same: str = "") -> None:
    """Check that a file can be written, before minutes are spent on computing its content.

    Parameters
    ----------
    path : Path
        The file to write.
    same : str, optional
        See `whole_file`.

    Raises
    ------
    OutputError
        When the file cannot be written, or would replace a file that is not to be lost; see `whole_file`.
    """
    require_replaceable(path, same=same)
    try:
        target = _target(path)
        if target is not None:
            with _partial_alone(target) as partial:  # another program may be writing this very file
                partial.touch()
                partial.unlink()
    except OSError as error:
        raise cannot_be_written(path, error) from None


def state_of(path: Path) -> State | None:
    """Return the state of a file, which differs when the file has changed; None where there is no such file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


State: TypeAlias = tuple[int, int, int, int]
"""Inode and size of a file, and the times of its last changes in nanoseconds."""
