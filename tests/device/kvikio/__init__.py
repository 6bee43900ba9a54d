"""A stand-in for KvikIO. It reads into the test device's memory at once, whatever work is still in a stream."""

from __future__ import annotations

import cupy
import numpy as np

__all__ = ["CuFile"]

opened: list[tuple[str, int, int]] = []
"""The reads: path, offset and number of bytes of each."""


class CuFile:
    def __init__(self, file, flags="r"):
        if flags != "r":
            raise NotImplementedError("writing")
        self._path = str(file)
        self._file = open(file, "rb")  # noqa: SIM115, PTH123 - closed by close()

    def read(self, buf, size=None, file_offset=0, task_size=None):  # noqa: ARG002 - the signature is KvikIO's
        if not isinstance(buf, cupy.ndarray) or not buf.flags.c_contiguous:
            raise ValueError("a C-contiguous device array is wanted")
        flat = buf._a.reshape(-1).view(np.uint8)
        size = flat.size if size is None else size
        if size > flat.size:
            raise ValueError("read beyond the end of the buffer")
        self._file.seek(file_offset)
        data = np.frombuffer(self._file.read(size), np.uint8)
        flat[: data.size] = data
        opened.append((self._path, file_offset, data.size))
        return data.size

    def close(self):
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
