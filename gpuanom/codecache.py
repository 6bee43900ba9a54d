"""Where compiled loops are kept: in the user's cache folder, and never in an installation.

Numba would put its files into ``__pycache__`` beside the sources. Those files outlive the installation, and the folder
that they keep alive then hides a checkout of the same name from Python. So the loops have a place of their own:
``<user's cache folder>/gpuanom/numba/<versions and processor>/``; the variable NUMBA_CACHE_DIR names another.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import platformdirs
from numba.core.caching import CompileResultCacheImpl, FunctionCache

from gpuanom import compiling


def folder() -> Path | None:
    """The folder of all compiled loops that this Python on this processor can use; None where there can be none.

    Returns
    -------
    Path or None
        Without a home folder there is no cache folder either. The folder need not exist, nor be writable.
    """
    base = Path(numba.config.CACHE_DIR) if numba.config.CACHE_DIR else _users()
    return base / _versions() if base else None


def _users() -> Path | None:
    named = Path(platformdirs.user_cache_dir("gpuanom", appauthor=False))
    # Without HOME and without an entry in the password database, "~" stays as it is.
    return named / "numba" if named.is_absolute() else None


@cache
def _versions() -> str:
    """What compiled code depends on beside its sources: nothing is shared between two of these.

    Machines of several kinds may share a home folder. Numba numbers its files without a lock, so two processors'
    code for one function could otherwise change places when both are written at the same time.
    """
    processor = llvm.get_host_cpu_name()
    features = hashlib.sha256(llvm.get_host_cpu_features().flatten().encode()).hexdigest()[:8]
    python = f"{sys.implementation.name}{sys.version_info.major}{sys.version_info.minor}{getattr(sys, 'abiflags', '')}"
    return f"{numba.__version__}-{python}-{processor}-{features}"


@cache
def _digest(sources: Path) -> str:
    """The contents of all sources from which a folder's functions are compiled: its own, and `native`.

    A loop has other functions compiled into it, from other files; Numba itself looks at the loop's own file only.
    """
    total = hashlib.sha256()
    for path in (*sorted(sources.glob("*.py")), Path(__file__).with_name("native.py")):
        content = path.read_bytes()
        total.update(f"{path.name} {len(content)}\n".encode() + content)
    return total.hexdigest()


class _Place:
    """Where one function is kept, as Numba asks for it (its "locator")."""

    def __init__(self, function: Any, file: str, base: Path) -> None:
        self._sources = Path(file).resolve().parent
        self._line = function.__code__.co_firstlineno
        # Two installations keep their loops apart: else each would throw away what the other compiled.
        which = hashlib.sha256(os.fsencode(self._sources)).hexdigest()[:16]
        self._path = base / f"{self._sources.name}-{which}"

    @classmethod
    def from_function(cls, function: Any, file: str) -> _Place | None:
        """The place of a function; None where nothing can be kept."""
        base = folder()
        if base is None:
            return None
        place = cls(function, file, base)
        try:
            place.ensure_cache_path()
        except OSError:
            # What somebody else put there can still be used.
            return place if place._path.is_dir() else None
        return place

    def ensure_cache_path(self) -> None:
        """Make the folder; an OSError where it cannot be written."""
        self._path.mkdir(parents=True, exist_ok=True)
        # Permissions alone do not tell: disks are full or read-only.
        tempfile.TemporaryFile(dir=self._path).close()

    def get_cache_path(self) -> str:
        """The folder of this function's files."""
        return str(self._path)

    def get_source_stamp(self) -> str:
        """What changes when a source does."""
        return _digest(self._sources)

    def get_disambiguator(self) -> str:
        """What tells functions of one name apart."""
        return str(self._line)


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = [_Place]  # noqa: RUF012 (Numba's own)


class FunctionFiles(FunctionCache):  # type: ignore[misc]
    """The kept code of one function. Damaged files count as missing, and a full disk only means compiling again."""

    _impl_class = _Implementation

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function, or None; then it is about to be compiled, and that is said."""
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # a damaged file raises whatever its bytes make of unpickling
            found = None
            with suppress(OSError):
                self.flush()
        if found is None:
            compiling.begun(compiling.LOOPS if self._can_be_written() else compiling.LOOPS_NOT_KEPT)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, where that is possible."""
        with suppress(OSError):
            super().save_overload(sig, data)

    def _can_be_written(self) -> bool:
        return os.access(self._cache_path, os.W_OK)
