"""A store that one process opens again and again, as a watch does; what it knows of all exposures is not read again.

A store is closed between two rounds of a watch, so that other programs can use it. To look over the exposures of a
survey takes a second and more each time: what is known of them is remembered, as long as the file stays as it was left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from gpuanom.files import State, state_of
from gpuanom.records import Exposure, ExposureKey
from gpuanom.settings import Settings
from gpuanom.store.failed_files import FailedFile
from gpuanom.store.known import Known, known_exposures
from gpuanom.store.schema import explaining_damage
from gpuanom.store.set_aside import Placed
from gpuanom.store.store import Store


class Remembered:
    """What a process remembers of a store that it has closed."""

    def __init__(self) -> None:
        self.state: State | None = None
        """The state of the file when it was closed."""
        self.known: dict[ExposureKey, Known] | None = None
        self.changed: set[ExposureKey] = set()
        """Exposures that have changed, or may have, since `known` was read."""
        self.n_changes = 0
        """How often the store was found changed by another program; the first opening counts."""

    def is_true_of(self, path: Path) -> bool:
        """Whether the file is as it was left; if it is not, all is forgotten.

        Parameters
        ----------
        path : Path
            The file of the store, which is locked.
        """
        if self.state is not None and self.state == state_of(path):
            return True
        self.state = self.known = None
        self.n_changes += 1
        return False


def unchanged(path: Path | None) -> Callable[[], bool]:
    """Return a function that tells whether a file is as it is now; without a file the function says no.

    Parameters
    ----------
    path : Path or None
        The file of a store that is opened now, and opened again later.
    """
    before = None if path is None else state_of(path)
    return lambda: path is not None and before is not None and state_of(path) == before


class ReopenedStore(Store):
    """A store that remembers what was read of it when it was open before.

    Parameters
    ----------
    path : Path
    settings : Settings
        The same each time.
    remembered : Remembered
        Is filled when the store is closed.
    """

    def __init__(self, path: Path, settings: Settings, remembered: Remembered) -> None:
        self._remembered, self._file = remembered, path
        super().__init__(path, settings, is_sound=lambda: remembered.is_true_of(path))

    @property
    def n_changes(self) -> int:
        """How often the store was found changed by another program; the first opening counts."""
        return self._remembered.n_changes

    def close(self) -> None:
        """Close the database."""
        # The file is still locked: no other program has changed it.
        self._remembered.state = state_of(self._file)
        super().close()

    def known(self) -> dict[ExposureKey, Known]:
        """Return what the store knows of each exposure, by camera and id."""
        memory = self._remembered
        if memory.known is None:
            memory.changed.clear()
            memory.known = super().known()
        with explaining_damage(self.path):
            for key in memory.changed:
                memory.known.pop(key, None)
                memory.known |= known_exposures(self._db, self.settings, self._statistics.names_by_exposure(key), key)
        memory.changed.clear()
        return dict(memory.known)

    def clear(self) -> None:
        """Forget everything."""
        self._remembered.known = None
        super().clear()

    def rearrange(self, placed: Sequence[Placed], failed: Sequence[FailedFile], others: Sequence[Store] = ()) -> None:
        """Put all copies of exposures where they belong; see `Store.rearrange`."""
        self._remembered.known = None
        super().rearrange(placed, failed, others)

    def keep_places(self, exposures: Sequence[Exposure]) -> None:
        """Keep where the files of measured exposures are now."""
        self._remembered.changed.update(e.key for e in exposures)
        super().keep_places(exposures)

    def _forget(self, camera: str, exposure: str) -> None:
        self._remembered.changed.add((camera, exposure))
        super()._forget(camera, exposure)
