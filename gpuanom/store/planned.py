"""The exposures that a run was to measure: a run that was ended early leaves some of these without a measurement.

The tables of a night look complete whatever exposures they hold. So a store keeps what its runs were given, and which
share of a night it holds (`gpuanom score --shard`), until all of that is measured.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from gpuanom.errors import printable
from gpuanom.paths import as_named_here, exists, path_text
from gpuanom.records import Exposure
from gpuanom.store.file_places import absolute_text
from gpuanom.store.schema import has_table

_LACKING = """
FROM planned AS p WHERE NOT EXISTS (SELECT 1 FROM exposures AS e WHERE e.camera = p.camera AND e.exposure = p.exposure)
AND NOT EXISTS (SELECT 1 FROM failures AS f WHERE f.file = p.file)
"""


@dataclass(frozen=True)
class Share:
    """The share of a night that a store holds.

    Attributes
    ----------
    part, parts : int
        The share, counted from 1, and the number of shares.
    night : str
        A hash of the ids of all the night's exposures: shares of one night have the same.
    """

    part: int
    parts: int
    night: str


def write(db: sqlite3.Connection, exposures: Iterable[Exposure], of_night: Share | None) -> None:
    """Keep what a run is about to measure, until `end`. The caller holds the transaction.

    Exposures that an earlier run was to measure are forgotten where their files are gone.

    Parameters
    ----------
    db : Connection
    exposures : iterable of Exposure
    of_night : Share or None
        The share of the night that the store holds; None for a whole night.
    """
    files = db.execute("SELECT DISTINCT file FROM planned").fetchall()
    gone = [row for row in files if not exists(Path(as_named_here(row[0])))]
    db.executemany("DELETE FROM planned WHERE file = ?", gone)
    rows = [(e.camera, e.exposure, absolute_text(path_text(e.files[0]))) for e in exposures]
    db.executemany("INSERT OR REPLACE INTO planned VALUES (?, ?, ?)", rows)
    db.execute("DELETE FROM about WHERE name = 'share'")
    if of_night is not None:
        db.execute("INSERT INTO about VALUES ('share', ?)", (json.dumps(asdict(of_night)),))


def end(db: sqlite3.Connection, exposures: Iterable[Exposure]) -> None:
    """Note that a run has tried these exposures, all that it was to measure. The caller holds the transaction."""
    db.executemany("DELETE FROM planned WHERE camera = ? AND exposure = ?", [e.key for e in exposures])


def forget(db: sqlite3.Connection) -> None:
    """Forget what runs were to measure. The caller holds the transaction."""
    db.execute("DELETE FROM planned")
    db.execute("DELETE FROM about WHERE name = 'share'")


def n_unmeasured(db: sqlite3.Connection) -> int:
    """Return the number of exposures that runs were to measure and did not, since they were ended early."""
    if not has_table(db, "planned"):
        return 0
    return int(db.execute(f"SELECT count(*) {_LACKING}").fetchone()[0])


def share(db: sqlite3.Connection) -> Share | None:
    """Return the share of a night that the store holds; None for a whole night."""
    if not has_table(db, "about"):
        return None
    for (text,) in db.execute("SELECT value FROM about WHERE name = 'share'"):
        return Share(**json.loads(text))
    return None


def unfinished_line(folder: str | Path | None, n_unmeasured: int) -> str:
    """Return the line on a night whose run was ended early; empty where all is measured.

    Parameters
    ----------
    folder : str, Path or None
        The folder of the night; None where the line needs no name.
    n_unmeasured : int
        As `gpuanom.store.store.Store.n_unmeasured` gives it.
    """
    if not n_unmeasured:
        return ""
    exposures = "1 exposure of this night is" if n_unmeasured == 1 else f"{n_unmeasured} exposures of this night are"
    return printable(
        f"{'' if folder is None else f'{folder}: '}{exposures} not measured yet: a run was ended early"
        " (give its gpuanom score command again, which goes on from there)"
    )
