"""The exceptions of gpuanom, and when each is raised.

Every message is one line that a user can act on: what is wrong, where (file and HDU), and the
remedy.
"""

from __future__ import annotations

import os


class GpuanomError(Exception):
    """Base of every error that gpuanom raises on purpose."""


class SettingsError(GpuanomError, ValueError):
    """An unknown setting, or a setting with an impossible value; the message names the setting."""


class InputError(GpuanomError, ValueError):
    """A file, HDU or array that cannot be measured.

    The text of the exception is ``FILE[HDU]: message (remedy)``, without the parts that are not
    given.

    Parameters
    ----------
    message : str
        What is wrong, without file, HDU and remedy.
    file : path-like, optional
        The file at fault.
    hdu : int or str, optional
        The HDU at fault, by number or EXTNAME.
    remedy : str, optional
        What the user can do about it.
    status : str, optional
        The word for the tables' column ``status`` (see docs/tables.md).

    Attributes
    ----------
    reason : str
        The message on one line, without file, HDU and remedy.
    file, hdu, remedy, status
        The parameters, as they were given.
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

    def at(self, file: str | os.PathLike[str], hdu: int | str | None) -> InputError:
        """Return this error with the place where it happened, in place of the file and HDU that it names.

        Parameters
        ----------
        file : path-like
            The file at fault.
        hdu : int or str, or None
            The HDU at fault; None where that is not known.

        Returns
        -------
        InputError
            Of the same message, remedy and status.
        """
        return InputError(self.reason, file=file, hdu=hdu, remedy=self.remedy, status=self.status)


FETCH_AGAIN = "fetch it again"
"""Remedy for a damaged file."""


def corrupt(message: str, file: str | os.PathLike[str] | None = None, hdu: int | None = None) -> InputError:
    """Return the error for a damaged file, of status ``corrupt``.

    Parameters
    ----------
    message, file, hdu
        As for `InputError`; without file and HDU where the caller adds them.
    """
    return InputError(message, file=file, hdu=hdu, remedy=FETCH_AGAIN, status="corrupt")


class OutputError(GpuanomError, OSError):
    """The output folder or store cannot be written, was not made by gpuanom, or holds other settings."""


class StoreBusyError(OutputError):
    """Another program is using the store at this moment."""


class ReferenceFileError(GpuanomError, ValueError):
    """A saved reference is unreadable, or was made with other settings, which the message names."""


class DeviceError(GpuanomError, RuntimeError):
    """The device that was asked for cannot be used; the message names the remedy."""


class ClusterError(GpuanomError, RuntimeError):
    """No scheduler or no usable worker was found; the message names the remedy.

    Measurements that were stored before are kept.
    """


def printable(text: str) -> str:
    """Return a text as one line without control characters.

    Header values and file names pass through this function before they reach a terminal or a
    table.
    """
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else " " for c in line)
