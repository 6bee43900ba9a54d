"""Storing the measurements as they are made; those that are made while the disk is busy share a transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from gpuanom.errors import OutputError
from gpuanom.measuring.processes import Processes
from gpuanom.measuring.threads import Threads
from gpuanom.nights.events import Events
from gpuanom.records import Exposure, Failure, Measurement
from gpuanom.store.store import Store

if TYPE_CHECKING:
    from gpuanom.cluster.run import Cluster

EVERY = 0.25
"""Longest time of one transaction, seconds: a disk takes 10 ms or more for each transaction, however small."""


def fill(store: Store, todo: Sequence[Exposure], measurers: Processes | Threads | Cluster, events: Events) -> None:
    """Measure exposures and store the measurements; an exposure is reported as done once it is on disk.

    Parameters
    ----------
    store : Store
    todo : sequence of Exposure
    measurers : Processes, Threads or Cluster
    events : Events

    Raises
    ------
    OutputError
        When the store cannot be written to.
    DeviceError, ClusterError
        When the device or the workers fail.
    """
    waiting: list[tuple[Exposure, Measurement | Failure, float]] = []

    def commit() -> None:
        try:
            store.commit()
        except BaseException:
            waiting.clear()  # the transaction was rolled back: these exposures are not on disk
            raise
        while waiting:
            events.done(*waiting.pop(0))

    last = -EVERY
    try:
        with measurers as running:
            for exposure, result, seconds in running.measured(todo):
                store.begin()
                if isinstance(result, Failure):
                    store.add_failure(result)
                else:
                    store.add(result)
                waiting.append((exposure, result, seconds))
                # A measurement is written to disk at once, unless the next one is done already.
                if not running.is_behind() or time.monotonic() - last >= EVERY:
                    commit()
                    last = time.monotonic()
    except BaseException:
        with suppress(OutputError):  # the error that came first says more
            commit()
        raise
    commit()
