"""Labels that people give to exposures, and the CSV files that keep them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from gpuanom.errors import InputError, printable
from gpuanom.files import LABELS, one_at_a_time, write_text
from gpuanom.natural_order import natural_key
from gpuanom.records import ExposureKey
from gpuanom.review import excluded_visits, marked

NAME = "labels.csv"
"""The file in a night's folder that keeps all labels with their analysts."""

GRADES: tuple[str, ...] = ("normal", "dubious", "prominent")
"""The grades of an exposure, from harmless to grave (METHOD.md 8)."""

REASONS: tuple[str, ...] = (
    "elongated",
    "double",
    "trail",
    "stripes",
    "rings",
    "ghost",
    "focus",
    "clouds",
    "other",
)
LABEL_KINDS: tuple[str, ...] = ("source", "background")

Subject: TypeAlias = tuple[str, str, str]
"""What a label is about: camera, exposure and kind."""


@dataclass(frozen=True)
class Label:
    """The label that one analyst gives to one exposure.

    Attributes
    ----------
    exposure, camera : str
        An empty camera stands for the only camera of the night with an exposure of this id.
    kind : str
        One of `LABEL_KINDS`: whether the label is about the sources or the background.
    label : str
        One of `GRADES`.
    reason : str
        One of `REASONS`, or empty.
    analyst : str
    time : str
        ISO 8601, UTC where no other offset is given; the latest of an analyst's labels counts. A label without a time
        that can be read is older than any label with one.
    places : str
        Where the analyst marked something, as `gpuanom.review.marked.to_text` writes it; empty without a mark.
    """

    exposure: str
    camera: str
    kind: str
    label: str
    reason: str
    analyst: str
    time: str
    places: str = ""

    @property
    def subject(self) -> Subject:
        """What the label is about."""
        return self.camera, self.exposure, self.kind


_COMMENTS: tuple[tuple[str, str, str], ...] = (
    (r"stripe|wave|fringing|pickup|herringbone|jitter", "background", "stripes"),
    (r"\brings?\b", "background", "rings"),
    (r"ghost|glow|scattered|stray", "background", "ghost"),
    (r"cloud", "source", "clouds"),
    (r"focus|donut", "source", "focus"),
    (r"trail|slew|track|guiding", "source", "trail"),
    (r"double|repeated", "source", "double"),
    (r"elongated|astigmati|coma|tilt", "source", "elongated"),
    (r"background|sky|light|laser|amplifier|crosstalk", "background", "other"),
)
"""Words of a comment, with the kind and the reason of the label that they give; the first line that fits counts."""

_COLUMNS = tuple(f.name for f in fields(Label))
_REQUIRED = ("exposure", "kind", "label")


def read(path: Path) -> list[Label]:
    """Read the labels of a CSV file, as the report's page saves them, or a list of excluded visits in ECSV.

    Parameters
    ----------
    path : Path
        The first line of a CSV file names the columns, at least exposure, kind and label. Without a column analyst the
        file's name is taken for the analyst's name. The exposures of a list of excluded visits are prominent; the
        words of their comments tell the kind and the reason.

    Returns
    -------
    list of Label

    Raises
    ------
    InputError
        When the file cannot be read, or a line holds an unknown value; the message names the line.
    """
    text = csv_text(path)
    if text.startswith(excluded_visits.MARK):
        visits = excluded_visits.from_text(text, path)
        return [label for exposure, comment in visits for label in _of_visit(exposure, comment, printable(path.stem))]
    lines = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = [name for name in _REQUIRED if name not in (lines.fieldnames or ())]
        if missing:
            words = f"its first line must name the columns; {', '.join(missing)} missing"
            raise InputError(words, file=path, remedy=how_to_name(lines.fieldnames))
        return [_label(row, path, lines.line_num) for row in lines]
    except csv.Error as error:
        raise InputError(f"line {lines.reader.line_num}: {error}", file=path) from None


def how_to_name(columns: Sequence[str] | None) -> str | None:
    """Say what the first line of a CSV file holds in place of the wanted names; None where the file is empty."""
    if not columns:
        return None
    return f"the line is '{','.join(columns)[:80]}'; names are written in small letters, with commas between"


def is_visit_list(path: Path) -> bool:
    """Whether a file is a list of excluded visits, which may hold the visits of other nights too."""
    return csv_text(path).startswith(excluded_visits.MARK)


def csv_text(path: Path | str, remedy: str = "check the path and its permissions") -> str:
    """Return the text of a CSV file.

    Parameters
    ----------
    path : Path or str
    remedy : str, optional
        What the message says where the file cannot be read.

    Raises
    ------
    InputError
        When the file cannot be read, or is not in UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path, remedy=remedy) from None
    except UnicodeDecodeError:
        raise InputError("not a CSV file in UTF-8", file=path, remedy="save it as CSV in UTF-8") from None


def _of_visit(exposure: str, comment: str, analyst: str) -> list[Label]:
    """The labels of an excluded visit, one for each kind that its comment speaks of."""
    found: dict[str, Label] = {}
    for part in comment.split(";"):
        kind, reason = next(
            ((kind, reason) for words, kind, reason in _COMMENTS if re.search(words, part.lower())), ("source", "other")
        )
        # Lists that `gpuanom export` made of labels name the kind first.
        named = part.split()[:1]
        kind = named[0] if named and named[0] in LABEL_KINDS else kind
        found.setdefault(kind, Label(exposure, "", kind, GRADES[-1], reason, analyst, ""))
    return list(found.values())


def _label(row: Mapping[str | None, Any], path: Path, line: int) -> Label:
    # csv keeps the values behind the last column under None; a spreadsheet may write empty ones.
    if any(row.get(None) or ()):
        raise InputError(
            f"line {line}: more values than columns", file=path, remedy='quote a text with a comma: "a, b"'
        )
    values = {name: printable(row.get(name) or "") for name in _COLUMNS}
    values["analyst"] = values["analyst"] or printable(path.stem)
    for name, allowed in (("kind", LABEL_KINDS), ("label", GRADES), ("reason", ("", *REASONS))):
        if values[name] not in allowed:
            words = ", ".join(word for word in allowed if word)
            raise InputError(f"line {line}: {name} '{values[name]}' is none of {words}", file=path)
    if not values["exposure"]:
        raise InputError(f"line {line}: no exposure", file=path)
    try:
        values["places"] = marked.to_text(marked.from_text(values["places"]))
    except ValueError as error:
        raise InputError(f"line {line}: {error}", file=path) from None
    return Label(**values)


def write(path: Path, labels: Iterable[Label]) -> None:
    """Write labels as CSV, whole or not at all.

    Parameters
    ----------
    path : Path
    labels : iterable of Label

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(astuple(label) for label in labels)
    write_text(path, text.getvalue(), same=LABELS)


def kept(folder: Path) -> list[Label]:
    """Return the labels that a night's folder keeps; there are none before the first `gpuanom label`."""
    path = folder / NAME
    return read(path) if path.exists() else []


def keep(folder: Path, new: Iterable[Label], *, replace: bool = False) -> list[Label]:
    """Keep further labels in a night's folder, one program at a time, so that none loses the labels of another one.

    Parameters
    ----------
    folder : Path
        A folder that `gpuanom score` made.
    new : iterable of Label
        Labels with their cameras, see `placed`.
    replace : bool, optional
        Drop the labels that were kept before.

    Returns
    -------
    list of Label
        All labels that are kept now.

    Raises
    ------
    InputError
        When the kept labels cannot be read.
    OutputError
        When the labels cannot be written.
    """
    with one_at_a_time(folder):
        found = merged([*([] if replace else kept(folder)), *new])
        write(folder / NAME, found)
    return found


def merged(labels: Iterable[Label]) -> list[Label]:
    """Keep the latest label of each exposure, kind and analyst, of equally late ones the last; in order of exposure.

    Times are compared as moments, not as texts: `2026-01-02T03:00:00-05:00` is later than `2026-01-02T04:00:00Z`.
    """
    latest: dict[tuple[Subject, str], Label] = {}
    for label in labels:
        key = (label.subject, label.analyst)
        if key not in latest or moment(latest[key].time) <= moment(label.time):
            latest[key] = label
    return sorted(latest.values(), key=lambda a: (natural_key(a.exposure), a.camera, a.kind, a.analyst))


def moment(time: str) -> datetime:
    """The moment that a label's time names; the earliest moment of all where the text is no time in ISO 8601."""
    try:
        found = datetime.fromisoformat(time)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def placed(labels: Iterable[Label], exposures: Iterable[ExposureKey]) -> tuple[list[Label], list[Label]]:
    """Fill in missing cameras of labels, and separate labels that belong to no exposure of the night.

    Parameters
    ----------
    labels : iterable of Label
    exposures : iterable of (camera, exposure)
        The exposures of the night.

    Returns
    -------
    found, strangers : list of Label
        Labels of exposures of the night, and labels of no exposure, or without a camera of several exposures.
    """
    cameras: dict[str, list[str]] = {}
    for camera, exposure in exposures:
        cameras.setdefault(exposure, []).append(camera)
    found, strangers = [], []
    for label in labels:
        candidates = cameras.get(label.exposure, [])
        if label.camera in candidates:
            found.append(label)
        elif not label.camera and len(candidates) == 1:
            found.append(Label(label.exposure, candidates[0], *astuple(label)[2:]))
        else:
            strangers.append(label)
    return found, strangers
