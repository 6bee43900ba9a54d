"""The store of a night, measurements.sqlite: exposures that are reported as done are on disk, whatever ends the run.

Histograms are kept as one blob for each exposure (n_ccd x 4 x N little-endian int32, kinds in the order of
`gpuanom.records.KINDS`), with their sums of cos and sin of twice the orientation (n_ccd x 4 x 2 float64); the other
numbers of a CCD are columns of the table `ccds`. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from gpuanom.paths import Relocation
from gpuanom.records import (
    Dataset,
    DatasetKey,
    DatasetStatistics,
    Exposure,
    ExposureKey,
    Failure,
    Measurement,
    Singles,
    StatisticNames,
)
from gpuanom.records.statistics import CcdPatterns
from gpuanom.settings import Settings
from gpuanom.store import datasets, failed_files, nulls, planned, recorded_settings, set_aside
from gpuanom.store.ccd_columns import keep_columns, read_columns
from gpuanom.store.exposure_rows import (
    exposure_columns,
    exposure_row,
    measured_exposures,
    settings_row,
    source_counts,
    version_row,
)
from gpuanom.store.failed_files import FailedFile
from gpuanom.store.file_places import follow_files, idle_moves, locator, place_files
from gpuanom.store.forgetting import Forgetting, forget_everything
from gpuanom.store.known import Known, known_exposures
from gpuanom.store.planned import Share
from gpuanom.store.prepared_rows import prepared_rows
from gpuanom.store.reconstructions import Reconstructed, Reconstructions, require_one_model
from gpuanom.store.recorded_settings import ScoringRecord
from gpuanom.store.schema import explaining_damage, insert, open_database
from gpuanom.store.set_aside import Copy, Placed
from gpuanom.store.statistics import KeptStatistics
from gpuanom.store.transactions import Transactions
from gpuanom.version import __version__

NAME = "measurements.sqlite"


class Store(Transactions):
    """The measurements of a night. Use as a context manager.

    Each method reads or writes in one of the files of this folder, which have the statements of SQL. `_reading` and
    `_transaction` give them the database.

    Parameters
    ----------
    path : Path or None
        The database file, made if missing; None keeps everything in memory.
    settings : Settings
        The measurement settings of what will be added.
    read_only : bool, optional
        Change nothing, and do not make the file. All that is read belongs together: other processes cannot change the
        store until it is closed here.
    moves : sequence of Relocation, optional
        What the user says of files that were moved; a store that may be written to keeps the new places.
    is_sound : callable, optional
        See `gpuanom.store.schema.open_database`.

    Raises
    ------
    OutputError
        When the file cannot be opened, is not a store of gpuanom, is damaged, or is in use by another run.
    """

    def __init__(
        self, path: Path | None, settings: Settings, *, read_only: bool = False, moves: Sequence[Relocation] = (),
        is_sound: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        super().__init__(path, open_database(path, read_only=read_only, is_sound=is_sound))
        self.settings, self._settings_row = settings, settings_row(settings, __version__)
        self.read_only = read_only
        self.idle_moves: set[Relocation] = set()
        """The moves that concern no file of this store."""
        try:
            with self._reading() as db:
                self._reconstructions = Reconstructions(db)
                self._statistics = KeptStatistics(db, self.path)
                self._forgetting = Forgetting(db)
                self.idle_moves = idle_moves(db, moves)
                if not read_only:
                    with self._transaction():
                        follow_files(db, moves)
                        if recorded_settings.read_record(db) is None:
                            recorded_settings.write_record(db, ScoringRecord(settings.scoring()))
                self._moves = tuple(moves) if read_only else ()
                self._located = locator(db, self._moves)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    # What is measured, and what is to be measured

    def add(self, measurement: Measurement) -> None:
        """Keep an exposure's measurements in place of earlier ones, in one transaction."""
        e, rows = measurement.exposure, measurement.rows or prepared_rows(measurement)
        with self._transaction() as db:
            self._forget(*e.key)
            db.execute("DELETE FROM failures WHERE camera = ? AND exposure = ?", e.key)
            db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", self._settings_row)
            insert(db, "exposures", [exposure_row(e, rows, self._settings_row[0], __version__)])
            insert(db, "ccds", [(e.camera, e.exposure, i, *ccd) for i, ccd in enumerate(rows.ccds)])
            keep_columns(db, e.camera, e.exposure, __version__, rows.columns)
            if e.file_named:
                db.execute("INSERT INTO named_by_file VALUES (?, ?, ?)", (e.camera, e.exposure, e.measured_as))
            db.execute("INSERT INTO versions VALUES (?, ?, ?, ?)", version_row(e))
            self._reconstructions.add(measurement)
            if rows.statistics is not None:
                self._statistics.add(e, measurement.settings, rows.statistics)

    def add_failure(self, failure: Failure) -> None:
        """Keep that a file or exposure failed; earlier measurements of the exposure are dropped."""
        with self._transaction() as db:
            self._forget(failure.camera, failure.exposure)
            failed_files.write(db, failure)

    def retry(self, files: set[str], is_mended: Callable[[str], bool]) -> None:
        """Forget the failures of files that are tried again now, and those that no longer hold."""
        with self._transaction() as db:
            failed_files.forget(db, files, is_mended)

    def keep_places(self, exposures: Sequence[Exposure]) -> None:
        """Keep where the files of measured exposures are now."""
        with self._transaction() as db:
            place_files(db, exposures)

    def remove(self, keys: set[ExposureKey]) -> None:
        """Forget the exposures of these cameras and ids."""
        with self._transaction():
            for camera, exposure in sorted(keys):
                self._forget(camera, exposure)

    def _forget(self, camera: str, exposure: str) -> None:
        self._forgetting(camera, exposure)

    def clear(self) -> None:
        """Forget everything."""
        with self._transaction() as db:
            forget_everything(db)

    def plan(self, exposures: Sequence[Exposure], share: Share | None) -> None:
        """Keep what a run is about to measure, until `finished`, and which share of the night this is."""
        with self._transaction() as db:
            planned.write(db, exposures, share)

    def finished(self, exposures: Sequence[Exposure]) -> None:
        """Note that a run has tried all that it was to measure."""
        with self._transaction() as db:
            planned.end(db, exposures)

    # What is known of exposures

    def known(self) -> dict[ExposureKey, Known]:
        """Return what the store knows of each exposure, by camera and id."""
        with self._reading() as db:
            return known_exposures(db, self.settings, self._statistics.names_by_exposure())

    def n_unmeasured(self) -> int:
        """Return the number of exposures that runs were to measure and did not, since they were ended early."""
        with self._reading() as db:
            return planned.n_unmeasured(db)

    def share(self) -> Share | None:
        """Return the share of a night that the store holds; None for a whole night."""
        with self._reading() as db:
            return planned.share(db)

    def measured_exposures(self) -> dict[ExposureKey, Exposure]:
        """Return the measured exposures with the paths of their files, by camera and id."""
        with self._reading() as db:
            return measured_exposures(db, self._located)

    def source_counts(self) -> dict[ExposureKey, list[tuple[str, int]]]:
        """Return the names of the measured CCDs of each exposure and their numbers of sources, by camera and id."""
        with self._reading() as db:
            return source_counts(db)

    def failures(self) -> list[Failure]:
        """Return the files and exposures that failed, in order of the files."""
        with self._reading() as db:
            return failed_files.read(db)

    # Settings and classifier

    def recorded_settings(self) -> tuple[Mapping[str, Any], str]:
        """Return the measurement settings and the version of gpuanom behind all exposures.

        Raises
        ------
        OutputError
            When the store is empty or holds measurements of several settings.
        """
        return recorded_settings.measured_with(self._db, self.path)

    def other_settings(self, kept: Mapping[ExposureKey, Known] | None = None) -> str:
        """Say how the settings of all exposures, or of those of `known`, differ from those of this run; or nothing."""
        used = None if kept is None else {known.settings for known in kept.values()}
        with self._reading() as db:
            return recorded_settings.other_settings(db, self.settings, used)

    def scoring_record(self) -> ScoringRecord:
        """Return how the night was scored last; see `recorded_settings.require_record`."""
        return recorded_settings.require_record(self._db, self.path)

    def record_scoring(self, record: ScoringRecord) -> None:
        """Keep how the night is scored now."""
        with self._reading() as db:
            if recorded_settings.read_record(db) == record:
                return
            with self._transaction():
                recorded_settings.write_record(db, record)

    def classifier(self) -> str:
        """Return the classifier that the night keeps (`gpuanom.tables.classified`); empty without one."""
        with self._reading() as db:
            return recorded_settings.read_classifier(db)

    def keep_classifier(self, text: str) -> None:
        """Keep a classifier in place of an earlier one; an empty text forgets it."""
        with self._transaction() as db:
            recorded_settings.write_classifier(db, text)

    # Datasets

    def n_exposures(self) -> int:
        """Return the number of measured exposures."""
        with self._reading() as db:
            return datasets.n_exposures(db)

    def dataset_sizes(self) -> dict[DatasetKey, int]:
        """Return the number of measured exposures of each dataset by camera and band, in the order of these."""
        with self._reading() as db:
            return datasets.sizes(db)

    def dataset_keys(self) -> list[DatasetKey]:
        """Return camera and band of the datasets, in this order."""
        return list(self.dataset_sizes())

    def fingerprints(self, camera: str, band: str, names: Sequence[str] | None = None) -> dict[str, str]:
        """Return a hash of the files of each exposure of a dataset, or of those of these ids, by id."""
        with self._reading() as db:
            return datasets.fingerprints(db, camera, band, names)

    def dataset(self, camera: str, band: str, bins: int) -> Dataset:
        """Return the histograms of the exposures of one camera and band, in natural order of their ids."""
        with self._reading() as db:
            return datasets.read(db, camera, band, bins)

    def datasets(self, bins: int) -> list[Dataset]:
        """Return the histograms of all exposures, a `Dataset` for each of `dataset_keys`."""
        return [self.dataset(camera, band, bins) for camera, band in self.dataset_keys()]

    def exposures(self, camera: str, band: str) -> dict[str, list[Any]]:
        """Return the exposures of a dataset as columns, in natural order of id; see `exposure_columns`."""
        with self._reading() as db:
            return exposure_columns(db, camera, band, self._located)

    def ccds(self, camera: str, band: str) -> dict[str, Any]:
        """Return the CCDs of a dataset as arrays, one for each column; see `read_columns`."""
        with self._reading() as db:
            columns, made = read_columns(db, camera, band)
            if made and not self.read_only:
                with self._transaction():
                    for row in made:
                        keep_columns(db, *row)
            return columns

    # Statistics, and what is normal

    def holds_statistics(self, names: StatisticNames) -> bool:
        """Whether any exposure has these statistics."""
        with self._reading():
            return self._statistics.holds(names)

    def statistics(self, camera: str, band: str, names: StatisticNames, room: int = 0) -> DatasetStatistics:
        """Return the statistics of all exposures of a dataset; see `KeptStatistics.of_dataset`."""
        with self._reading():
            return self._statistics.of_dataset(camera, band, names, room)

    def patterns(self, camera: str, exposure: str, names: StatisticNames) -> list[CcdPatterns]:
        """Return the maps and steps of the CCDs of an exposure; see `KeptStatistics.patterns`."""
        return self._statistics.patterns(camera, exposure, names)

    def pattern_values(self, camera: str, band: str, pattern: str) -> dict[str, Singles]:
        """Return what exposures show beyond a static pattern; see `KeptStatistics.pattern_values`."""
        with self._reading():
            return self._statistics.pattern_values(camera, band, pattern)

    def keep_pattern_values(self, camera: str, pattern: str, values: Mapping[str, Singles]) -> None:
        """Keep what exposures show beyond a static pattern, by exposure, unless the store is only read."""
        if not self.read_only:
            with self._transaction():
                self._statistics.keep_pattern_values(camera, pattern, values)

    def null(self, camera: str, band: str) -> tuple[str, bytes] | None:
        """Return the text and the numbers of the null of a dataset; None where none is kept."""
        with self._reading() as db:
            return nulls.read(db, camera, band)

    def keep_null(self, camera: str, band: str, about: str, numbers: bytes) -> None:
        """Keep the null of a dataset in place of an earlier one."""
        with self._transaction() as db:
            nulls.write(db, camera, band, about, numbers)

    # The autoencoder

    def model(self) -> str:
        """Return the fingerprint of the autoencoder that the night was scored with; empty without one."""
        with self._reading():
            return next(iter(self._reconstructions.models()), "")

    def without_model(self, model: str) -> tuple[list[Exposure], int]:
        """Return the exposures without results of a model, and how many lost those of another model by this call."""
        with self._reading(), self._transaction():
            dropped = self._reconstructions.drop_others(model)
            return self._reconstructions.without_results(), dropped

    def add_reconstruction(self, measurement: Measurement) -> str:
        """Keep the results of a model for an exposure that is measured already, and nothing else.

        Returns
        -------
        str
            Why they were not kept: the files have changed since the exposure was measured. Empty if they were kept.
        """
        with self._transaction():
            differs = self._reconstructions.differing(measurement)
            if not differs:
                self._reconstructions.add(measurement)
        return differs

    def reconstructed(self, camera: str, band: str) -> dict[str, Reconstructed]:
        """Return the results of a model for the exposures of a dataset, by exposure id."""
        with self._reading():
            return self._reconstructions.of_dataset(camera, band)

    # Nights that are merged

    def copies(self) -> list[Copy]:
        """Return all measurements of exposures, also those that were set aside when nights were merged."""
        with self._reading() as db:
            if self.read_only:  # hundreds of nights may be open at once
                db.execute("PRAGMA cache_size = -256")
            return set_aside.read_copies(db, self._located, self._moves)

    def failed_files(self) -> list[FailedFile]:
        """Return the failed files of all merged nights."""
        with self._reading() as db:
            return failed_files.read_of_nights(db, self._located, self._moves)

    def rearrange(self, placed: Sequence[Placed], failed: Sequence[FailedFile], others: Sequence[Store] = ()) -> None:
        """Put all copies of exposures where they belong, in one transaction; what is not named is forgotten.

        Parameters
        ----------
        placed : sequence of Placed
            Copies of this store and of others.
        failed : sequence of FailedFile
            The failed files of all nights.
        others : sequence of Store, optional
            The stores that copies are taken from; all must have results of one model.
        """
        require_one_model((store.path, store.model()) for store in (self, *others))
        with explaining_damage(next((other.path for other in others), self.path)), self._transaction() as db:
            for other in others:
                recorded_settings.copy_settings(other._db, db)
            set_aside.rearrange(db, placed, self._located)
            nulls.forget(db)
            failed_files.write_of_nights(db, failed)
