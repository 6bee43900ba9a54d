"""The limits of the operating system: the number of open files, and refusals to read a file.

When the system refuses to read a file, nothing is known about the file's content. Reading is tried
again a few times; then the file is reported with the system's own reason. A file is called damaged
only where its bytes show the damage.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard, TypeVar

from gpuanom.errors import InputError

Result = TypeVar("Result")

PAUSES = (0.05, 0.25, 1.0)
"""Seconds to wait before each further attempt."""
_MOST_WAITING = 60.0
"""Seconds to wait in all without a success: a file server that is down must not cost a second for every file."""

_MISSING = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP))
_FINAL = _MISSING | {
    *(errno.EACCES, errno.EPERM, errno.EISDIR, errno.EINVAL, errno.ENXIO, errno.EOVERFLOW, errno.ENOSPC, errno.EDQUOT),
    errno.EROFS,
}
"""Refusals that stay the same after waiting a second."""

_OF_NETWORKS = (
    *(errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
    *(errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNRESET, errno.ECONNABORTED, errno.EREMOTEIO, errno.EREMCHG),
    errno.ENOLINK,
)
_NETWORK = "the network file system does not answer: check the connection and repeat the command, which tries again"
_REMEDIES = {
    **dict.fromkeys(_OF_NETWORKS, _NETWORK),
    errno.EMFILE: "raise the limit: ulimit -n 4096; or use fewer --threads; the next run tries again",
    errno.ENFILE: "the whole machine has too many files open: end other programs; the next run tries again",
    errno.ENOMEM: "free some memory, or use fewer --threads; the next run tries again",
    errno.EIO: "the disk or the network failed: check the system's log; the next run tries again",
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
    errno.ENOENT: "restore the file, or give --relocate OLD=NEW where its folder was moved",
    errno.ENOSPC: "make room there, or set TMPDIR to a folder with room",
    errno.EDQUOT: "make room there, or set TMPDIR to a folder with room",
}

_lock = threading.Lock()
_left = _MOST_WAITING


def python_command(*arguments: str) -> list[str]:
    """Return a command for this Python; with `python_environment` it finds the same modules as this process."""
    return [sys.executable, "-P", *arguments]  # -P: nothing from the folder that the command is run in


def python_environment() -> dict[str, str]:
    """Return this process's environment, with the folders in which this process finds modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.curdir for path in sys.path)}


def reuse_memory() -> None:
    """Let this process keep the memory that it frees, for what it needs next, until it ends.

    The C library gives large arrays back to the system, which clears the memory before it gives that out again. The
    tables of a survey need many such arrays, one after the other: this takes a twentieth of their time.
    """
    set_memory_options({M_MMAP_MAX: 0, M_ARENA_MAX: 1, M_TRIM_THRESHOLD: 2**31 - 1})
    # pyarrow, which is imported later, would have memory of its own.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8
"""Numbers of options in glibc's malloc.h."""


def set_memory_options(options: Mapping[int, int]) -> None:
    """Set options of how the C library hands out memory; another library than glibc is left as it is.

    Parameters
    ----------
    options : mapping of int to int
        Values by the numbers of the options, such as `M_TRIM_THRESHOLD`.
    """
    with suppress(OSError, AttributeError):
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
        for option, value in options.items():
            mallopt(option, value)


def raise_open_files() -> None:
    """Raise this process's limit of open files to the highest number that the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # some systems grant less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_files() -> int:
    """Return how many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft


def is_refusal(error: BaseException) -> TypeGuard[OSError]:
    """Whether the system refused something; an `OSError` without errno comes from a decoder that found damage."""
    return isinstance(error, OSError) and error.errno is not None


def patiently(task: Callable[[], Result], before_again: Callable[[], object] = lambda: None) -> Result:
    """Call a function that the system may refuse temporarily, with growing pauses until it succeeds.

    Parameters
    ----------
    task : callable
        Called up to four times, once more than there are `PAUSES`.
    before_again : callable, optional
        Called before each further attempt, for instance to close files.

    Returns
    -------
    object
        What `task` returns.

    Raises
    ------
    OSError
        The last refusal. A refusal that waiting does not change, such as a missing permission, is
        raised at once.
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
    """Return the error for a file that the system refuses to open or to read.

    Parameters
    ----------
    error : OSError
        The system's refusal.
    path : path-like
        The file.
    what : str, optional
        What could not be done, for the message.

    Returns
    -------
    InputError
        With the system's reason and the remedy. Its status is ``unreadable``: the next run tries
        again.
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
    """Whether a path leads to a regular file; a path that the system refuses to look up counts as one.

    Opening such a file then reports the system's reason, so that no file is left out in silence.
    """
    try:
        return stat.S_ISREG(patiently(path.stat).st_mode)
    except ValueError:  # the path holds a null character
        return False
    except OSError as error:
        return error.errno not in _MISSING


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
