"""What the operating system grants: how many files may be open, and what to do when it refuses to read one.

A refusal says nothing about the file's content. It is tried again a few times, and then reported with the system's
own reason; only what the bytes themselves show is called damaged.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard, TypeVar

from gpuanom.errors import InputError

Result = TypeVar("Result")

PAUSES = (0.05, 0.25, 1.0)
"""Seconds between the attempts to do what the system has refused."""
_MOST_WAITING = 60.0
"""Seconds that refusals without a success in between may cost: a server that is gone must not cost a second a file."""

_NOT_THERE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP))
_FINAL = _NOT_THERE | {
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.EINVAL,
    errno.ENXIO,
    errno.EOVERFLOW,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
}
"""Refusals that waiting for a second does not change."""

_NETWORK = (
    "the network file system does not answer properly just now: check it and repeat the command, which tries again"
)
_REMEDIES = {
    errno.EMFILE: "raise the limit: ulimit -n 4096; or use fewer --threads; the next run tries again",
    errno.ENFILE: "the whole machine has too many files open: end other programs; the next run tries again",
    errno.ENOMEM: "free some memory, or use fewer --threads; the next run tries again",
    errno.EIO: "the disk or the network failed to read it: check the system's log; the next run tries again",
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
    errno.ENOENT: "restore it",
    errno.ENOSPC: "make room there, or set TMPDIR to a folder with room",
    errno.EDQUOT: "make room there, or set TMPDIR to a folder with room",
}
for _name in (
    "ESTALE",
    "ETIMEDOUT",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "ENETDOWN",
    "ENETUNREACH",
    "ENOTCONN",
    "ESHUTDOWN",
    "ECONNRESET",
    "ECONNABORTED",
    "EREMOTEIO",
    "EREMCHG",
    "ENOLINK",
):
    if hasattr(errno, _name):
        _REMEDIES[getattr(errno, _name)] = _NETWORK

_lock = threading.Lock()
_left = _MOST_WAITING


def raise_open_files() -> None:
    """Raise this process's limit of open files to the most that the system grants it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # some systems grant less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_files() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft


def is_refusal(error: BaseException) -> TypeGuard[OSError]:
    """Whether the system refused something; an `OSError` without a number comes from a decoder that met damage."""
    return isinstance(error, OSError) and error.errno is not None


def patiently(task: Callable[[], Result], before_again: Callable[[], object] = lambda: None) -> Result:
    """Do what the system may refuse for a moment, a few times with growing pauses.

    Parameters
    ----------
    task : callable
        May be called several times.
    before_again : callable, optional
        Called before each further attempt, for instance to let files go.

    Raises
    ------
    OSError
        The last refusal; at once where waiting does not change it, such as a missing permission.
    """
    global _left
    for pause in PAUSES:
        try:
            result = task()
        except OSError as error:
            if not is_refusal(error) or error.errno in _FINAL:
                raise
            with _lock:
                if _left < pause:
                    raise
                _left -= pause
            time.sleep(pause)
            before_again()
        else:
            if _left < _MOST_WAITING:
                with _lock:
                    _left = _MOST_WAITING
            return result
    return task()


def refused(error: OSError, path: str | os.PathLike[str], what: str = "cannot be read") -> InputError:
    """Return what is said of a file that the system refuses to open or to read: its reason, and the remedy.

    Returns
    -------
    InputError
        Status ``unreadable``: the next run tries again.
    """
    number = error.errno
    reason = os.strerror(number) if number is not None else str(error)
    message = f"{what}: {reason}"
    if number in (errno.EACCES, errno.EPERM):
        message = "no permission to read it"
    elif number == errno.ENOENT:
        message = "does not exist any more"
    remedy = _REMEDIES.get(number or 0, "check the path; the next run tries again")
    return InputError(message, file=path, remedy=remedy)


def may_be_file(path: Path) -> bool:
    """Whether a regular file is there; one that the system refuses to look up counts as there.

    Where that is so, opening the file says why the system refuses; nothing is left out in silence.
    """
    try:
        return stat.S_ISREG(patiently(path.stat).st_mode)
    except ValueError:  # a null character in its name
        return False
    except OSError as error:
        return error.errno not in _NOT_THERE
