"""A process that decodes images through astropy, for `fits.isolated`; run as a file, it imports nothing of ours.

On standard input: 24 bytes (length, whether it is a primary HDU, most bytes of memory), then so many bytes of an HDU.
On standard output: a line of JSON ({"shape", "dtype"} or {"error", "errno"}), then the pixels' bytes; with an errno
the system is what refused, and nothing is said of the image.
"""

from __future__ import annotations

import errno
import io
import json
import resource
import struct
import sys
import warnings
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from astropy.io import fits

HEAD = struct.Struct("<QQQ")
_STUB = fits.PrimaryHDU().header.tostring().encode()


def decoded(raw: bytes, primary: bool) -> npt.NDArray[np.generic]:
    """Return the pixels of one HDU as astropy decodes them, BSCALE and BZERO applied.

    Parameters
    ----------
    raw : bytes
        The HDU: header and data.
    primary : bool
        Whether it is a primary HDU; an extension is put behind an empty one.

    Raises
    ------
    Exception
        Whatever astropy and its decoders raise.
    """
    raw += b"\0" * (-len(raw) % 2880)
    with np.errstate(all="ignore"):
        with fits.open(io.BytesIO(raw if primary else _STUB + raw), memmap=False) as hdus:
            data = hdus[0 if primary else 1].data
        if not isinstance(data, np.ndarray):
            raise ValueError("no pixels")
        return data


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Decode one HDU after another, until there are no more."""
    warnings.simplefilter("ignore")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    while len(head := requests.read(HEAD.size)) == HEAD.size:
        length, primary, memory = HEAD.unpack(head)
        raw = requests.read(length)
        is_short = hard not in (resource.RLIM_INFINITY, -1) and hard < memory
        resource.setrlimit(resource.RLIMIT_AS, (hard if is_short else memory, hard))
        try:
            data = np.ascontiguousarray(decoded(raw, bool(primary)))
            about, pixels = {"shape": data.shape, "dtype": data.dtype.str}, data.tobytes()
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            number = error.errno if isinstance(error, OSError) else None
            if isinstance(error, MemoryError) and is_short:  # else no image of its size takes so much
                number, lines = errno.ENOMEM, ["no memory to decode it"]
            about, pixels = {"error": lines[0][:160], "errno": number}, b""
        answers.write(json.dumps(about).encode() + b"\n" + pixels)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
