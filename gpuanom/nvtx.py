"""Named ranges for Nsight Systems and Nsight Compute (NVTX), nothing where the nvtx package is absent.

``with ranges.named("upload"):`` around what a profile should show. Ranges of one thread nest.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

DOMAIN = "gpuanom"


class _Range:
    """A range of one name; holds nothing of its own, so that threads may share it."""

    def __init__(self, domain: Any, name: str) -> None:
        self._push, self._pop = domain.push_range, domain.pop_range
        self._attributes = domain.get_event_attributes(message=name)

    def __enter__(self) -> None:
        self._push(self._attributes)

    def __exit__(self, *_: object) -> None:
        self._pop()


@cache
def named(name: str) -> AbstractContextManager[None]:
    """A range around a block, as profilers show it.

    Parameters
    ----------
    name : str
        One of a few: each is kept for good.

    Returns
    -------
    context manager
        The same for the same name; may be entered by several threads, and again inside itself.
    """
    try:
        domain = importlib.import_module("nvtx").get_domain(DOMAIN)
    except Exception:  # absent, or not able to work here: no reason to fail
        return nullcontext()
    return _Range(domain, name)
