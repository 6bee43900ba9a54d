"""How good the scores are: true-positive rates of the highest scores, recall of known anomalies (METHOD.md 8)."""

from __future__ import annotations

import csv
import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from gpuanom.digits import printed
from gpuanom.errors import InputError, OutputError, printable
from gpuanom.naming import natural_key, path_text
from gpuanom.records import KINDS, ExposureKey
from gpuanom.review import excluded_visits, labels
from gpuanom.review.labels import Label
from gpuanom.review.opened import ScoredNight, is_background, key_of
from gpuanom.settings import decimal

FRACTION = 0.1
BINS = 10
SCORES = ("kl", "z", "deviation")
JUDGED = (*KINDS, "autoencoder")
"""The kinds of score that are compared with labels; the last only where the night was scored with a model."""
_RECONSTRUCTED = {"kl": "autoencoder_mse", "deviation": "autoencoder_deviation"}
"""An autoencoder's error takes the place of the KL of the other kinds; it has no z."""
SHIPPED = ("cfhtlens",)
"""Names of the lists of known anomalies in `gpuanom/data`."""


@dataclass(frozen=True)
class Bin:
    """A range of ranks among the highest scores of a dataset, with the labels of its exposures.

    Attributes
    ----------
    first, last : float
        The first and the last rank, in percent of the dataset's scored exposures.
    n : int
        Number of exposures.
    labelled, prominent, dubious : int
        Number of exposures with a label, with the label prominent, and with the label dubious.
    """

    first: float
    last: float
    n: int
    labelled: int
    prominent: int
    dubious: int

    @property
    def prominent_rate(self) -> float:
        """Fraction of the labelled exposures that are prominent; NaN where nothing is labelled."""
        return self.prominent / self.labelled if self.labelled else math.nan

    @property
    def dubious_rate(self) -> float:
        """Fraction of the labelled exposures that are prominent or dubious; NaN where nothing is labelled."""
        return (self.prominent + self.dubious) / self.labelled if self.labelled else math.nan


Rates = dict[tuple[str, str, str], list[Bin]]
"""The bins, from the highest scores down, by camera, band and kind of score."""


def true_positive_rates(
    night: ScoredNight,
    labelled: Iterable[Label],
    *,
    how: labels.Consensus = "majority",
    score: str = "kl",
    fraction: float = FRACTION,
    bins: int = BINS,
) -> Rates:
    """Compute true-positive rates of the highest scores of each dataset and kind: the paper's figures 5, 7 and 9.

    Parameters
    ----------
    night : ScoredNight
    labelled : iterable of Label
        One for each exposure, kind and analyst. Labels of sources are compared with both source scores and with the
        autoencoder's, labels of backgrounds with both background scores.
    how : str, optional
        How many analysts must agree, see `gpuanom.review.labels.consensus`.
    score : str, optional
        One of `SCORES`.
    fraction : float, optional
        Fraction of each dataset's scored exposures that counts as the highest, rounded up.
    bins : int, optional
        Number of bins of these highest scores.

    Returns
    -------
    dict of (camera, band, kind) to list of Bin
        From the highest scores down.
    """
    agreed = labels.consensus(labelled, how)
    rates: Rates = {}
    for (camera, band, kind), order in _ranked(night, score).items():
        top = order[: math.ceil(decimal(fraction) * len(order))]
        label_kind = "background" if is_background(kind) else "source"
        grades = [agreed.get((*key, label_kind)) for key in top]
        ranges, done = [], 0
        for part in np.array_split(np.arange(len(top)), bins):
            marks = [grades[i] for i in part]
            first, last = (100.0 * k / len(order) for k in (done, done + len(marks)))
            n_labelled = len(marks) - marks.count(None)
            prominent, dubious = marks.count("prominent"), marks.count("dubious")
            ranges.append(Bin(first, last, len(marks), n_labelled, prominent, dubious))
            done += len(marks)
        rates[camera, band, kind] = [b for b in ranges if b.n]
    return rates


def _ranked(night: ScoredNight, score: str) -> dict[tuple[str, str, str], list[ExposureKey]]:
    """The scored exposures of each dataset and kind, the highest score first, ties by id."""
    found: dict[tuple[str, str, str], list[tuple[float, Any, ExposureKey]]] = {}
    for row in night.exposures:
        for kind in JUDGED:
            column = f"{kind}_{score}" if kind in KINDS else _RECONSTRUCTED.get(score, "")
            value = row.get(column)
            if value is not None:
                values = found.setdefault((row["camera"], row["band"], kind), [])
                values.append((-printed(value), natural_key(row["exposure"]), key_of(row)))
    return {dataset: [key for _, _, key in sorted(values)] for dataset, values in sorted(found.items())}


def require_scores(night: ScoredNight, kinds: Sequence[str], score: str) -> None:
    """Refuse to rank a night by scores that it does not have: nothing would be found, whatever is known.

    Parameters
    ----------
    night : ScoredNight
    kinds : sequence of str
        Some of `JUDGED`.
    score : str
        One of `SCORES`.

    Raises
    ------
    OutputError
        When no exposure has a score of these kinds, or none has an autoencoder's error although it is asked for.
    """
    scored = {kind for _, _, kind in _ranked(night, score)}
    if "autoencoder" in kinds and "autoencoder" not in scored:
        if score not in _RECONSTRUCTED:
            raise OutputError(f"an autoencoder's errors have no {score} (give --score kl or --score deviation)")
        remedy = f"gpuanom score -o {night.folder} --model MODEL"
        raise OutputError(f"{night.folder}: was scored without an autoencoder ({remedy})")
    if not scored.intersection(kinds):
        other = ", ".join(name for name in SCORES if name != score)
        raise OutputError(f"{night.folder}: no exposure has a {score} to rank by (of --score, try {other})")


def rates_table(rates: Mapping[str, Rates]) -> Table:
    """Make a table of true-positive rates, with a row for each bin.

    Parameters
    ----------
    rates : mapping of str to Rates
        Rates by how many analysts must agree.

    Returns
    -------
    Table
    """
    rows = [
        (camera, band, kind, how, b.first, b.last, b.n, b.labelled, b.prominent, b.dubious)
        + (b.prominent_rate, b.dubious_rate)
        for how, of_datasets in rates.items()
        for (camera, band, kind), ranges in of_datasets.items()
        for b in ranges
    ]
    names = ("camera", "band", "score", "analysts", "first_percent", "last_percent", "n", "labelled", "prominent")
    kinds = ("U64", "U64", "U16", "U8", float, float, int, int, int, int, float, float)
    return Table(rows=rows or None, names=(*names, "dubious", "prominent_rate", "with_dubious_rate"), dtype=kinds)


@dataclass(frozen=True)
class KnownAnomaly:
    """A known anomaly: an exposure, or all exposures of a field.

    Attributes
    ----------
    exposure : str
        Id of the exposure; empty for all exposures of the field.
    field : str
        Name of the field; its exposures are found by this name in the paths of their files.
    n : int
        Number of exposures of the field.
    kind : str
        ``source`` or ``background``; empty when either will do.
    group : str
        Name of the list that the anomaly is on.
    paper : str
        What the paper says of it: found or missed, or nothing.
    """

    exposure: str
    field: str
    n: int
    kind: str
    group: str
    paper: str


def read_known(name: str | Path) -> list[KnownAnomaly]:
    """Read a list of known anomalies.

    Parameters
    ----------
    name : str or Path
        Name of a list that ships with the package (`SHIPPED`), or a CSV file with a column exposure, and optionally
        field, n, kind, list and paper; lines that begin with # are comments. Or the truth.ecsv of a simulated night.

    Returns
    -------
    list of KnownAnomaly

    Raises
    ------
    InputError
        When it cannot be read or makes no sense.
    """
    if str(name) in SHIPPED:
        text = resources.files("gpuanom.data").joinpath(f"{name}.csv").read_text(encoding="utf-8")
    else:
        shipped = f"shipped with gpuanom: {', '.join(SHIPPED)}"
        text = labels.csv_text(name, f"check the path and its permissions; {shipped}")
    if text.startswith(excluded_visits.MARK):
        return _anomalies_of_truth(text, name)
    numbered = [(i, t) for i, t in enumerate(text.splitlines(), 1) if t.strip() and not t.startswith("#")]
    lines = csv.DictReader((t for _, t in numbered), strict=True)
    if "exposure" not in (lines.fieldnames or ()):
        remedy = labels.how_to_name(lines.fieldnames)
        raise InputError("its first line must name the columns; exposure is missing", file=name, remedy=remedy)
    try:
        return [_known(row, name, numbered[lines.line_num - 1][0]) for row in lines]
    except csv.Error as error:
        raise InputError(f"line {numbered[lines.reader.line_num - 1][0]}: {error}", file=name) from None


def _anomalies_of_truth(text: str, name: str | Path) -> list[KnownAnomaly]:
    table = excluded_visits.read_ecsv(text, name)
    if missing := ", ".join(sorted({"exposure", "kind", "class"} - set(table.colnames))):
        words = f"a list of anomalies in ECSV has the columns exposure, kind and class; {missing} missing"
        raise InputError(words, file=name, remedy="name the truth.ecsv of a simulated night, or a CSV file")
    names = {"exposure": "exposure", "kind": "kind", "list": "class"}
    rows: list[dict[str | None, Any]] = [{key: str(row[column]) for key, column in names.items()} for row in table]
    return [_known(row, name, i) for i, row in enumerate(rows, 1) if row["list"] != "none"]


def _known(row: Mapping[str | None, Any], name: str | Path, line: int) -> KnownAnomaly:
    if any(row.get(None) or ()):
        remedy = 'quote a text with a comma: "a, b"'
        raise InputError(f"line {line}: more values than columns", file=name, remedy=remedy)
    values = {key: printable(row.get(key) or "") for key in ("exposure", "field", "n", "kind", "list", "paper")}
    number = values["n"] or "1"
    if not (values["exposure"] or values["field"]):
        raise InputError(f"line {line}: neither an exposure nor a field", file=name)
    if not (number.isascii() and number.isdigit() and 0 < len(number) < 7 and int(number)):
        raise InputError(f"line {line}: n '{number[:40]}' is no number of exposures", file=name)
    if values["kind"] not in ("", *labels.LABEL_KINDS):
        raise InputError(f"line {line}: kind '{values['kind']}' is none of {', '.join(labels.LABEL_KINDS)}", file=name)
    group = values["list"] or "known"
    return KnownAnomaly(values["exposure"], values["field"], int(number), values["kind"], group, values["paper"])


@dataclass(frozen=True)
class Recalled:
    """A known anomaly, and where the scores rank it.

    Attributes
    ----------
    known : KnownAnomaly
    key : ExposureKey or None
        The exposure; None where the night does not hold it.
    ranks : dict of str to (int, int)
        The rank, and the number of scored exposures of the dataset, by kind of score.
    by : tuple of str
        The kinds of score by which the anomaly is found.
    """

    known: KnownAnomaly
    key: ExposureKey | None
    ranks: dict[str, tuple[int, int]]
    by: tuple[str, ...]


def recall(
    night: ScoredNight,
    known: Iterable[KnownAnomaly],
    *,
    score: str = "kl",
    fraction: float = FRACTION,
    kinds: Sequence[str] = ("source", "background"),
) -> list[Recalled]:
    """Find which known anomalies are among the highest scores.

    Parameters
    ----------
    night : ScoredNight
    known : iterable of KnownAnomaly
    score : str, optional
        One of `SCORES`.
    fraction : float, optional
        An anomaly is found when a score of a kind that fits it is in this highest fraction of its dataset, rounded up.
    kinds : sequence of str, optional
        The kinds of score to use, by default the paper's.

    Returns
    -------
    list of Recalled
        One for each exposure. A field gives one for each of its exposures in the night, and one without a key for each
        exposure that is missing.
    """
    places: dict[ExposureKey, dict[str, tuple[int, int]]] = {}
    for (_, _, kind), order in _ranked(night, score).items():
        for i, ranked in enumerate(order, start=1):
            places.setdefault(ranked, {})[kind] = (i, len(order))
    result = []
    for anomaly in known:
        matching = [*_matching(night, anomaly)]
        # An id that stands for several exposures stands for none of them: which one is meant is not for us to choose.
        matching = [] if anomaly.exposure and len(matching) > anomaly.n else matching[: anomaly.n]
        key: ExposureKey | None
        for key in [*matching, *[None] * (anomaly.n - len(matching))]:
            ranks = places.get(key, {}) if key else {}
            by = tuple(
                kind
                for kind in kinds
                if kind in ranks
                and ranks[kind][0] <= math.ceil(decimal(fraction) * ranks[kind][1])
                and anomaly.kind in ("", "background" if is_background(kind) else "source")
            )
            result.append(Recalled(anomaly, key, ranks, by))
    return result


def nearest(night: ScoredNight, exposure: str) -> str:
    """Say why an id is that of no exposure of the night, and which ids are near.

    Parameters
    ----------
    night : ScoredNight
    exposure : str
        An id that `recall` did not find.

    Returns
    -------
    str
    """
    fitting = list(islice(_matching(night, KnownAnomaly(exposure, "", 1, "", "", "")), 5))
    if fitting:
        cameras = {camera for camera, _ in fitting}
        names = (f"{name} of {camera}" if len(cameras) > 1 else name for camera, name in fitting)
        return f"exposure {exposure} could be any of {', '.join(names)}: none was taken"
    ids = sorted({name for _, name in night.found}, key=natural_key)
    near = difflib.get_close_matches(exposure, ids, 3)
    if exposure.isdecimal() and (numbers := [name for name in ids if name.isdecimal()]):
        near = sorted(sorted(numbers, key=lambda name: abs(int(name) - int(exposure)))[:3], key=natural_key)
    return f"exposure {exposure} is not in {path_text(night.folder)}" + (
        f"; the nearest ids are {', '.join(near)}" if near else ""
    )


def _matching(night: ScoredNight, anomaly: KnownAnomaly) -> Iterable[ExposureKey]:
    """The measured exposures that a line of a list stands for, in order of id."""
    wanted = anomaly.exposure
    if exact := [key for key in night.found if key[1] == wanted]:
        yield from sorted(exact)
        return
    # Ids of the night may carry a version or a letter behind the number: 859948p, 859948_v2; and 037 may be 37 there.
    number = wanted.lstrip("0") or wanted[-1:]
    if not number[:1].isdecimal():
        number = wanted
    pattern = re.compile(rf"0*{re.escape(number)}(?!\d)", re.IGNORECASE) if wanted else None
    word = re.compile(rf"(?<![a-z0-9]){re.escape(anomaly.field)}(?![a-z0-9])", re.IGNORECASE)
    for key in sorted(night.found, key=lambda k: (natural_key(k[1]), k[0])):
        if pattern is not None:
            if pattern.match(key[1]):
                yield key
        elif any(word.search(path_text(file)) for file in night.found[key].files):
            yield key
