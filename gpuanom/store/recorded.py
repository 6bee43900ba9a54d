"""The settings that a store records: what its exposures were measured with, and how the night was scored last.

Whatever opens a night again (report, show, evaluate, export, reference, merge, train) scores it as it was scored last.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpuanom.errors import OutputError
from gpuanom.store.schema import believed, explained, has_table


@dataclass(frozen=True)
class ScoringRecord:
    """How a night was scored last.

    Attributes
    ----------
    settings : mapping
        `Settings.scoring` of the settings that the scores were made with.
    reference : str
        The saved reference that the night was compared with, as `References.to_text` gives it; empty where the night
        was compared with itself. Kept whole, so that the file may move or change.
    reference_file : str
        The file that the reference came from, for messages; empty where it came from no file.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""
    reference_file: str = ""


def read_record(db: sqlite3.Connection) -> ScoringRecord | None:
    """How the night was scored last; None where the store does not say, having been made by an older gpuanom.

    Raises
    ------
    ValueError
        When what the store says is damaged.
    """
    if not has_table(db, "about"):
        return None
    about = dict(db.execute("SELECT name, value FROM about").fetchall())
    if "score_settings" not in about:
        return None
    settings = json.loads(about["score_settings"])
    if not isinstance(settings, dict):
        raise ValueError("settings of the scores that are none")
    return ScoringRecord(settings, about.get("reference", ""), about.get("reference_file", ""))


def require_record(db: sqlite3.Connection, path: Path | None) -> ScoringRecord:
    """How the night was scored last.

    Raises
    ------
    OutputError
        When the store does not say, or what it says makes no sense.
    """
    with believed(path):
        found = read_record(db)
    if found is None:
        raise OutputError(
            f"{path}: was made by an older gpuanom, which did not keep how the night was scored"
            " (score it once more: gpuanom score -o NIGHT)"
        )
    return found


def measured_with(db: sqlite3.Connection, path: Path | None) -> tuple[Mapping[str, Any], str]:
    """The measurement settings and the version behind all exposures of a store.

    Raises
    ------
    OutputError
        When the store is empty or holds measurements of several settings.
    """
    with explained(path):
        rows = db.execute(
            "SELECT measurement, max(version) FROM settings"
            " WHERE fingerprint IN (SELECT settings FROM exposures) GROUP BY measurement"
        ).fetchall()
    if not rows:
        raise OutputError(f"{path}: holds no measured exposures")
    if len(rows) > 1:
        raise OutputError(f"{path}: holds exposures of different settings (finish the run that changed them)")
    with believed(path):
        measurement = dict(json.loads(rows[0][0]))
        measurement["bins"] = int(measurement["bins"])
        return measurement, str(rows[0][1])


def write_record(db: sqlite3.Connection, record: ScoringRecord) -> None:
    """Keep how the night is scored; the caller holds the transaction."""
    values = {
        "score_settings": json.dumps(dict(record.settings), sort_keys=True),
        "reference": record.reference,
        "reference_file": record.reference_file,
    }
    db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", values.items())
