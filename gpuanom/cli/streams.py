"""Standard output and standard error as any terminal, log or pipe can take them.

What is printed must never cost what was measured: a name that the encoding of a terminal does not hold is shown
escaped, and when the reader of a pipe has gone (`gpuanom score ... | head`) the work goes on to its end.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


class _Lasting(io.FileIO):
    """A descriptor that is written to; what cannot be written is dropped.

    Attributes
    ----------
    trouble : str
        Why something was dropped; empty where nothing was, or where only the reader of a pipe has gone.
    """

    trouble = ""

    def write(self, data: Any, /) -> int:
        """Write bytes."""
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            pass
        except OSError as error:
            self.trouble = str(error.strerror)
        return len(memoryview(data).cast("B"))


def prepare() -> None:
    """Make standard output and standard error last; to be called once, before anything is printed."""
    for descriptor in (0, 1, 2):
        # A closed one would be given to the next file that is opened, and messages would be written into that file.
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1), _lasting(sys.stderr, 2)


def _lasting(stream: TextIO, descriptor: int) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    # Tests and notebooks put streams of their own in place: of those only the errors are changed.
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
    """Write out what is left of standard output.

    Returns
    -------
    str
        Why it cannot be written; empty where it is.
    """
    if sys.stdout is not None:
        sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    trouble = raw.trouble if isinstance(raw, _Lasting) else ""
    return f"standard output cannot be written: {trouble}" if trouble else ""
