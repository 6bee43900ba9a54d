"""The store of a night, measurements.sqlite: exposures that are reported as done are on disk, whatever ends the run.

Histograms are kept as one blob for each exposure (n_ccd x 4 x N little-endian int32, kinds in the order of
`gpuanom.records.KINDS`), with their sums of cos and sin of twice the orientation (n_ccd x 4 x 2 float64); the other
numbers of a CCD are columns of the table `ccds`. Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from gpuanom.errors import OutputError
from gpuanom.naming import Relocation, as_named_here, exists
from gpuanom.records import DatasetStatistics, Exposure, Failure, Measurement, Singles, StatisticNames
from gpuanom.records.statistics import CcdPatterns
from gpuanom.settings import Settings, difference
from gpuanom.store import set_aside
from gpuanom.store.ccd_columns import CCD_COLUMNS_TABLE, keep_columns, read_columns
from gpuanom.store.exposure_rows import (
    exposure_columns,
    exposure_row,
    insert_ccds,
    measured_exposures,
    settings_row,
    source_counts,
    version_row,
)
from gpuanom.store.file_places import absolute_text, follow_files, idle_moves, locator, place_files
from gpuanom.store.known import Known, known_exposures
from gpuanom.store.nulls import forget_nulls
from gpuanom.store.planned import PlannedExposures, forget_planned
from gpuanom.store.prepared_rows import prepared_rows
from gpuanom.store.reconstructions import Reconstructed, Reconstructions
from gpuanom.store.recorded_settings import (
    ScoringRecord,
    measured_with,
    read_classifier,
    read_record,
    require_record,
    write_classifier,
    write_record,
)
from gpuanom.store.schema import explaining_damage, open_database
from gpuanom.store.set_aside import Copy, FailedFile, Placed
from gpuanom.store.statistics import STATISTICS_TABLES, KeptStatistics
from gpuanom.version import __version__

NAME = "measurements.sqlite"


class Store(PlannedExposures):
    """The measurements of a night. Use as a context manager.

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
        self.settings, self._settings_row = settings, settings_row(settings, __version__)
        super().__init__(path, open_database(path, read_only=read_only, is_sound=is_sound))
        self.read_only = read_only
        self.idle_moves: set[Relocation] = set()
        """The moves that concern no file of this store."""
        try:
            with explaining_damage(self.path):
                self._reconstructions = Reconstructions(self._db)
                self._statistics = KeptStatistics(self._db, self.path)
                self._forgetting = set_aside.Forgetting(self._db)
                self.idle_moves = idle_moves(self._db, moves)
                if not read_only:
                    with self._transaction() as db:
                        follow_files(db, moves)
                        if read_record(db) is None:
                            write_record(db, ScoringRecord(settings.scoring()))
                self._moves = tuple(moves) if read_only else ()
                self._located = locator(self._db, self._moves)
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

    def known(self) -> dict[tuple[str, str], Known]:
        """Return what the store knows of each exposure, by camera and id."""
        with explaining_damage(self.path):
            return known_exposures(self._db, self.settings, self._statistics.names_by_exposure())

    def other_settings(self, kept: Mapping[tuple[str, str], Known] | None = None) -> str:
        """Say how the settings of exposures differ from those of this run; empty if they do not differ.

        Parameters
        ----------
        kept : mapping, optional
            What `known` returned of these exposures; by default all exposures.
        """
        current = self.settings.fingerprint()
        with self._explaining_errors():
            found = dict(self._db.execute("SELECT fingerprint, measurement FROM settings").fetchall())
            query = "SELECT DISTINCT settings FROM exposures"
            used = () if kept is not None else [row[0] for row in self._db.execute(query)]
        with explaining_damage(self.path):
            fingerprints = set(used) if kept is None else {known.settings for known in kept.values()}
            others = sorted(fingerprints - {current})
            return "; ".join(difference(self.settings.measurement(), json.loads(found[other])) for other in others)

    def recorded_settings(self) -> tuple[Mapping[str, Any], str]:
        """Return the measurement settings and the version of gpuanom behind all exposures.

        Raises
        ------
        OutputError
            When the store is empty or holds measurements of several settings.
        """
        return measured_with(self._db, self.path)

    def measured_exposures(self) -> dict[tuple[str, str], Exposure]:
        """Return the measured exposures with the paths of their files, by camera and id."""
        with explaining_damage(self.path):
            return measured_exposures(self._db, self._located)

    def source_counts(self) -> dict[tuple[str, str], list[tuple[str, int]]]:
        """Return the names of the measured CCDs of each exposure and their numbers of sources, by camera and id."""
        with explaining_damage(self.path):
            return source_counts(self._db)

    def scoring_record(self) -> ScoringRecord:
        """Return how the night was scored last.

        Raises
        ------
        OutputError
            When the store was made by an older version of gpuanom, which did not keep it.
        """
        return require_record(self._db, self.path)

    def record_scoring(self, record: ScoringRecord) -> None:
        """Keep how the night is scored now."""
        with explaining_damage(self.path):
            if read_record(self._db) == record:
                return
            with self._transaction() as db:
                write_record(db, record)

    def add(self, measurement: Measurement) -> None:
        """Keep an exposure's measurements in place of earlier ones, in one transaction."""
        e, rows = measurement.exposure, measurement.rows or prepared_rows(measurement)
        with self._transaction() as db:
            self._forget(*e.key)
            db.execute("DELETE FROM failures WHERE camera = ? AND exposure = ?", e.key)
            db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", self._settings_row)
            row = exposure_row(e, rows, self._settings_row[0], __version__)
            db.execute(f"INSERT INTO exposures VALUES ({', '.join('?' * len(row))})", row)
            insert_ccds(db, e, rows.ccds)
            keep_columns(db, e.camera, e.exposure, __version__, rows.columns)
            if e.file_named:
                db.execute("INSERT INTO named_by_file VALUES (?, ?, ?)", (e.camera, e.exposure, e.measured_as))
            db.execute("INSERT INTO versions VALUES (?, ?, ?, ?)", version_row(e))
            self._reconstructions.add(measurement)
            if rows.statistics is not None:
                self._statistics.add(e, measurement.settings, rows.statistics)

    def model(self) -> str:
        """Return the fingerprint of the autoencoder that the night was scored with; empty without one."""
        with explaining_damage(self.path):
            return next(iter(self._reconstructions.models()), "")

    def classifier(self) -> str:
        """Return the classifier that the night keeps (`gpuanom.tables.classified`); empty without one."""
        with explaining_damage(self.path):
            return read_classifier(self._db)

    def keep_classifier(self, text: str) -> None:
        """Keep a classifier in place of an earlier one; an empty text forgets it."""
        with self._transaction() as db:
            write_classifier(db, text)

    def without_model(self, model: str) -> tuple[list[Exposure], int]:
        """Return the measured exposures without results of a model; results of other models are dropped.

        Returns
        -------
        exposures : list of Exposure
        dropped : int
            Number of exposures whose results of other models were dropped.
        """
        with explaining_damage(self.path), self._transaction():
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
        with explaining_damage(self.path):
            return self._reconstructions.of_dataset(camera, band)

    def copies(self) -> list[Copy]:
        """Return all measurements of exposures, also those that were set aside when nights were merged."""
        with explaining_damage(self.path):
            if self.read_only:  # hundreds of nights may be open at once
                self._db.execute("PRAGMA cache_size = -256")
            return set_aside.read_copies(self._db, self._located, self._moves)

    def failed_files(self) -> list[FailedFile]:
        """Return the failed files of all merged nights."""
        with explaining_damage(self.path):
            return set_aside.read_failed(self._db, self._located, self._moves)

    def rearrange(self, placed: Sequence[Placed], failed: Sequence[FailedFile], others: Sequence[Store] = ()) -> None:
        """Put all copies of exposures where they belong, in one transaction; what is not named is forgotten.

        Parameters
        ----------
        placed : sequence of Placed
            Copies of this store and of others.
        failed : sequence of FailedFile
            The failed files of all nights.
        others : sequence of Store, optional
            The stores that copies are taken from.

        Raises
        ------
        OutputError
            When the stores hold scores of different models, or one of them is damaged.
        """
        model = self.model()
        for other in others:
            of_other = other.model()
            if model and of_other and model != of_other:
                raise OutputError(
                    f"{other.path}: holds autoencoder_mse of another model than an earlier input"
                    " (score one of them again with the other's: gpuanom score -o SCORED --model MODEL)"
                )
            model = model or of_other
        with explaining_damage(next((other.path for other in others), self.path)), self._transaction() as db:
            for other in others:
                rows = other._db.execute("SELECT * FROM settings").fetchall()
                db.executemany("INSERT OR IGNORE INTO settings VALUES (?, ?, ?)", rows)
            set_aside.rearrange(db, placed, self._located)
            forget_nulls(db)
            set_aside.write_failed(db, failed)

    def keep_places(self, exposures: Sequence[Exposure]) -> None:
        """Keep where the files of measured exposures are now."""
        with self._transaction() as db:
            place_files(db, exposures)

    def add_failure(self, failure: Failure) -> None:
        """Keep that a file or exposure failed; earlier measurements of the exposure are dropped."""
        with self._transaction() as db:
            self._forget(failure.camera, failure.exposure)
            file = absolute_text(failure.file)
            db.execute(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?)",
                (file, failure.camera, failure.band, failure.exposure, failure.status, failure.reason),
            )

    def retry(self, files: set[str], is_mended: Callable[[str], bool]) -> None:
        """Forget failures that no longer hold.

        These are failures of files that are tried again now, of files that are gone, and of folders and lists that can
        be read by now.

        Parameters
        ----------
        files : set of str
            The files that are tried again now.
        is_mended : callable
            Tells whether a folder, or a list of files, can be read.
        """
        dropped = {
            failure.file
            for failure in self.failures()
            if not exists(Path(as_named_here(failure.file))) or (not failure.camera and is_mended(failure.file))
        }
        with self._transaction() as db:
            tried = {absolute_text(file) for file in files}
            db.executemany("DELETE FROM failures WHERE file = ?", [(f,) for f in sorted(tried | dropped)])

    def clear(self) -> None:
        """Forget everything."""
        with self._transaction() as db:
            tables = "exposures", "ccds", "failures", "settings", "autoencoder", "named_by_file", "renamed", "versions"
            for table in (*tables, CCD_COLUMNS_TABLE, *STATISTICS_TABLES, "nights", "night_failures"):
                db.execute(f"DELETE FROM {table}")
            set_aside.forget_aside(db)
            forget_nulls(db)
            forget_planned(db)
            write_classifier(db, "")

    def remove(self, keys: set[tuple[str, str]]) -> None:
        """Forget the exposures of these cameras and ids."""
        with self._transaction():
            for camera, exposure in sorted(keys):
                self._forget(camera, exposure)

    def _forget(self, camera: str, exposure: str) -> None:
        self._forgetting(camera, exposure)

    def holds_statistics(self, names: StatisticNames) -> bool:
        """Whether any exposure has these statistics."""
        with explaining_damage(self.path):
            return self._statistics.holds(names)

    def statistics(self, camera: str, band: str, names: StatisticNames, room: int = 0) -> DatasetStatistics:
        """Return the statistics of all exposures of a dataset; see `KeptStatistics.of_dataset`."""
        with explaining_damage(self.path):
            return self._statistics.of_dataset(camera, band, names, room)

    def patterns(self, camera: str, exposure: str, names: StatisticNames) -> list[CcdPatterns]:
        """Return the maps and steps of the CCDs of an exposure; see `KeptStatistics.patterns`."""
        return self._statistics.patterns(camera, exposure, names)

    def pattern_values(self, camera: str, band: str, pattern: str) -> dict[str, Singles]:
        """Return what exposures show beyond a static pattern; see `KeptStatistics.pattern_values`."""
        with explaining_damage(self.path):
            return self._statistics.pattern_values(camera, band, pattern)

    def keep_pattern_values(self, camera: str, pattern: str, values: Mapping[str, Singles]) -> None:
        """Keep what exposures show beyond a static pattern, by exposure, unless the store is only read."""
        if not self.read_only:
            with self._transaction():
                self._statistics.keep_pattern_values(camera, pattern, values)

    def exposures(self, camera: str, band: str) -> dict[str, list[Any]]:
        """Return the exposures of a dataset as columns, in natural order of id; see `exposure_columns`."""
        with explaining_damage(self.path):
            return exposure_columns(self._db, camera, band, self._located)

    def ccds(self, camera: str, band: str) -> dict[str, Any]:
        """Return the CCDs of a dataset as arrays, one for each column; see `read_columns`."""
        with explaining_damage(self.path):
            columns, made = read_columns(self._db, camera, band)
            if made and not self.read_only:
                with self._transaction() as db:
                    for row in made:
                        keep_columns(db, *row)
            return columns

    def failures(self) -> list[Failure]:
        """Return the files and exposures that failed, in order of the files."""
        with self._explaining_errors():
            rows = self._db.execute("SELECT * FROM failures ORDER BY file").fetchall()
        return [Failure(*row) for row in rows]
