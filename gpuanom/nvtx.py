"""Named ranges for the profilers Nsight Systems and Nsight Compute (NVTX); no effect without the nvtx package.

``with nvtx.named("upload"):`` surrounds the code that a profile should show by name. Ranges of one
thread nest.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

DOMAIN = "gpuanom"


class _Range:
    """A range of one name, without any state, so that threads may share it."""

    def __init__(self, domain: Any, name: str) -> None:
        self._push, self._pop = domain.push_range, domain.pop_range
        self._attributes = domain.get_event_attributes(message=name)

    def __enter__(self) -> None:
        self._push(self._attributes)

    def __exit__(self, *_: object) -> None:
        self._pop()


@cache
def named(name: str) -> AbstractContextManager[None]:
    """Return the range of a name, to be entered by ``with``.

    Parameters
    ----------
    name : str
        What profilers show. Each name is kept until the process ends, so use few.

    Returns
    -------
    context manager
        The same object for the same name. Several threads may be inside, and a thread may enter it
        again.
    """
    try:
        domain = importlib.import_module("nvtx").get_domain(DOMAIN)
    except Exception:  # without nvtx, or where it does not work, there are no ranges
        return nullcontext()
    return _Range(domain, name)
