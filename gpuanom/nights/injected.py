"""The verdicts on images before and after an anomaly was put into copies of them (METHOD.md 13)."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpuanom.display import counted
from gpuanom.nights.events import Events
from gpuanom.nights.merge import make_references
from gpuanom.nights.score import score
from gpuanom.records import DatasetKey, Exposure, ExposureKey
from gpuanom.review.opened import key_of, plain_rows
from gpuanom.scoring.histograms.reference import References
from gpuanom.scoring.verdict.levels import OK
from gpuanom.settings import Settings
from gpuanom.tables.build import Tables

REMEDY = "give --reference: a saved reference, or the folder of a scored night"


@dataclass(frozen=True)
class Judgement:
    """What the verdict says of one exposure.

    Attributes
    ----------
    verdict : str
        bad, check or ok; empty where there is none.
    cause : str
        What is wrong, or why there is no verdict.
    evidence : float or None
    """

    verdict: str
    cause: str
    evidence: float | None = None

    @property
    def words(self) -> str:
        """The judgement in words."""
        if not self.verdict:
            return self.cause or "no verdict"
        evidence = "" if self.evidence is None or self.verdict == OK else f" (evidence {self.evidence:.0f})"
        return f"{self.verdict}{f', {self.cause}' if self.cause else ''}{evidence}"


@dataclass(frozen=True)
class Change:
    """The verdicts on an exposure before and after an anomaly was put into a copy of the exposure."""

    exposure: str
    before: Judgement
    after: Judgement


def why_not(exposures: Sequence[Exposure], settings: Settings) -> dict[DatasetKey, str]:
    """Say which datasets are too small for verdicts of their own.

    Parameters
    ----------
    exposures : sequence of Exposure
        The exposures without the anomaly.
    settings : Settings

    Returns
    -------
    dict of (camera, band) to str
        Why there is no verdict, for each dataset without one.
    """
    if not settings.statistics:
        reason = "these settings give no verdict (the setting statistics is false)"
        return {(e.camera, e.band): reason for e in exposures}
    sizes = Counter((e.camera, e.band) for e in exposures)
    least = settings.verdict_exposures
    return {
        key: f"no verdict: {counted(n, 'exposure')} of {' '.join(key).strip()}, and a verdict needs {least} ({REMEDY})"
        for key, n in sizes.items()
        if n < least
    }


def changes(
    exposures: Sequence[Exposure],
    copies: Mapping[Path, Path],
    settings: Settings,
    references: References | None = None,
    done: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Change]:
    """Judge exposures before and after an anomaly was put into copies of their files.

    Without a reference, the exposures without the anomaly tell what is normal: the copies are not compared with each
    other, since all of them have the anomaly.

    Parameters
    ----------
    exposures : sequence of Exposure
        The exposures without the anomaly, those of datasets without verdicts left out.
    copies : mapping of Path to Path
        Their files, masks among them, and the copies of these; exposures without copies only tell what is normal.
    settings : Settings
    references : References, optional
        What to compare with instead.
    done : callable, optional
        Takes the number of exposures that are measured, and of all that will be.

    Returns
    -------
    list of Change
        In the order of `exposures`; without the exposures that could not be measured before and after.
    """
    changed = [e for e in exposures if all(f in copies for f in e.files)]
    compared = list(exposures) if references is None else changed
    n_done, total = 0, len(compared) + len(changed)

    def one_more(*_: object) -> None:
        nonlocal n_done
        n_done += 1
        done(n_done, total)

    def judged(paths: Sequence[Path], folder: str | None, known: References | None) -> dict[ExposureKey, Judgement]:
        night = score(paths, folder, settings=settings, device="cpu", reference=known, events=Events(done=one_more))
        return _judgements(night.tables)

    originals = [f for e in compared for f in e.files_and_masks]
    if references is None:
        with tempfile.TemporaryDirectory(prefix="gpuanom-") as folder:
            before = judged(originals, folder, None)
            # All of them are kept: the copies are judged by just what the exposures were judged by.
            references = make_references(folder, keep_all=True)
    else:
        before = judged(originals, None, references)
    after = judged([copies[f] for e in changed for f in e.files_and_masks], None, references)
    keys = [e.key for e in changed]
    return [Change(key[1], before[key], after[key]) for key in keys if key in before and key in after]


def _judgements(tables: Tables) -> dict[ExposureKey, Judgement]:
    """The judgements in the table of exposures."""
    found = {}
    for row in plain_rows(tables.plain[0]):
        verdict, why = row.get("verdict", ""), row.get("cause", "")
        if row["status"] == "no_reference":
            verdict, why = "", f"no verdict: {row['note']}"
        found[key_of(row)] = Judgement(verdict, why, row.get("evidence"))
    return found
