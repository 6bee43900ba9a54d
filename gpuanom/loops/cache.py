"""Where compiled loops are kept: in the user's cache folder, never in an installation.

Numba would write its files into ``__pycache__`` beside the sources. Those files stay when the
package is uninstalled, and their folder then hides a checkout of the same name from Python. So the
compiled loops are written to ``<user's cache folder>/gpuanom/numba/<versions and processor>/``, or
below NUMBA_CACHE_DIR where that variable is set. Installations share them (`gpuanom.loops.digest`).
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import llvmlite.binding as llvm
import numba
import platformdirs
from numba.core.caching import CompileResultCacheImpl, FunctionCache

from gpuanom import compiling
from gpuanom.errors import GpuanomError
from gpuanom.loops import compile_ahead
from gpuanom.loops.digest import digest

PATIENCE = 60.0
"""Seconds to wait for another process that compiles the same loop, before this process compiles the loop itself."""
_PAUSE = 0.02
MOST_STATES = 4
"""States of a function of which the compiled code is kept: those of different versions of the package."""


class ClaimedError(GpuanomError):
    """Another process is compiling the same loop."""


def folder() -> Path | None:
    """Return the folder of the compiled loops that this Python on this processor can use.

    Returns
    -------
    Path or None
        The folder need not exist, nor be writable. None without a home folder, and so without a
        cache folder.
    """
    base = Path(numba.config.CACHE_DIR) if numba.config.CACHE_DIR else _users()
    return base / _versions() if base else None


def _users() -> Path | None:
    named = Path(platformdirs.user_cache_dir("gpuanom", appauthor=False))
    # Without HOME and without an entry in the password database, "~" stays as it is.
    return named / "numba" if named.is_absolute() else None


@cache
def _versions() -> str:
    """Return the name of a folder for the versions and the processor that compiled code depends on.

    Machines of several kinds may share a home folder. Numba numbers its files without a lock: in
    one folder, the code of two processors could be exchanged when both are written at the same
    time.
    """
    processor = llvm.get_host_cpu_name()
    features = hashlib.sha256(llvm.get_host_cpu_features().flatten().encode()).hexdigest()[:8]
    python = f"{sys.implementation.name}{sys.version_info.major}{sys.version_info.minor}{getattr(sys, 'abiflags', '')}"
    return f"{numba.__version__}-{python}-{processor}-{features}"


class _FunctionFolder:
    """The folder in which one compiled function is kept (a "locator" in Numba's words)."""

    def __init__(self, function: Any, base: Path) -> None:
        # All installations share the folder: the files of different functions have different digests in their names.
        self._digest = digest(function)
        self._path = base / function.__module__

    @classmethod
    def from_function(cls, function: Any, _file: str) -> _FunctionFolder | None:
        """Return the folder of a function; None where nothing can be kept."""
        base = folder()
        if base is None:
            return None
        found = cls(function, base)
        try:
            found.ensure_cache_path()
        except OSError:
            # A folder that cannot be written may hold code that another user compiled.
            return found if found._path.is_dir() else None
        return found

    def ensure_cache_path(self) -> None:
        """Make the folder; raise an OSError where it cannot be written to."""
        self._path.mkdir(parents=True, exist_ok=True)
        # The permissions alone do not show that a disk is full or read-only.
        tempfile.TemporaryFile(dir=self._path).close()

    def get_cache_path(self) -> str:
        """Return the folder of this function's files."""
        return str(self._path)

    def get_source_stamp(self) -> str:
        """Return a text that changes whenever the compiled code would."""
        return self._digest

    def get_disambiguator(self) -> str:
        """Return a text that distinguishes functions of the same name, and states of the same function."""
        return self._digest[:16]


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = [_FunctionFolder]  # noqa: RUF012 (Numba's own)


class FunctionFiles(FunctionCache):  # type: ignore[misc]
    """The compiled code of one function on disk. Damaged files count as missing; a full disk means compiling again."""

    _impl_class = _Implementation

    def __init__(self, function: Any, *, wait: bool = True) -> None:
        super().__init__(function)
        self._wait = wait
        self._claim: BinaryIO | None = None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load the compiled function; report that it is being compiled where there is none.

        Parameters
        ----------
        sig : Numba signature
        target_context : Numba context
            As Numba gives them.

        Returns
        -------
        Numba compile result, or None
            None where Numba has to compile the function.

        Raises
        ------
        ClaimedError
            Where another process compiles the function and this one does not wait.
        """
        found = self._kept(sig, target_context)
        if found is None and not os.access(self._cache_path, os.W_OK):
            compiling.begun(compiling.LOOPS_NOT_KEPT)
        elif found is None:
            compiling.begun(compiling.LOOPS)
            compile_ahead.begin()
            self._claim_it()
            found = self._kept(sig, target_context)  # another process may have compiled the function meanwhile
        return found

    def _claim_it(self) -> None:
        """Lock the function's file, so that no other process compiles the function meanwhile; see `release`."""
        deadline = time.monotonic() + (PATIENCE if self._wait else 0.0)
        with suppress(OSError):  # a file system without locks costs time, no result
            self._claim = (Path(self._cache_path) / f"{self._impl.filename_base}.lock").open("wb")
            while True:
                try:
                    fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    if not self._wait:
                        self.release()
                        raise ClaimedError("another process is compiling this loop") from None
                    if time.monotonic() > deadline:
                        return
                time.sleep(_PAUSE)

    def release(self) -> None:
        """Let other processes compile the function, or load what was compiled."""
        if self._claim:
            self._claim.close()
            self._claim = None

    def _kept(self, sig: Any, target_context: Any) -> Any:
        """Load the compiled function; None where no file holds it, or only a damaged one."""
        try:
            return self._loaded(sig, target_context)
        except Exception:  # unpickling a damaged file may raise anything
            with suppress(OSError):
                self.flush()
        return None

    def _loaded(self, sig: Any, target_context: Any) -> Any:
        """Load the compiled function without what only compiling needs.

        Numba itself first imports all that it can compile, with scipy.linalg among it: half a second for a process
        that finds all its loops compiled. Compiled code needs Numba's memory functions alone, which are made here.
        """
        try:
            from numba.core.runtime import rtsys

            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)
        except (ImportError, AttributeError):  # another version of Numba, with other names
            return super().load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a compiled function to disk, where that is possible.

        Parameters
        ----------
        sig : Numba signature
        data : Numba compile result
            As Numba gives them.
        """
        with suppress(OSError):
            super().save_overload(sig, data)
            self._forget_earlier_states()

    def _forget_earlier_states(self) -> None:
        """Delete the files of earlier states of the function, but for those written last.

        A process that was about to load one of them compiles the function again.
        """
        # The name of a file is the function's, its digest, and what Numba adds: "rice.decode_tiles-0123abcd.py311.nbi".
        function, _, state = self._impl.filename_base.rpartition("-")
        states: dict[str, list[Path]] = {}
        for path in Path(self._cache_path).glob(f"{glob.escape(function)}-*"):
            states.setdefault(path.name.removeprefix(f"{function}-").partition(".")[0], []).append(path)
        states.pop(state.partition(".")[0], None)
        last_written = {name: max(path.stat().st_mtime for path in paths) for name, paths in states.items()}
        for name in sorted(states, key=last_written.__getitem__)[: -(MOST_STATES - 1)]:
            for path in states[name]:
                path.unlink(missing_ok=True)
