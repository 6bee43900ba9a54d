"""Standard output and standard error that no terminal, log or pipe can make fail.

Printing must never cost a measurement: a character that the encoding of a terminal lacks is shown escaped, and when
the reader of a pipe has gone (`gpuanom score ... | head`) the work goes on to its end.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


class _Lasting(io.FileIO):
    """A file descriptor to write to; text that cannot be written is dropped.

    Attributes
    ----------
    trouble : str
        Why text was dropped; empty where none was, or where only the reader of a pipe has gone.
    """

    trouble = ""

    def write(self, data: Any, /) -> int:
        """Write bytes, or drop them."""
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            pass
        except OSError as error:
            self.trouble = str(error.strerror)
        return len(memoryview(data).cast("B"))


def prepare() -> None:
    """Make standard output and standard error safe; to be called once, before anything is printed."""
    for descriptor in (0, 1, 2):
        # The next file that is opened would get the number of a closed descriptor, and messages would go into it.
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
    # Python has no stream for a descriptor that was closed when it began; what is printed goes nowhere then.
    sys.stdout, sys.stderr = (
        _nowhere(descriptor) if stream is None else _lasting(stream, descriptor)
        for descriptor, stream in ((1, sys.stdout), (2, sys.stderr))
    )


def _nowhere(descriptor: int) -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(_Lasting(descriptor, "wb", closefd=False)), encoding="utf-8")


def _lasting(stream: TextIO, descriptor: int) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    # Tests and notebooks replace the streams by others, of which only the handling of errors is changed.
    with suppress(io.UnsupportedOperation):
        stream.reconfigure(errors="backslashreplace")
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if type(raw) is not io.FileIO or raw.fileno() != descriptor or stream not in (sys.__stdout__, sys.__stderr__):
        return stream
    with suppress(OSError):
        stream.flush()
    lasting = _Lasting(descriptor, "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(lasting),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def finish() -> str:
    """Write out the rest of standard output.

    Returns
    -------
    str
        Why standard output could not be written; empty where it was.
    """
    if sys.stdout is not None:
        sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    trouble = raw.trouble if isinstance(raw, _Lasting) else ""
    return f"standard output cannot be written: {trouble}" if trouble else ""
