"""Known anomalies, read from lists, and how many of them the highest scores find (METHOD.md 8)."""

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

from gpuanom.errors import InputError, printable
from gpuanom.natural_order import natural_key
from gpuanom.paths import path_text
from gpuanom.records import ExposureKey
from gpuanom.review import excluded_visits, labels
from gpuanom.review.evaluate import FRACTION, ranked_exposures
from gpuanom.review.opened import ScoredNight, is_background
from gpuanom.settings import decimal

SHIPPED = ("cfhtlens",)
"""Names of the lists of known anomalies in `gpuanom/data`."""


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
        One of `gpuanom.review.evaluate.SCORES`.
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
    for (_, _, kind), order in ranked_exposures(night, score).items():
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
