"""The store's database: its tables, how it is opened, and what SQLite's errors mean to a user."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from gpuanom.errors import GpuanomError, OutputError, StoreBusyError, printable
from gpuanom.records import KINDS

APPLICATION_ID = 0x67706E6D  # "gpnm"
SCHEMA_VERSION = 2
VALUES_OF_A_STATEMENT = 999
"""Every SQLite takes so many values in a statement."""

_SCHEMA = """
CREATE TABLE settings (fingerprint TEXT PRIMARY KEY, measurement TEXT NOT NULL, version TEXT NOT NULL);
CREATE TABLE exposures (
    camera TEXT NOT NULL, exposure TEXT NOT NULL, band TEXT NOT NULL, date_obs TEXT NOT NULL, exptime REAL,
    files TEXT NOT NULL, masks TEXT NOT NULL, rule TEXT NOT NULL, remarks TEXT NOT NULL,
    fingerprint TEXT NOT NULL, settings TEXT NOT NULL REFERENCES settings (fingerprint), version TEXT NOT NULL,
    ny INTEGER NOT NULL, nx INTEGER NOT NULL, n_ccd INTEGER NOT NULL, histograms BLOB NOT NULL, sums BLOB NOT NULL,
    PRIMARY KEY (camera, exposure));
CREATE TABLE ccds (
    camera TEXT NOT NULL, exposure TEXT NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL,
    c0 REAL, c1 REAL, c2 REAL, c3 REAL, c4 REAL, c5 REAL, sky REAL, sigma REAL,
    n_points INTEGER NOT NULL, n_sigma_points INTEGER NOT NULL, n_sources INTEGER NOT NULL,
    n_without_orientation INTEGER NOT NULL, n_isophote INTEGER NOT NULL, n_gradients INTEGER NOT NULL,
    masked_fraction REAL, saturated_fraction REAL, cd1_1 REAL, cd1_2 REAL, cd2_1 REAL, cd2_2 REAL,
    PRIMARY KEY (camera, exposure, position)) WITHOUT ROWID;
CREATE TABLE failures (
    file TEXT PRIMARY KEY, camera TEXT NOT NULL, band TEXT NOT NULL, exposure TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL);
"""
_LATER = """
CREATE TABLE IF NOT EXISTS autoencoder (
    camera TEXT NOT NULL, exposure TEXT NOT NULL, fingerprint TEXT NOT NULL, settings TEXT NOT NULL,
    model TEXT NOT NULL, n_stamps BLOB NOT NULL, errors BLOB NOT NULL, latent BLOB NOT NULL,
    PRIMARY KEY (camera, exposure));
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS named_by_file (
    camera TEXT NOT NULL, exposure TEXT NOT NULL, measured_as TEXT NOT NULL, PRIMARY KEY (camera, exposure));
CREATE TABLE IF NOT EXISTS statistics (
    camera TEXT NOT NULL, exposure TEXT NOT NULL, fingerprint TEXT NOT NULL, settings TEXT NOT NULL,
    names TEXT NOT NULL, ccds TEXT NOT NULL, exposure_values BLOB NOT NULL, ccd_values BLOB NOT NULL,
    shapes BLOB NOT NULL, maps BLOB NOT NULL, steps BLOB NOT NULL,
    PRIMARY KEY (camera, exposure));
CREATE TABLE IF NOT EXISTS beyond_patterns (
    camera TEXT NOT NULL, exposure TEXT NOT NULL, fingerprint TEXT NOT NULL, pattern TEXT NOT NULL,
    ccd_values BLOB NOT NULL, PRIMARY KEY (camera, exposure));
CREATE TABLE IF NOT EXISTS ccd_columns (
    camera TEXT NOT NULL, exposure TEXT NOT NULL, version TEXT NOT NULL, texts TEXT NOT NULL, numbers BLOB NOT NULL,
    PRIMARY KEY (camera, exposure));
CREATE TABLE IF NOT EXISTS renamed (
    camera TEXT NOT NULL, exposure TEXT NOT NULL, measured_as TEXT NOT NULL, PRIMARY KEY (camera, exposure));
CREATE TABLE IF NOT EXISTS versions (
    camera TEXT NOT NULL, exposure TEXT NOT NULL, version TEXT NOT NULL, label TEXT NOT NULL,
    PRIMARY KEY (camera, exposure));
CREATE TABLE IF NOT EXISTS planned (
    camera TEXT NOT NULL, exposure TEXT NOT NULL, file TEXT NOT NULL, PRIMARY KEY (camera, exposure));
CREATE TABLE IF NOT EXISTS nights (
    copy INTEGER NOT NULL, camera TEXT NOT NULL, exposure TEXT NOT NULL, position INTEGER NOT NULL,
    night TEXT NOT NULL, PRIMARY KEY (copy, camera, exposure, position, night)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS night_failures (
    position INTEGER NOT NULL, night TEXT NOT NULL, file TEXT NOT NULL, camera TEXT NOT NULL, band TEXT NOT NULL,
    exposure TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (position, night, file));
CREATE INDEX IF NOT EXISTS exposures_of_datasets ON exposures (
    camera, band, exposure, n_ccd, ny, nx, fingerprint, settings, version);
"""
"""Tables and an index that came later: a store that is written to gets them, one that is only read may lack them."""


def has_table(db: sqlite3.Connection, name: str) -> bool:
    """Whether a table exists: an old store that is only read may lack tables that came later.

    Parameters
    ----------
    db : Connection
    name : str
        Name of the table.
    """
    named = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
    return bool(db.execute(named, (name,)).fetchone()[0])


def insert(db: sqlite3.Connection, table: str, rows: Sequence[Sequence[object]]) -> None:
    """Insert rows that have a value for each column of a table. The caller holds the transaction.

    A statement inserts many rows, since SQLite gives the interpreter's lock back for each statement.

    Parameters
    ----------
    db : Connection
    table : str
    rows : sequence of sequence
        All of one length; there may be none.
    """
    if not rows:
        return
    of_row, at_once = f"({', '.join('?' * len(rows[0]))})", max(1, VALUES_OF_A_STATEMENT // len(rows[0]))
    for first in range(0, len(rows), at_once):
        chosen = rows[first : first + at_once]
        statement = f"INSERT INTO {table} VALUES {', '.join([of_row] * len(chosen))}"
        db.execute(statement, list(chain.from_iterable(chosen)))


def open_database(
    path: Path | None, *, read_only: bool, is_sound: Callable[[], bool] = lambda: False
) -> sqlite3.Connection:
    """Open the database.

    A writer locks the database as long as it is open: two runs on one night would overwrite each other's tables. A
    reader sees the store as it was when it was opened: what a writer changes between two of the reader's questions
    would be mixed with the earlier answers, so that a writer waits until the reader has closed the store.

    Parameters
    ----------
    path : Path or None
        Made if it is missing and may be written to; None keeps the database in memory.
    read_only : bool
    is_sound : callable, optional
        Tells, once the database is locked, whether its values need not be checked: this process has just left it so.

    Returns
    -------
    Connection

    Raises
    ------
    OutputError
        When the file cannot be opened, is not a store of gpuanom, is damaged, or is in use by another run.
    """
    if read_only and path is not None and not path.is_file():
        raise OutputError(f"{path}: there is no such store (is the folder one that `gpuanom score` made?)")
    with explaining_errors(path):
        if path is not None and path.is_symlink() and not path.exists():
            raise OutputError(f"{path}: a link that leads nowhere; it was left as it is (mend or remove the link)")
        name = ":memory:" if path is None else path.resolve().as_uri()
        if path is not None and read_only:
            # Where the file may be written to, a reader too rolls back the transaction of a killed run.
            name += "?mode=rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "?mode=ro"
        # The datasets of a survey are read by several threads (`gpuanom.tables.build`). Python 3.12 and 3.13 give a
        # statement that they keep to a second thread before the first has its answer (python/cpython#118172).
        db = sqlite3.connect(
            name, uri=True, isolation_level=None, timeout=2.0, check_same_thread=False,
            cached_statements=128 if sys.version_info < (3, 12) else 0,
        )  # fmt: skip
        try:
            _check(db, path, read_only, is_sound)
        except BaseException:
            db.close()
            raise
        return db


def _check(db: sqlite3.Connection, path: Path | None, read_only: bool, is_sound: Callable[[], bool]) -> None:
    """Make the tables of a new database; refuse one that is damaged or not made by gpuanom, and leave it as it is."""
    # The file may come from a stranger: functions in its schema are not run, and the sizes in its pages are checked.
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    if read_only:
        db.execute("BEGIN")  # one transaction, which ends when the database is closed
    else:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE")
    (owner,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0 and owner == 0 and not read_only:
        for statement in _SCHEMA.strip().split(";\n"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    elif owner != APPLICATION_ID:
        raise OutputError(f"{path}: not a store of gpuanom; it was left as it is (choose another --output)")
    elif version != SCHEMA_VERSION:
        raise _of_another_version(path, version)
    elif not is_sound():
        _require_sound(db, path)
    if not read_only:
        for statement in _LATER.strip().split(";\n"):
            db.execute(statement)
        db.execute("COMMIT")


def _of_another_version(path: Path | None, version: int) -> OutputError:
    return OutputError(
        f"{path}: a store of another version of gpuanom ({version}, not {SCHEMA_VERSION}); it was left as it is"
        " (score the images again into another --output)"
    )


def require_version(path: Path) -> None:
    """Refuse a store of another version without opening it; a file that is missing or no store of gpuanom passes.

    Tables that lie beside such a store are older than this gpuanom, too.

    Parameters
    ----------
    path : Path
        The file of the store, which other programs may use meanwhile.

    Raises
    ------
    OutputError
        When another version of gpuanom made the store.
    """
    try:
        with path.open("rb") as file:
            header = file.read(72)
    except OSError:
        return
    # Where SQLite's file format has the numbers that PRAGMA user_version and application_id give.
    version, owner = (int.from_bytes(header[at : at + 4], "big") for at in (60, 68))
    if len(header) == 72 and owner == APPLICATION_ID and version != SCHEMA_VERSION:
        raise _of_another_version(path, version)


_OTHERS = """
SELECT type || ' ' || name FROM sqlite_master
 WHERE type IN ('trigger', 'view') OR upper(sql) LIKE 'CREATE VIRTUAL%' LIMIT 1
"""
_UNSOUND = f"""
SELECT exposure FROM {{table}}
 WHERE typeof(camera) != 'text' OR typeof(exposure) != 'text' OR typeof(band) != 'text'
    OR typeof(ny) != 'integer' OR ny < 0 OR typeof(nx) != 'integer' OR nx < 0
    OR typeof(n_ccd) != 'integer' OR n_ccd < 0 OR typeof(histograms) != 'blob' OR typeof(sums) != 'blob'
    OR length(sums) != n_ccd * {8 * 2 * len(KINDS)} OR (n_ccd = 0) != (length(histograms) = 0)
    OR length(histograms) % max(1, n_ccd * {4 * len(KINDS)}) != 0 {{more}} LIMIT 1
"""
_UNSOUND_ASIDE = _UNSOUND.format(table="aside_exposures", more="OR typeof(copy) != 'integer' OR copy < 1")


def _require_sound(db: sqlite3.Connection, path: Path | None) -> None:
    """Refuse a store that holds triggers, views or virtual tables, or histograms of a wrong length."""
    damaged = "it holds damaged values, at exposure"
    queries = [(_OTHERS, "it has a"), (_UNSOUND.format(table="exposures", more=""), damaged)]
    if has_table(db, "aside_exposures"):
        queries.append((_UNSOUND_ASIDE, damaged))
    for query, trouble in queries:
        found = db.execute(query).fetchone()
        if found:
            raise OutputError(
                f"{path}: {trouble} {printable(str(found[0]))}"
                " (damaged, or not as gpuanom made it; it was left as it is)"
            )


@contextmanager
def explaining_damage(path: Path | None) -> Iterator[None]:
    """Turn errors over values that a store holds into one line: the store was altered or damaged."""
    try:
        with explaining_errors(path):
            yield
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, GpuanomError) or "GPUANOM_TRACEBACK" in os.environ:
            raise
        cause = printable(f"{type(error).__name__}: {error}")[:160]
        raise OutputError(
            f"{path}: it holds damaged values, or gpuanom has a fault"
            f" ({cause}; GPUANOM_TRACEBACK=1 shows where); it was left as it is"
        ) from None


@contextmanager
def explaining_errors(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors into one line with the remedy."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        kind = StoreBusyError if "locked" in text else OutputError
        if "locked" in text:
            remedy = "another gpuanom run is using it; wait for it or choose another --output"
        elif "full" in text or "disk I/O" in text:
            remedy = "the disk is full or fails; what was measured is kept, the same command goes on"
        elif "readonly" in text or "unable to open" in text:
            remedy = "check that the folder exists and may be written to, and that not too many files are open"
        elif "not a database" in text or "malformed" in text:
            remedy = "damaged or not ours; it was left as it is, choose another --output"
        else:
            remedy = "the store could not be used"
        raise kind(f"{path}: {printable(text)} ({remedy})") from None
