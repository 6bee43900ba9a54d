"""The workers of a run: the connection to them, or workers of this machine that are started for the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from gpuanom.cluster.choice import ClusterChoice, local_devices, require_dask
from gpuanom.cluster.connect import Connection, quiet
from gpuanom.cluster.dispatch import Dispatch
from gpuanom.cluster.job import Job
from gpuanom.cluster.local import LocalCluster
from gpuanom.cluster.tries import Outcome
from gpuanom.measuring.threads import WORKERS
from gpuanom.records import Exposure
from gpuanom.system import cores


class Cluster:
    """The workers of a run, to be used in a ``with`` statement like `gpuanom.measuring.threads.Threads`.

    Parameters
    ----------
    job : Job
        What the workers are to do.
    choice : ClusterChoice
        The scheduler, or the number of workers on this machine.
    say, debug : callable
        Take a line for the user, and text that only ``--verbose`` shows.
    verbose : bool, optional
        Whether workers of this machine show Dask's messages.

    Raises
    ------
    ClusterError
        When the scheduler cannot be reached, or the workers cannot be started.
    """

    def __init__(
        self,
        job: Job,
        choice: ClusterChoice,
        say: Callable[[str], None],
        debug: Callable[[str], None],
        verbose: bool = False,
    ) -> None:
        require_dask(choice)
        self._job, self._choice, self._say, self._debug, self._verbose = job, choice, say, debug, verbose
        self._dispatch: Dispatch | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(quiet(self._debug))
            scheduler = self._choice.scheduler
            if self._choice.workers is not None:
                scheduler = stack.enter_context(self._local(self._choice.workers)).address
            assert scheduler is not None
            self._connection = Connection(scheduler)
            stack.callback(self._connection.close)
            self._say(f"cluster: {self._connection.about()}")
            if differs := self._connection.differences():
                self._say(f"cluster: other versions at the scheduler: {differs}")
            stack.enter_context(self._connection.report(self._choice.report, self._say))
            self._stack = stack.pop_all()
        return self

    def _local(self, workers: int) -> LocalCluster:
        devices = local_devices(workers, self._job.device)
        threads = self._job.threads or min(WORKERS, max(1, cores() // workers))
        if devices != "cpu":
            # One more exposure than a GPU has lanes, so that no lane waits for a file to be opened.
            threads = 3
        # Each worker sees one GPU only, as device 0.
        self._job = replace(self._job, device="cpu" if devices == "cpu" else "0")
        return LocalCluster(workers, threads, devices, self._verbose)

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def is_behind(self) -> bool:
        """Whether measurements are here already that the run has not taken yet."""
        return self._dispatch is not None and self._dispatch.is_behind()

    def measured(self, exposures: Sequence[Exposure]) -> Iterator[Outcome]:
        """Measure exposures, on all workers at the same time.

        Parameters
        ----------
        exposures : sequence of Exposure

        Yields
        ------
        Exposure, Measurement or Failure, float
            Each exposure as soon as it is done, with the seconds that the worker needed.

        Raises
        ------
        ClusterError
            When the scheduler has gone, or no worker can be used.
        """
        self._dispatch = Dispatch(self._connection, self._job, exposures, self._choice.timeout, self._say, self._debug)
        yield from self._dispatch.outcomes()
