"""The settings that a store records: what its exposures were measured with, and how the night was scored last.

Every command that opens a night again (report, show, evaluate, export, reference, merge, train) scores it as it was
scored last.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpuanom.errors import OutputError
from gpuanom.settings import Settings, difference
from gpuanom.store.schema import explaining_damage, explaining_errors, has_table


@dataclass(frozen=True)
class ScoringRecord:
    """How a night was scored last.

    Attributes
    ----------
    settings : mapping
        `Settings.scoring` of the settings that the scores were made with.
    reference : str
        The saved reference that the night was compared with, as `References.text`; empty where the night was
        compared with itself. The text is kept whole, so that the file may be moved or changed.
    reference_file : str
        The file that the reference came from, for messages; empty where it came from no file.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""
    reference_file: str = ""


def read_record(db: sqlite3.Connection) -> ScoringRecord | None:
    """Return how the night was scored last; None where the store was made by an older gpuanom, which did not keep it.

    Raises
    ------
    ValueError
        When the record is damaged.
    """
    if not has_table(db, "about"):
        return None
    values = dict(db.execute("SELECT name, value FROM about").fetchall())
    if "score_settings" not in values:
        return None
    settings = json.loads(values["score_settings"])
    if not isinstance(settings, dict):
        raise ValueError("the settings of the scores are not a mapping")
    settings.setdefault("statistics", False)  # an older gpuanom, which had no statistics
    return ScoringRecord(settings, values.get("reference", ""), values.get("reference_file", ""))


def read_classifier(db: sqlite3.Connection) -> str:
    """Return the classifier that a night keeps, see `gpuanom.tables.classified`; empty without one."""
    if not has_table(db, "about"):
        return ""
    return str(dict(db.execute("SELECT name, value FROM about WHERE name = 'classifier'")).get("classifier", ""))


def write_classifier(db: sqlite3.Connection, text: str) -> None:
    """Keep a classifier; an empty text forgets it. The caller holds the transaction.

    Parameters
    ----------
    db : Connection
    text : str
    """
    db.execute("DELETE FROM about WHERE name = 'classifier'")
    if text:
        db.execute("INSERT INTO about VALUES ('classifier', ?)", (text,))


def require_record(db: sqlite3.Connection, path: Path | None) -> ScoringRecord:
    """Return how the night was scored last.

    Parameters
    ----------
    db : Connection
    path : Path or None
        The file of the store, for messages.

    Raises
    ------
    OutputError
        When the store does not hold it, or the record is damaged.
    """
    with explaining_damage(path):
        found = read_record(db)
    if found is None:
        raise OutputError(
            f"{path}: was made by an older gpuanom, which did not keep how the night was scored"
            " (score it once more: gpuanom score -o NIGHT)"
        )
    return found


def measured_with(db: sqlite3.Connection, path: Path | None) -> tuple[Mapping[str, Any], str]:
    """Return the measurement settings and the version of gpuanom behind all exposures of a store.

    Parameters
    ----------
    db : Connection
    path : Path or None
        The file of the store, for messages.

    Raises
    ------
    OutputError
        When the store is empty or holds measurements of several settings.
    """
    with explaining_errors(path):
        rows = db.execute(
            "SELECT measurement, max(version) FROM settings"
            " WHERE fingerprint IN (SELECT settings FROM exposures) GROUP BY measurement"
        ).fetchall()
    if not rows:
        raise OutputError(f"{path}: holds no measured exposures (gpuanom score measures them)")
    if len(rows) > 1:
        raise OutputError(f"{path}: holds exposures of different settings (finish the run that changed them)")
    with explaining_damage(path):
        measurement = dict(json.loads(rows[0][0]))
        measurement["bins"] = int(measurement["bins"])
        return measurement, str(rows[0][1])


def other_settings(db: sqlite3.Connection, settings: Settings, used: Iterable[str] | None = None) -> str:
    """Say how the settings of exposures differ from other settings; empty if they do not differ.

    Parameters
    ----------
    db : Connection
    settings : Settings
        Those of a run.
    used : iterable of str, optional
        Fingerprints of the settings that exposures were measured with; by default of all exposures.
    """
    found = dict(db.execute("SELECT fingerprint, measurement FROM settings").fetchall())
    if used is None:
        used = [fingerprint for (fingerprint,) in db.execute("SELECT DISTINCT settings FROM exposures")]
    others = sorted(set(used) - {settings.fingerprint()})
    return "; ".join(difference(settings.measurement(), json.loads(found[other])) for other in others)


def copy_settings(source: sqlite3.Connection, db: sqlite3.Connection) -> None:
    """Copy the settings that the exposures of another store were measured with. The caller holds the transaction.

    Parameters
    ----------
    source, db : Connection
        The other store, and the store that gets exposures of the other one.
    """
    rows = source.execute("SELECT * FROM settings").fetchall()
    db.executemany("INSERT OR IGNORE INTO settings VALUES (?, ?, ?)", rows)


def require_alike(night: Path, settings: Mapping[str, Any], other: str, of_other: Mapping[str, Any] | None) -> None:
    """Check that a night was measured with the same settings as another one that is used with it.

    Parameters
    ----------
    night : Path
        The folder of the night.
    settings : mapping
        The settings that the night was measured with, as `measured_with` gives them.
    other : str
        The folder of the other night, for the message.
    of_other : mapping or None
        The settings of the other night; None where there is no other night yet.

    Raises
    ------
    OutputError
        When a setting differs.
    """
    if of_other is not None and (differs := difference(of_other, settings)):
        raise OutputError(
            f"{night}: was measured with other settings than {other}: {differs}"
            " (score its images again with the same settings into another --output)"
        )


def write_record(db: sqlite3.Connection, record: ScoringRecord) -> None:
    """Keep how the night is scored; the caller holds the transaction.

    Parameters
    ----------
    db : Connection
    record : ScoringRecord
    """
    values = {
        "score_settings": json.dumps(dict(record.settings), sort_keys=True),
        "reference": record.reference,
        "reference_file": record.reference_file,
    }
    db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", values.items())
