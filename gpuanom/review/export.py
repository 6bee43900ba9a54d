"""A night's anomalies as lists that surveys exchange: exclude tables, bad_expid files, good files, DS9 regions."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.cameras.focalplane import ccd_number
from gpuanom.digits import printed, printed_values
from gpuanom.errors import OutputError, SettingsError, printable
from gpuanom.files import make_folder, write_text
from gpuanom.naming import path_text
from gpuanom.records import KINDS, ExposureKey
from gpuanom.review import labels
from gpuanom.review.opened import ScoredNight, is_background, key_of
from gpuanom.review.quicklook import Look, look
from gpuanom.tables.rows import position_angle
from gpuanom.version import __version__

FORMATS = ("exclude", "bad_expid", "list", "regions")
ANALYST = "gpuanom"
"""Who is named in exclude tables where no person said it."""


@dataclass(frozen=True)
class Reason:
    """Why an exposure was chosen: by which kind of score or label, in words, and by whom."""

    kind: str
    text: str
    analyst: str = ANALYST


Chosen = dict[ExposureKey, list[Reason]]
"""The exposures that were chosen, in the table's order, and why."""


@dataclass(frozen=True)
class Criterion:
    """What makes an exposure an anomaly; exactly one of the fields is given.

    Attributes
    ----------
    rank : int, optional
        Its rank in its dataset is at most this.
    z : float, optional
        Its z is at least this.
    p : float, optional
        Its p is at most this.
    deviation : float, optional
        Its deviation is at least this.
    fdr : float, optional
        It is found at this false-discovery rate, over all exposures and kinds together (Benjamini-Hochberg).
    label : str, optional
        It is labelled so, or more gravely.
    """

    rank: int | None = None
    z: float | None = None
    p: float | None = None
    deviation: float | None = None
    fdr: float | None = None
    label: str | None = None

    @property
    def name(self) -> str:
        """The field that is given.

        Raises
        ------
        SettingsError
            When it is none, or several.
        """
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) != 1:
            raise SettingsError(f"give one of rank, z, p, deviation, fdr and label, not {', '.join(given) or 'none'}")
        return given[0]


def choose(
    night: ScoredNight,
    criterion: Criterion,
    kinds: Sequence[str] = KINDS,
    said: Sequence[labels.Label] = (),
    how: labels.Consensus = "majority",
) -> Chosen:
    """The exposures that a criterion chooses.

    Parameters
    ----------
    night : ScoredNight
    criterion : Criterion
    kinds : sequence of str, optional
        The kinds of score to go by; an exposure is chosen when one of them says so. For labels, of source and
        background.
    said : sequence of Label, optional
        Where the criterion is a label.
    how : str, optional
        What becomes one label of several analysts', see `gpuanom.review.labels.consensus`.
    """
    if criterion.name == "label":
        return _labelled(night, str(criterion.label), kinds, said, how)
    limit = _benjamini_hochberg(night, kinds, criterion.fdr) if criterion.fdr is not None else None
    chosen: Chosen = {}
    for row in night.exposures:
        reasons = []
        for kind in kinds:
            name = "p" if criterion.fdr is not None else criterion.name
            value = None if row[f"{kind}_{name}"] is None else printed(row[f"{kind}_{name}"])
            bound = printed(getattr(criterion, name)) if limit is None else limit
            if value is None or not (value <= bound if name in ("rank", "p") else value >= bound):
                continue
            reasons.append(Reason(kind, f"{kind} {_numbers(row, kind)}"))
        if reasons:
            chosen[key_of(row)] = reasons
    return chosen


def _numbers(row: Mapping[str, Any], kind: str) -> str:
    """What is said of a score in a list, one word each."""
    parts = ((name, row[f"{kind}_{name}"], spec) for name, spec in (("rank", "d"), ("z", ".1f"), ("p", ".1g")))
    return " ".join(f"{name}={value:{spec}}" for name, value, spec in parts if value is not None)


def _benjamini_hochberg(night: ScoredNight, kinds: Sequence[str], rate: float) -> float:
    """The largest p that is a discovery at this false-discovery rate; -1 where there is none."""
    p = np.sort([row[f"{kind}_p"] for row in night.exposures for kind in kinds if row[f"{kind}_p"] is not None])
    passed = np.flatnonzero(printed_values(p) <= printed_values(rate * np.arange(1, p.size + 1) / max(p.size, 1)))
    return float(p[passed[-1]]) if passed.size else -1.0


def _labelled(
    night: ScoredNight, least: str, kinds: Sequence[str], said: Sequence[labels.Label], how: labels.Consensus
) -> Chosen:
    if least not in labels.GRADES:
        raise SettingsError(f"'{least}' is no label (one of {', '.join(labels.GRADES)})")
    agreed = labels.consensus(said, how)
    chosen: Chosen = {}
    for row in night.exposures:
        camera, exposure = key = key_of(row)
        for kind in (k for k in labels.LABEL_KINDS if k in kinds):
            grade = agreed.get((camera, exposure, kind))
            if grade is None or labels.GRADES.index(grade) < labels.GRADES.index(least):
                continue
            its = [a for a in said if (a.camera, a.exposure, a.kind) == (camera, exposure, kind)]
            its = [a for a in its if labels.GRADES.index(a.label) >= labels.GRADES.index(least)]
            words = sorted({a.reason for a in its if a.reason})
            who = " ".join(sorted({a.analyst for a in its}))
            chosen.setdefault(key, []).append(Reason(kind, " ".join([kind, *(words or [grade])]), who))
    return chosen


def exclude_table(night: ScoredNight, chosen: Chosen, ccd_z: float | None = None) -> str:
    """Exposures and CCDs to leave out, as DES and DELVE keep them: EXPNUM, CCDNUM, REASON, ANALYST, as CSV.

    Parameters
    ----------
    night : ScoredNight
    chosen : dict
        See `choose`.
    ccd_z : float, optional
        Of an exposure that was chosen for its background alone, list only CCDs whose own z is at least this.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["EXPNUM", "CCDNUM", "REASON", "ANALYST"])
    for key, ccd, reasons in _ccds(night, chosen, ccd_z):
        analysts = " ".join(dict.fromkeys(r.analyst for r in reasons))
        row = (key[1], ccd_number(key[0], ccd), "; ".join(r.text for r in reasons), analysts)
        table.writerow([printable(str(value)) for value in row])
    return text.getvalue()


def bad_expid(night: ScoredNight, chosen: Chosen, ccd_z: float | None = None) -> str:
    """Exposures and CCDs to leave out, as the Legacy Surveys keep them: a line EXPNUM[-CCDNAME] and the reason.

    Parameters
    ----------
    night : ScoredNight
    chosen : dict
        See `choose`.
    ccd_z : float, optional
        Name the CCDs, as in `exclude_table`, where an exposure was chosen for its background alone; without it
        exposures are listed whole.
    """
    lines = [f"# gpuanom {__version__}: exposures and the reasons to leave them out"]
    if ccd_z is None:
        lines += [f"{exposure} {'; '.join(r.text for r in reasons)}" for (_, exposure), reasons in chosen.items()]
        lines = list(map(printable, lines))
        return "\n".join(lines) + "\n"
    whole: set[ExposureKey] = set()
    for key, ccd, reasons in _ccds(night, chosen, ccd_z):
        text = "; ".join(r.text for r in reasons)
        if all(is_background(r.kind) for r in reasons):
            lines.append(f"{key[1]}-{ccd} {text}")
        elif key not in whole:
            whole.add(key)
            lines.append(f"{key[1]} {text}")
    return "\n".join(map(printable, lines)) + "\n"


def _ccds(night: ScoredNight, chosen: Chosen, ccd_z: float | None) -> Iterator[tuple[ExposureKey, str, list[Reason]]]:
    """The CCDs of the chosen exposures, those alone that matter where that can be told."""
    ccds = night.ccds()
    for key, reasons in chosen.items():
        by_ccd = ccd_z is not None and all(is_background(r.kind) for r in reasons)
        for row in ccds.get(key, []):
            z = row["background_z"]
            if not by_ccd or (z is not None and ccd_z is not None and printed(z) >= printed(ccd_z)):
                yield key, row["ccd"], reasons


def good_files(night: ScoredNight, chosen: Chosen) -> str:
    """The files of all exposures that were measured and not chosen, a path a line: for the next program.

    Raises
    ------
    OutputError
        When a path holds a control character: such a list cannot hold a line break, and a terminal obeys others.
    """
    lines = []
    for row in night.exposures:
        key = key_of(row)
        if key in chosen or not row["n_ccd_used"]:
            continue
        for file in night.found[key].files:
            path = path_text(file)
            if any(unicodedata.category(c) == "Cc" for c in path):
                raise OutputError(f"the file {path!r} has a control character in its name, a list has a file a line")
            lines.append(path)
    return "".join(f"{line}\n" for line in lines)


def regions(
    night: ScoredNight, chosen: Chosen, folder: Path, backend: Backend, kind: str = "isophote"
) -> Iterator[tuple[ExposureKey, int, list[str]]]:
    """Write the sources of the chosen exposures as DS9 regions, a file a CCD: EXPOSURE_CCD.reg.

    The files' pixels are read again, one CCD at a time.

    Parameters
    ----------
    night : ScoredNight
    chosen : dict
        See `choose`.
    folder : Path
        Made when it is missing.
    backend : Backend
    kind : str, optional
        Whose angles: source or isophote.

    Yields
    ------
    tuple of ExposureKey, int, list of str
        An exposure, its number of sources written, and why CCDs of it are missing.

    Raises
    ------
    OutputError
        When a file cannot be written.
    """
    for key in chosen:
        if key not in night.found:
            yield key, 0, ["it could not be measured"]
            continue
        n, missing = 0, []
        for seen in look(night.found[key], night.settings, backend, binning=0):
            if not isinstance(seen, Look):
                missing.append(seen.reason)
                continue
            lines = list(_region_lines(key[1], seen, kind))
            n += len(lines) - _HEAD
            make_folder(folder)
            write_text(folder / f"{_safe(key[1])}_{_safe(seen.name)}.reg", "\n".join(lines) + "\n")
        yield key, n, missing


_HEAD = 4
"""Lines of a region file before the first region."""


def _region_lines(exposure: str, seen: Look, kind: str) -> Iterator[str]:
    yield "# Region file format: DS9 version 4.1"
    who = printable(f"exposure {exposure}, CCD {seen.name}")
    yield f"# gpuanom {__version__}, {who}: {kind} orientations; pa: east of north"
    yield "# pixels of the image without overscan"
    yield "image"
    found = seen.sources
    if found is None:
        return
    angles = found.source_angle if kind == "source" else found.isophote_angle
    for y, x, angle, e in zip(found.y, found.x, angles, found.ellipticity, strict=True):
        if np.isnan(angle):
            yield f"circle({x + 1},{y + 1},6) # color=yellow"
            continue
        minor = 10.0 * np.sqrt((1.0 - e) / (1.0 + e)) if np.isfinite(e) else 5.0
        pa = position_angle(float(angle), seen.ccd.sky_axes)
        tag = "" if np.isnan(pa) else f" tag={{pa={pa:.1f}}}"
        yield f"ellipse({x + 1},{y + 1},10,{max(minor, 1.0):.1f},{angle:.1f}) # color=cyan{tag}"


def _safe(name: str) -> str:
    """A name that is a file's name on every system."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name) or "_"
