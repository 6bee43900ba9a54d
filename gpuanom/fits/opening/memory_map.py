"""The bytes of a file, mapped to memory while they are used, and closed before too many files are open."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from gpuanom.errors import InputError
from gpuanom.fits.opening import packed
from gpuanom.system import open_files, patiently, refused

_CHUNK = 2**18
_MOST_READ = 2**30  # Linux reads at most 2 GiB less a page at a time
_MOST_UNPACKED = 2**36  # far above any exposure: a packed file that unpacks without end must not fill the disk
_MOST_KEPT = 2**14  # Linux lets a process have 65,530 mappings
_POPULATE_READ = 22  # MADV_POPULATE_READ of Linux 5.14
_PAGE = mmap.PAGESIZE

_lock = threading.Lock()
_kept: weakref.WeakKeyDictionary[Mapping, None] = weakref.WeakKeyDictionary()
"""The files that are kept mapped, in the order of their last use."""

_libc = ctypes.CDLL(None, use_errno=True)
_can_populate = True


class HeaderReader(NamedTuple):
    """How the bytes of a file's headers are read."""

    read: Callable[[int, int], bytes]
    """Returns the bytes from a first one to the one behind the last."""
    file: int | None = None
    """Descriptor of a plain file."""


class DamagedError(Exception):
    """Damage in the bytes of a file; the message says what is wrong."""


def most_kept() -> int:
    """Return how many files are kept mapped at most: each counts as an open file of the process."""
    return min(_MOST_KEPT, max(8, (open_files() - 64) // 2))


def unmap_idle_files() -> None:
    """Close all files that are not being read at this moment; each is mapped again when it is needed."""
    with _lock:
        for mapping in list(_kept):
            mapping.kept = None
        _kept.clear()


class OpenFile:
    """A descriptor of a file, which is closed with this object.

    Parameters
    ----------
    number : int
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.number)


class Mapping:
    """The bytes of a file; for a file that is packed as a whole, the unpacked bytes.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    plain : bool
        Whether the file on disk is mapped; False for a packed file, whose unpacked copy is mapped.
    kept : mmap or None
        The mapping, for as long as it is kept for the next reader.

    Raises
    ------
    InputError
        When the system refuses to open the file, or gpuanom cannot unpack it.
    DamagedError
        When the file is empty, or its bytes cannot be unpacked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plain = True
        self.kept: mmap.mmap | None = None
        self._last_view: weakref.ref[mmap.mmap] | None = None
        self._state: tuple[int, ...] | None = None
        self._view_lock = threading.Lock()
        self.size = len(self.view())

    def view(self) -> mmap.mmap:
        """Return the mapped bytes. The file stays open while they, or an array made of them, exist.

        Raises
        ------
        InputError
            When the file cannot be opened again, or has changed since it was first opened.
        """
        with self._view_lock:
            found = self.kept or (self._last_view() if self._last_view else None)
            if found is None:
                found = self._mapped_file()
                self._last_view = weakref.ref(found)
        with _lock:
            self.kept = found
            _kept.pop(self, None)
            _kept[self] = None
            if (excess := len(_kept) - most_kept()) > 0:
                for oldest in list(_kept)[:excess]:
                    oldest.kept = None
                    del _kept[oldest]
        return found

    def _mapped_file(self) -> mmap.mmap:
        try:
            return patiently(self._map_file, unmap_idle_files)
        except OSError as error:
            raise refused(error, self.path, "cannot be opened") from None
        except ValueError as error:  # the file is empty, or the path holds a null character
            if isinstance(error, InputError):
                raise
            raise DamagedError(f"cannot be opened: {error}") from None

    def read(self, start: int, target: npt.NDArray[np.uint8]) -> bool:
        """Read bytes of a plain file into memory, without the interpreter's lock and without mapping them.

        Parameters
        ----------
        start : int
            The first byte.
        target : ndarray, (n,) uint8
            Written; as many bytes are read as it has.

        Returns
        -------
        bool
            Whether all bytes were there; False for a file that has been cut off.

        Raises
        ------
        InputError
            When the file has changed since it was first opened.
        OSError
            When the system refuses to open or to read the file.
        """
        return patiently(lambda: self._read(start, target), unmap_idle_files)

    def _read(self, start: int, target: npt.NDArray[np.uint8]) -> bool:
        done = 0
        # Each CCD opens its file for itself: os.open takes a third of the time of Path.open.
        file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while done < target.size:
                n = os.preadv(file, [target[done : done + _MOST_READ].data], start + done)
                if not n:
                    return False
                done += n
            # Looked at after the read, so that a program that writes to the file meanwhile is found out.
            status = os.fstat(file)
            if status.st_size >= start + target.size:  # a file that was cut off is no other file
                self._state_if_unchanged(status)
        finally:
            os.close(file)
        return True

    def open_again(self) -> OpenFile | None:
        """Open a plain file once more; None where it is packed, has changed since, or cannot be opened."""
        if not self.plain:
            return None
        try:
            file = OpenFile(patiently(lambda: os.open(self.path, os.O_RDONLY | os.O_CLOEXEC), unmap_idle_files))
            status = os.fstat(file.number)
            if status.st_size >= self.size:  # what is left of a file that was cut off can be read
                self._state_if_unchanged(status)
        except (OSError, InputError):
            return None
        return file

    def is_same(self, file: OpenFile) -> bool:
        """Whether a file from `open_again` is as it was at first, neither written to nor cut off since."""
        try:
            self._state_if_unchanged(os.fstat(file.number))
        except (OSError, InputError):
            return False
        return True

    def refuse_change(self) -> None:
        """Raise the error of `read` where a plain file was written to, or replaced, since it was first opened.

        Mapped bytes change with the file, so that pixels taken from them may be newer than the headers. A file that
        is gone, or that cannot be asked for, has not changed.
        """
        if self.plain:
            with contextlib.suppress(OSError):
                self._state_if_unchanged(self.path.stat())

    @contextlib.contextmanager
    def header_reader(self) -> Iterator[HeaderReader]:
        """Give the way to read the bytes of headers.

        A plain file is read rather than mapped: to have the system map a part of a file takes ten times as long.

        Yields
        ------
        HeaderReader
            Its function raises an OSError where the system cannot read these bytes, or the file was cut off.

        Raises
        ------
        InputError
            When the file cannot be opened again, or has changed since it was first opened.
        """
        if not self.plain:
            view = self.view()
            yield HeaderReader(lambda start, stop: view[start:stop])
            return
        try:
            file = patiently(lambda: os.open(self.path, os.O_RDONLY | os.O_CLOEXEC), unmap_idle_files)
        except OSError as error:
            raise refused(error, self.path, "cannot be opened") from None
        try:
            status = os.fstat(file)
            if status.st_size >= self.size:  # a file that was cut off is no other file
                self._state_if_unchanged(status)
            yield HeaderReader(lambda start, stop: _whole(file, start, stop), file)
        finally:
            os.close(file)

    def _state_if_unchanged(self, found: os.stat_result) -> tuple[int, ...]:
        """Return device, inode, size and time of change of a file; raise an error where they are not those at first."""
        state = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
        if self._state not in (None, state):
            remedy = "the next run reads it again"
            raise InputError("was changed while it was being read", file=self.path, remedy=remedy)
        return state

    def _map_file(self) -> mmap.mmap:
        with self.path.open("rb") as stream:
            state = self._state_if_unchanged(os.fstat(stream.fileno()))
            head = stream.read(packed.HEAD)
            stream.seek(0)
            packed.refuse_foreign(self.path, head)
            how = packed.packing(head)
            self.plain = not how
            if self.plain:
                mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            else:
                with _temporary(self.path) as target:
                    self._unpack(stream, how, target)
                    # The name is removed at once, so that no file is left behind however this
                    # process ends.
                    mapped = mmap.mmap(target.fileno(), 0, access=mmap.ACCESS_READ)
            self._state = state
            return mapped

    def _unpack(self, stream: BinaryIO, how: str, target: Any) -> None:
        """Unpack to the end of the file, where the checksums of packed files are compared."""
        count = 0
        with packed.unpacked(stream, how) as content:
            while True:
                try:
                    chunk = content.read(_CHUNK)
                except Exception as error:
                    if not packed.shows_damage(error):
                        raise
                    raise DamagedError(f"broken {how} file: {error or type(error).__name__}") from None
                count += len(chunk)
                if count > _MOST_UNPACKED:
                    raise DamagedError(f"it unpacks to more than {_MOST_UNPACKED} bytes")
                try:
                    target.write(chunk)
                    if not chunk:
                        target.flush()
                        return
                except OSError as error:
                    raise _no_room(error, self.path) from None


def _whole(file: int, start: int, stop: int) -> bytes:
    """Read bytes of a file; an OSError where they are not all there."""
    parts: list[bytes] = []
    while start < stop:
        parts.append(os.pread(file, stop - start, start))
        if not parts[-1]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        start += len(parts[-1])
    return parts[0] if len(parts) == 1 else b"".join(parts)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Any]:
    """Yield a temporary file to unpack to, whose name is removed at the end."""
    try:
        target = tempfile.NamedTemporaryFile(prefix="gpuanom-", suffix=".fits")  # noqa: SIM115
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise _no_room(error, path) from None
    with target:
        yield target


def _no_room(error: OSError, path: Path) -> InputError:
    try:
        folder = tempfile.gettempdir()
    except OSError:
        folder = "a folder for temporary files"
    remedy = "make room there, or set TMPDIR to a folder with room"
    return InputError(f"cannot be unpacked to {folder}: {error.strerror or error}", file=path, remedy=remedy)


def prefault(view: mmap.mmap, start: int, stop: int) -> None:
    """Have the system read a part of a mapped file, so that a failure of the disk or network becomes an error.

    Without this, using a page that cannot be read ends the process by a signal.

    Parameters
    ----------
    view : mmap
    start, stop : int
        First byte, and the byte behind the last; bytes beyond the mapping are ignored.

    Raises
    ------
    OSError
        EIO: the system cannot read these bytes.
    """
    global _can_populate
    begin, end = start - start % _PAGE, min(stop, len(view))
    if not _can_populate or end <= begin:
        return
    address = np.frombuffer(view, np.uint8).__array_interface__["data"][0] + begin
    if _libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(end - begin), _POPULATE_READ) == 0:
        return
    number = ctypes.get_errno()
    if number in (errno.EFAULT, errno.EIO, getattr(errno, "EHWPOISON", 133)):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    if number in (errno.EINVAL, errno.ENOSYS):
        _can_populate = False  # an older system, where a page that cannot be read ends the process
