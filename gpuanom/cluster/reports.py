"""What the scheduler and the workers report by themselves, as events of a run."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

from distributed import Client

from gpuanom.cluster.worker import under_way_topic


def subscribe(client: Client, run: str, events: SimpleQueue[tuple[Any, ...]]) -> None:
    """Let the reports of the scheduler and the workers become events; threads of Dask receive the reports.

    Parameters
    ----------
    client : distributed.Client
    run : str
        Name of the run.
    events : SimpleQueue
        Gets ``("left", address, whether that was expected)`` when a worker has left, ``("memory", address)`` when a
        worker is stopped for its use of memory, and ``("under way", name of a call, number of an exposure, seconds)``
        when a call of several exposures takes long: that exposure was begun so many seconds before.
    """

    def changed(event: tuple[float, Any]) -> None:
        report = event[1]
        if isinstance(report, dict) and report.get("action") == "remove-worker":
            events.put(("left", report["worker"], bool(report.get("expected"))))

    def stopped(event: tuple[float, Any]) -> None:
        events.put(("memory", event[1]["worker"]))

    def under_way(event: tuple[float, Any]) -> None:
        report = event[1]
        events.put(("under way", report["call"], int(report["under_way"]), float(report["seconds"])))

    client.subscribe_topic("all", changed)
    client.subscribe_topic("worker-restart-memory", stopped)
    client.subscribe_topic(under_way_topic(run), under_way)
