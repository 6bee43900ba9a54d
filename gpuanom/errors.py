"""The exceptions of gpuanom, and when each is raised.

Every message is one line that a user can act on: what is wrong, where (file and HDU), and the remedy.
"""

from __future__ import annotations

import os


class GpuanomError(Exception):
    """Base of every error that gpuanom raises on purpose."""


class SettingsError(GpuanomError, ValueError):
    """An unknown setting, or one with an impossible value; the message names it."""


class InputError(GpuanomError, ValueError):
    """A file, HDU or array that cannot be measured.

    Parameters
    ----------
    message : str
        What is wrong.
    file : path-like, optional
        The file at fault.
    hdu : int or str, optional
        The HDU at fault, by number or EXTNAME.
    remedy : str, optional
        What the user can do about it.
    status : str, optional
        The word that the tables' ``status`` column gets (see docs/tables.md).
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | os.PathLike[str] | None = None,
        hdu: int | str | None = None,
        remedy: str | None = None,
        status: str = "unreadable",
    ) -> None:
        where = "" if file is None else f"{os.fspath(file)}"
        if hdu is not None:
            where += f"[{hdu}]"
        text = f"{where}: {message}" if where else message
        if remedy:
            text += f" ({remedy})"
        super().__init__(printable(text))
        self.reason = printable(message)
        self.file = file
        self.hdu = hdu
        self.remedy = remedy
        self.status = status


class OutputError(GpuanomError, OSError):
    """The output folder or store cannot be written, is not ours, or belongs to other settings."""


class StoreBusyError(OutputError):
    """The store is in use by another program just now."""


class ReferenceFileError(GpuanomError, ValueError):
    """A saved reference is unreadable, or was made with other settings; the message names the difference."""


class DeviceError(GpuanomError, RuntimeError):
    """The device asked for cannot be used; the message names the remedy."""


class ClusterError(GpuanomError, RuntimeError):
    """No scheduler, or no worker that can be used; the message names the remedy. What was measured is kept."""


def printable(text: str) -> str:
    """One line without control characters: header values and file names reach terminals and tables through here."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
