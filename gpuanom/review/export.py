"""A night's anomalies in formats that surveys exchange: lists of what to exclude, and lists of good files."""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpuanom.cameras.focalplane import ccd_number
from gpuanom.digits import printed, printed_values
from gpuanom.errors import OutputError, SettingsError, printable
from gpuanom.paths import as_named_here, path_text
from gpuanom.records import KINDS, ExposureKey
from gpuanom.review import excluded_visits, labels
from gpuanom.review.analysts import Consensus, consensus
from gpuanom.review.opened import ScoredNight, is_background, is_named, key_of
from gpuanom.scoring.verdict.levels import ODD
from gpuanom.version import __version__

FORMATS = ("exclude", "bad_expid", "excluded_visits", "list", "regions")
ANALYST = "gpuanom"
"""The analyst named in exclude tables where no person labelled the exposure."""


@dataclass(frozen=True)
class Reason:
    """Why an exposure was chosen: the kind of score or label, a text, the analyst, and the CCDs if not all of them."""

    kind: str
    text: str
    analyst: str = ANALYST
    ccds: frozenset[str] | None = None


Chosen = dict[ExposureKey, list[Reason]]
"""The chosen exposures in the order of the table, with the reasons of each."""


@dataclass(frozen=True)
class Criterion:
    """The criterion that makes an exposure an anomaly; exactly one of the fields is given.

    Attributes
    ----------
    rank : int, optional
        The rank in the dataset is at most this.
    z : float, optional
        z is at least this.
    p : float, optional
        p is at most this.
    deviation : float, optional
        The deviation is at least this.
    fdr : float, optional
        The p is a discovery at this false-discovery rate, over all exposures and kinds together (Benjamini-Hochberg).
    label : str, optional
        The label is this one or a graver one.
    verdict : str, optional
        The verdict is one of these, with commas between them: bad, check. Of other exposures the bad CCDs are chosen.
    """

    rank: int | None = None
    z: float | None = None
    p: float | None = None
    deviation: float | None = None
    fdr: float | None = None
    label: str | None = None
    verdict: str | None = None

    @property
    def name(self) -> str:
        """The name of the field that is given.

        Raises
        ------
        SettingsError
            When no field is given, or several are.
        """
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) != 1:
            raise SettingsError(
                "choose by one of verdict, rank, z, p, deviation, fdr and label, not by "
                + (" and ".join(given) or "none of them")
            )
        return given[0]


def choose(
    night: ScoredNight,
    criterion: Criterion,
    kinds: Sequence[str] = KINDS,
    labels_given: Sequence[labels.Label] = (),
    how: Consensus = "majority",
) -> Chosen:
    """Choose the exposures that meet a criterion.

    Parameters
    ----------
    night : ScoredNight
    criterion : Criterion
    kinds : sequence of str, optional
        The kinds of score to use, for labels source and background; an exposure is chosen when one kind meets the
        criterion.
    labels_given : sequence of Label, optional
        The labels, where the criterion is a label.
    how : str, optional
        How the labels of several analysts are combined, see `gpuanom.review.analysts.consensus`.

    Returns
    -------
    dict of ExposureKey to list of Reason
    """
    if criterion.name == "verdict":
        return _judged(night, str(criterion.verdict))
    if criterion.name == "label":
        return _labelled(night, str(criterion.label), kinds, labels_given, how)
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
    """The rank, z and p of a score as words of a list."""
    parts = ((name, row[f"{kind}_{name}"], spec) for name, spec in (("rank", "d"), ("z", ".1f"), ("p", ".1g")))
    return " ".join(f"{name}={value:{spec}}" for name, value, spec in parts if value is not None)


def _benjamini_hochberg(night: ScoredNight, kinds: Sequence[str], rate: float) -> float:
    """The largest p that is a discovery at this false-discovery rate; -1 where nothing is."""
    p = np.sort([row[f"{kind}_p"] for row in night.exposures for kind in kinds if row[f"{kind}_p"] is not None])
    passed = np.flatnonzero(printed_values(p) <= printed_values(rate * np.arange(1, p.size + 1) / max(p.size, 1)))
    return float(p[passed[-1]]) if passed.size else -1.0


def _judged(night: ScoredNight, wanted: str) -> Chosen:
    """The exposures with these verdicts, and of the others the CCDs with them."""
    names = [name.strip() for name in wanted.split(",")]
    if not set(names) <= set(ODD):
        raise SettingsError(f"'{wanted}' are no verdicts to choose by (bad, or bad,check)")
    if not any("verdict" in row for row in night.exposures):
        raise OutputError(
            "this night has no verdicts (it was scored by the paper's settings alone): choose by --deviation, --rank "
            "or --label"
        )
    ccds = night.ccds()
    chosen: Chosen = {}
    for row in night.exposures:
        if row["verdict"] in names:
            chosen[key_of(row)] = [Reason("verdict", row["cause"])]
            continue
        bad = [ccd for ccd in ccds.get(key_of(row), []) if ccd["verdict"] in names]
        if bad:
            chosen[key_of(row)] = [Reason("verdict", ccd["cause"], ccds=frozenset([ccd["ccd"]])) for ccd in bad]
    return chosen


def _labelled(
    night: ScoredNight, least: str, kinds: Sequence[str], labels_given: Sequence[labels.Label], how: Consensus
) -> Chosen:
    if least not in labels.GRADES:
        raise SettingsError(f"'{least}' is no label (one of {', '.join(labels.GRADES)})")
    agreed = consensus(labels_given, how)
    chosen: Chosen = {}
    for row in night.exposures:
        key = key_of(row)
        for kind in (k for k in labels.LABEL_KINDS if k in kinds):
            grade = agreed.get((*key, kind))
            if grade is None or labels.GRADES.index(grade) < labels.GRADES.index(least):
                continue
            given = [a for a in labels_given if a.subject == (*key, kind)]
            given = [a for a in given if labels.GRADES.index(a.label) >= labels.GRADES.index(least)]
            words = sorted({a.reason for a in given if a.reason})
            analysts = " ".join(sorted({a.analyst for a in given}))
            chosen.setdefault(key, []).append(Reason(kind, " ".join([kind, *(words or [grade])]), analysts))
    return chosen


def exclude_table(night: ScoredNight, chosen: Chosen, ccd_z: float | None = None) -> str:
    """List exposures and CCDs to exclude as DES and DELVE do: CSV with EXPNUM, CCDNUM, REASON and ANALYST.

    Parameters
    ----------
    night : ScoredNight
    chosen : dict
        See `choose`.
    ccd_z : float, optional
        Of an exposure that was chosen for its background alone, list only CCDs with at least this background_z.

    Returns
    -------
    str
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
    """List exposures and CCDs to exclude as the Legacy Surveys do: lines of EXPNUM[-CCDNAME] and the reason.

    Parameters
    ----------
    night : ScoredNight
    chosen : dict
        See `choose`.
    ccd_z : float, optional
        Name the CCDs, as in `exclude_table`, where an exposure was chosen for its background alone; without it
        exposures are listed whole.

    Returns
    -------
    str
    """
    lines = [f"# gpuanom {__version__}: exposures and the reasons to leave them out"]
    if ccd_z is None and not any(r.ccds is not None for reasons in chosen.values() for r in reasons):
        lines += [f"{exposure} {'; '.join(r.text for r in reasons)}" for (_, exposure), reasons in chosen.items()]
        lines = list(map(printable, lines))
        return "\n".join(lines) + "\n"
    listed_whole: set[ExposureKey] = set()
    for key, ccd, reasons in _ccds(night, chosen, ccd_z):
        text = "; ".join(r.text for r in reasons)
        if all(r.ccds is not None or (ccd_z is not None and is_background(r.kind)) for r in reasons):
            lines.append(f"{key[1]}-{ccd} {text}")
        elif key not in listed_whole:
            listed_whole.add(key)
            lines.append(f"{key[1]} {text}")
    return "\n".join(map(printable, lines)) + "\n"


def visit_list(chosen: Chosen) -> str:
    """List exposures to exclude as Rubin does: ECSV of exposure and comment, without exposures of which CCDs are bad.

    Parameters
    ----------
    chosen : dict
        See `choose`.

    Returns
    -------
    str

    Raises
    ------
    OutputError
        When the exposures are of several cameras.
    """
    return excluded_visits.to_text({key: "; ".join(r.text for r in chosen[key]) for key in whole(chosen)})


def whole(chosen: Chosen) -> list[ExposureKey]:
    """Return the exposures that were chosen as a whole, and not for single CCDs."""
    return [key for key, reasons in chosen.items() if any(r.ccds is None for r in reasons)]


def _ccds(night: ScoredNight, chosen: Chosen, ccd_z: float | None) -> Iterator[tuple[ExposureKey, str, list[Reason]]]:
    """The CCDs of the chosen exposures; for backgrounds, only CCDs with at least this background_z if it is given."""
    ccds = night.ccds()
    for key, reasons in chosen.items():
        by_ccd = ccd_z is not None and all(is_background(r.kind) for r in reasons)
        named = any(r.ccds is not None for r in reasons)
        for row in filter(is_named, ccds.get(key, [])):
            z = row["background_z"]
            if named:
                matching = [r for r in reasons if r.ccds is None or row["ccd"] in r.ccds]
                if matching:
                    yield key, row["ccd"], matching
            elif not by_ccd or (z is not None and ccd_z is not None and printed(z) >= printed(ccd_z)):
                yield key, row["ccd"], reasons


def good_files(night: ScoredNight, chosen: Chosen) -> str:
    """List the files of all exposures that were measured and not chosen, one path on each line.

    Parameters
    ----------
    night : ScoredNight
    chosen : dict
        See `choose`.

    Returns
    -------
    str

    Raises
    ------
    OutputError
        When a path holds a control character, such as a line break, or bytes that are not UTF-8, which the list
        cannot hold.
    """
    lines = []
    # The file of an exposure of which some CCDs are bad holds good CCDs too.
    left_out = set(whole(chosen))
    for row in night.exposures:
        key = key_of(row)
        if key in left_out or not row["n_ccd_used"]:
            continue
        for file in night.found[key].files:
            path = path_text(file)
            if any(unicodedata.category(c) == "Cc" for c in path):
                raise OutputError(
                    f"the file {path!r} has a control character in its name, which a list of files cannot hold"
                )
            if not _is_utf8(file):
                raise OutputError(
                    f"the file {path} has a name that is not UTF-8, which a list of files cannot hold (rename the file)"
                )
            lines.append(path)
    return "".join(f"{line}\n" for line in lines)


def _is_utf8(file: Path) -> bool:
    try:
        os.fsencode(as_named_here(str(file))).decode("utf-8")
    except UnicodeError:
        return False
    return True
