"""Which cluster the user asked for: checked before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpuanom import installing, nvidia
from gpuanom.errors import ClusterError, SettingsError
from gpuanom.files import require_replaceable

TIMEOUT = 600.0
"""Seconds that an exposure may take on a worker, by default."""


@dataclass(frozen=True)
class ClusterChoice:
    """A cluster, as a user asks for it.

    Attributes
    ----------
    scheduler : str or Path, or None
        The address of a scheduler, or the file that the scheduler wrote its address to.
    workers : int or None
        Number of worker processes on this machine.
    timeout : float
        Seconds that an exposure may take on a worker.
    report : Path or None
        Where to write Dask's performance report.
    """

    scheduler: str | Path | None = None
    workers: int | None = None
    timeout: float = TIMEOUT
    report: Path | None = None

    def __post_init__(self) -> None:
        if self.scheduler is not None and self.workers is not None:
            raise SettingsError("give a scheduler or a number of workers on this machine, not both")
        if self.workers is not None and (type(self.workers) is not int or self.workers < 1):
            raise SettingsError(f"workers is {self.workers!r} but must be a whole number from 1")
        if not self.timeout > 0:
            raise SettingsError(f"timeout is {self.timeout!r} but must be a number of seconds above 0")
        if self.report is not None and not self:
            raise SettingsError("a performance report is about workers: give a scheduler or a number of workers, too")

    def __bool__(self) -> bool:
        """Whether a cluster is asked for at all."""
        return self.scheduler is not None or self.workers is not None


def require_dask(choice: ClusterChoice) -> None:
    """Refuse a cluster, or a report, whose packages are missing.

    Raises
    ------
    ClusterError
        When Dask or Bokeh is missing or cannot be loaded; the message names the remedy.
    OutputError
        When the report would replace a FITS file.
    """
    install = installing.install("cluster")
    if lacking := installing.lacks("distributed", "Dask", install, "distributed"):
        raise ClusterError(f"a cluster needs {lacking}")
    if choice.report is not None and (lacking := installing.lacks("bokeh.plotting", "Bokeh", install)):
        raise ClusterError(f"a performance report needs {lacking}")
    if choice.report is not None:
        require_replaceable(choice.report)


def local_devices(workers: int, device: str) -> str:
    """Choose the devices of the workers on this machine.

    Parameters
    ----------
    workers : int
        Number of workers.
    device : str
        As the user gave it: ``auto``, ``cpu``, or numbers of GPUs with commas between.

    Returns
    -------
    str
        ``cpu``, or the numbers of GPUs with commas between, a GPU for each worker.

    Raises
    ------
    ClusterError
        When the numbers of workers and GPUs differ, or dask-cuda is missing.
    DeviceError
        When a device that was asked for cannot be used.
    """
    if device == "cpu":
        return "cpu"
    if device == "auto":
        from gpuanom.backends.choice import choose

        backends, _ = choose("auto")
        if not backends[0].takes_encoded:
            return "cpu"
        device = "0"
    numbers = list(dict.fromkeys(number.strip() for number in device.split(",")))
    if len(numbers) != workers:
        raise ClusterError(
            f"{workers} workers cannot share device {','.join(numbers)}: one worker a GPU "
            "(--workers 2 --device 0,1), or --device cpu"
        )
    if lacking := installing.lacks("dask_cuda", "dask-cuda", installing.install(f"cluster-{nvidia.extra()}")):
        raise ClusterError(f"workers on GPUs need {lacking}")
    return ",".join(numbers)
