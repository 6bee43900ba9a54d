"""What `score` and `watch` do alike before they begin: check the arguments, choose the device, read the reference."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gpuanom import arguments
from gpuanom.backends.choice import choose
from gpuanom.backends.protocol import Backend
from gpuanom.errors import OutputError, SettingsError
from gpuanom.files import cannot_be_written, make_folder
from gpuanom.fits.exposures.input_lists import with_streams_read
from gpuanom.paths import exists
from gpuanom.settings import Settings
from gpuanom.store.store import NAME
from gpuanom.tables import writing

if TYPE_CHECKING:
    from gpuanom.scoring.histograms.reference import References

Existing = Literal["resume", "overwrite", "fail"]


@dataclass(frozen=True, eq=False)
class RunArguments:
    """The arguments of a run over a night, checked, and what they name.

    Attributes
    ----------
    paths : list of str or Path
        The inputs; lists that come through a stream (``@-``) have been read.
    folder : Path or None
        The output folder; None keeps the night in memory.
    settings : Settings
    formats : tuple of str
        Formats of the tables; None for those of `gpuanom.tables.writing.default_format`.
    threads : int or None
    backends : list of Backend
        One for each device.
    references : References or None
        The saved references to compare with; None compares the night with itself.
    reference_name : str
        What messages call the saved references.
    """

    paths: list[str | Path]
    folder: Path | None
    settings: Settings
    formats: tuple[str, ...] | None
    threads: int | None
    backends: list[Backend]
    references: References | None
    reference_name: str


def run_arguments(
    paths: object,
    output: object,
    *,
    settings: Settings | Mapping[str, Any] | None,
    device: str | int | Sequence[int],
    reference: str | Path | References | None,
    formats: str | Sequence[str] | None,
    threads: int | None,
    say_device: Callable[[str], None],
) -> RunArguments:
    """Check the arguments that `score` and `watch` share, choose the device and read the reference.

    Parameters
    ----------
    paths, output, settings, device, reference, formats, threads
        As `gpuanom.score` takes them.
    say_device : callable
        Takes words on the device that is used, and why.

    Returns
    -------
    RunArguments

    Raises
    ------
    InputError
        When the inputs are not paths, or a list of files cannot be read.
    SettingsError
        When a setting or an argument is impossible, or robust rounds are asked for together with a saved reference.
    OutputError, ReferenceFileError, DeviceError
        When the output folder is not a path, a format cannot be written, or the reference or the device cannot be used.
    """
    given, folder = arguments.inputs("paths", paths), None
    if output is not None:
        folder = arguments.path("output", output, OutputError)
    chosen = arguments.settings(settings)
    n_threads, names = arguments.count("threads", threads), arguments.formats(formats)
    backends, about = choose(device)
    say_device(about)
    writing.require_formats(names)
    references = None
    if reference is not None:
        from gpuanom.scoring.histograms.given_references import given_references

        references = given_references(reference)
    if references is not None and chosen.robust_rounds:
        raise SettingsError("robust_rounds shape the night's own reference: give either them or a saved reference")
    name = "the reference" if references is reference else str(reference)
    return RunArguments(with_streams_read(given), folder, chosen, names, n_threads, backends, references, name)


def store_path(folder: Path | None, existing: Existing, paths: Sequence[str | Path]) -> Path | None:
    """The file of the store in an output folder, which is made if it is missing.

    Parameters
    ----------
    folder : Path or None
        The output folder; None keeps the night in memory.
    existing : {"resume", "overwrite", "fail"}
        What to do where the folder holds a night.
    paths : sequence of str or Path
        The inputs; without any, the folder must hold a night.

    Returns
    -------
    Path or None
        None without a folder.

    Raises
    ------
    OutputError
        When the folder holds a night and must not, or holds none and must, or cannot be written to.
    """
    if folder is None:
        return None
    path = folder / NAME
    if exists(path) and existing == "fail":
        raise OutputError(f"{folder}: holds a night already (--existing resume goes on with it, overwrite begins anew)")
    if not exists(path) and not paths:
        raise OutputError(f"{folder}: holds no night, and no input was given (name the files to score)")
    make_folder(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise cannot_be_written(folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return path
