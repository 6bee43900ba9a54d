"""The program of the processes in which `gpuanom.fits.decoding.by_astropy.process` decodes images through astropy.

The program is run as a file, so that it imports nothing of gpuanom. It reads requests from
standard input: 24 bytes (number of bytes of the HDU, whether it is a primary HDU, most bytes of
memory), followed by the bytes of the HDU. It writes answers to standard output: a line of JSON,
``{"shape", "dtype"}`` or ``{"error", "errno"}``, followed by the bytes of the pixels. Where errno
is not null, the system refused something, and the image itself may be sound.
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

HEAD = struct.Struct("<QQQ")


def decoded(raw: bytes, primary: bool) -> npt.NDArray[np.generic]:
    """Return the pixels of one HDU as astropy decodes them, BSCALE and BZERO applied.

    Parameters
    ----------
    raw : bytes
        The bytes of the HDU: header and data.
    primary : bool
        Whether this is a primary HDU; an extension is put behind an empty primary HDU.

    Returns
    -------
    ndarray
        Of the type that astropy gives the pixels.

    Raises
    ------
    Exception
        Whatever astropy and its decoders raise.
    """
    from astropy.io import fits  # slow to import, and the process that asks needs this module's name alone

    raw += b"\0" * (-len(raw) % 2880)
    if not primary:
        raw = fits.PrimaryHDU().header.tostring().encode() + raw
    with np.errstate(all="ignore"):
        with fits.open(io.BytesIO(raw), memmap=False) as hdus:
            data = hdus[0 if primary else 1].data
        if not isinstance(data, np.ndarray):
            raise ValueError("no pixels")
        return data


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Decode one HDU after another, until the requests end.

    Parameters
    ----------
    requests, answers : binary files
        As described above.
    """
    import astropy.io.fits  # noqa: F401 (before the memory is limited)

    warnings.simplefilter("ignore")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    while len(head := requests.read(HEAD.size)) == HEAD.size:
        length, primary, memory = HEAD.unpack(head)
        raw = requests.read(length)
        is_short = hard not in (resource.RLIM_INFINITY, -1) and hard < memory
        resource.setrlimit(resource.RLIMIT_AS, (hard if is_short else memory, hard))
        try:
            data = np.ascontiguousarray(decoded(raw, bool(primary)))
            outcome, pixels = {"shape": data.shape, "dtype": data.dtype.str}, data.tobytes()
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            number = error.errno if isinstance(error, OSError) else None
            # With all the memory that was asked for, the image must be damaged.
            if isinstance(error, MemoryError) and is_short:
                number, lines = errno.ENOMEM, ["no memory to decode it"]
            outcome, pixels = {"error": lines[0][:160], "errno": number}, b""
        answers.write(json.dumps(outcome).encode() + b"\n" + pixels)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
