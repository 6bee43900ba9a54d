"""The compiler's error, and where it keeps what it made."""

import os
from pathlib import Path

from cpudevice.errors import CompileException

__all__ = ["CompileException", "get_cache_dir"]


def get_cache_dir():
    return os.environ.get("CUPY_CACHE_DIR", str(Path("~/.cupy/kernel_cache").expanduser()))
