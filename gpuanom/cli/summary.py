"""The short ranked summary that `gpuanom score` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from gpuanom.digits import printed_values
from gpuanom.display import counted
from gpuanom.errors import printable
from gpuanom.nights.events import Night
from gpuanom.records import KINDS, Doubles, Integers
from gpuanom.scoring.verdict.levels import ODD, VERDICTS
from gpuanom.tables.plain import PlainTable

TOP = 10
"""Exposures in each list."""

_REMEDIES = {
    "alone": "no other exposure of its camera and band to compare with; score more together, or give --reference"
    " (flat: scores without a verdict)",
}
MORE_EXPOSURES = "for verdicts, score more exposures together (gpuanom merge joins scored nights), or give --reference"
"""What to do where a dataset is too small for verdicts."""

_NEEDS = ", and a verdict needs"
"""The end of the reason why a dataset that is too small has no verdicts; before it stands the dataset's size."""

DATASETS = 3
"""At most so many cameras and bands are named behind a reason why exposures have no verdict."""

_NUMBERS = {
    "rank": "d",
    "KL": ".4f",
    "floor": ".4f",
    "z": ".1f",
    "p": ".1g",
    "deviation": ".1f",
    "angle": ".0f",
    "alignment": ".2f",
}
_NAMES = ("exposure", "camera", "band")
_WIDEST = {"camera": 14, "band": 8}
"""Longer names of cameras and bands are cut short on the screen."""
_ENDLESS = 10_000
"""The width of a terminal on which every table has room."""
_RECONSTRUCTED = {"rank": "d", "mse": ".4g", "deviation": ".1f"}
KIND_NAMES = {
    "source": "source orientations",
    "isophote": "isophotal orientations",
    "background": "background gradients",
    "flat_background": "flat background gradients",
}


def print_summary(night: Night, console: Console) -> None:
    """Print the verdicts, then the most anomalous exposures by any score, and by each of the paper's scores.

    In each list, the exposures of all datasets are ordered by their deviation, because KL values of different datasets
    cannot be compared. Exposures of a dataset that is too small for deviations follow, ordered by z.

    Parameters
    ----------
    night : Night
        A scored night.
    console : Console
        Where to print; where there is no room for all columns, some are left out.
    """
    exposures = night.tables.plain[0]
    print_verdicts(exposures, console)
    _print_overall(exposures, console)
    for kind in ("source", "isophote", "background"):
        _print_top(exposures, kind, KIND_NAMES[kind], console)
    if "autoencoder_mse" in exposures.colnames:
        _print_reconstructed(exposures, console)
    counts = {str(s): int(np.count_nonzero(exposures["status"] == s)) for s in _statuses(night)}
    parts = ", ".join(f"{n} {status}" for status, n in counts.items())
    n = len(exposures)
    # Without the word "status" an "ok" would be taken for the verdict of that name.
    console.print(Text(f"status of {counted(n, 'exposure')}: {parts}" if parts else "no exposures"))
    for status, remedy in _REMEDIES.items():
        if status in counts:
            console.print(Text(f"{status}: {remedy}"))
    if night.written:
        console.print(Text(f"tables: {', '.join(str(path) for path in night.written)}"))


def print_verdicts(exposures: PlainTable, console: Console) -> None:
    """Print how many exposures are bad, to be checked and ok; then those that are bad or to be checked, with the cause.

    Parameters
    ----------
    exposures : PlainTable
        The table of exposures; without verdicts nothing is printed.
    console : Console
        Where to print.
    """
    if "verdict" not in exposures.colnames or not len(exposures):
        return
    verdict, cause = [str(v) for v in exposures["verdict"]], [str(c) for c in exposures["cause"]]
    counts = ", ".join(f"{verdict.count(name)} {name}" for name in VERDICTS)
    without = verdict.count("")
    console.print(Text(f"verdicts: {counts}{f', {without} without a verdict' if without else ''}"))
    odd = [i for worst_first in ODD for i, name in enumerate(verdict) if name == worst_first]
    grid = Grid(box=None, show_header=False, padding=(0, 1))
    for i in odd[:TOP]:
        names = " ".join(filter(None, (printable(str(exposures[name][i])) for name in _NAMES)))
        evidence = _number(exposures["evidence"][i], ".0f")
        grid.add_row(Text(f"{verdict[i]:<4} {names}"), Text(f"{printable(cause[i])} (evidence {evidence})"))
    if odd:
        console.print(grid)
    if len(odd) > TOP:
        console.print(Text(f"and {len(odd) - TOP} more; the column `verdict` of the tables has all"))
    _print_reasons(exposures, verdict, cause, console)
    console.print()


def _print_reasons(exposures: PlainTable, verdict: list[str], cause: list[str], console: Console) -> None:
    """Print why exposures have no verdict, and of which cameras and bands these are."""
    cameras, bands = exposures["camera"].tolist(), exposures["band"].tolist()
    datasets = [" ".join(filter(None, (str(c), str(b)))) for c, b in zip(cameras, bands, strict=True)]
    several = len(set(datasets)) > 1
    reasons: dict[str, list[str]] = {}
    for dataset, v, reason in zip(datasets, verdict, cause, strict=True):
        if not v and reason:
            reasons.setdefault(reason, []).append(dataset)
    for reason, of_these in reasons.items():
        names = [name for name in dict.fromkeys(of_these) if name]
        shown = ", ".join(names[:DATASETS]) + (f" and {len(names) - DATASETS} more" if len(names) > DATASETS else "")
        of = f" of {shown}" if several and names else ""
        text = reason.replace(_NEEDS, f" each{_NEEDS}") if len(names) > 1 else reason
        console.print(Text(printable(f"{counted(len(of_these), 'exposure')}{of}: {text}")))
    if any(_NEEDS in reason for reason in reasons):
        console.print(Text(MORE_EXPOSURES))


def _print_overall(exposures: PlainTable, console: Console) -> None:
    """Print the head of the table: the exposures with the largest deviation of any kind."""
    deviations = np.stack([filled(exposures[f"{kind}_deviation"]) for kind in KINDS], axis=1)
    known = np.flatnonzero(np.isfinite(deviations).any(axis=1))
    if not known.size:
        return
    largest_of_all = printed_values(np.where(np.isnan(deviations), -np.inf, deviations).max(axis=1))
    known = known[np.argsort(-largest_of_all[known], kind="stable")]
    rows: list[list[str | Text]] = []
    for i in known[:TOP]:
        largest = int(np.nanargmax(deviations[i]))
        row = exposures[int(i)]
        kind = KINDS[largest].replace("_", " ")
        z = _number(row[f"{KINDS[largest]}_z"], ".1f")
        rows.append([*_names(row), f"{deviations[i, largest]:.1f}", z, kind, _stands(row)])
    columns = (*_NAMES, "deviation", "z", "by score", _standing(exposures))
    title = f"all scores: the {min(TOP, known.size)} most anomalous of {known.size}"
    print_table(console, title, columns, rows, numbers=("deviation", "z"), drop=(*_of_one(exposures), "z", "by score"))
    console.print()


def print_table(
    console: Console,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    *,
    numbers: Sequence[str] = (),
    drop: Sequence[str] = (),
    pad_edge: bool = True,
) -> None:
    """Print a table; where the terminal is too narrow, columns are left out rather than numbers cut short.

    Parameters
    ----------
    console : Console
    title : str
        Empty for a table without one.
    columns : sequence of str
        The names of the columns.
    rows : sequence of sequence
        The values of each row, in the order of the columns.
    numbers : sequence of str, optional
        The columns that hold numbers, which are never cut short.
    drop : sequence of str, optional
        The columns that may be left out, those that are missed least first.
    pad_edge : bool, optional
        Whether a blank stands on either side of the table.
    """
    left = list(columns)
    without_end = console.options.update(max_width=_ENDLESS)
    for out in (None, *drop):
        if out in left:
            left.remove(out)
        grid = Grid(title=title or None, title_justify="left", box=None, pad_edge=pad_edge)
        for name in left:
            k = columns.index(name)
            if name in numbers:
                width = max(len(str(text)) for text in (name, *(row[k] for row in rows)))
                grid.add_column(name, justify="right", no_wrap=True, min_width=width)
            else:
                grid.add_column(name, no_wrap=True, max_width=_WIDEST.get(name))
        for row in rows:
            grid.add_row(*(text for name, text in zip(columns, row, strict=True) if name in left))
        if Measurement.get(console, without_end, grid).maximum <= console.width:
            break
    console.print(grid)


def _of_one(exposures: PlainTable) -> list[str]:
    """Of camera and band those that are the same for all exposures, which a narrow terminal can go without."""
    return [name for name in ("camera", "band") if len(set(exposures[name].tolist())) < 2]


def _names(row: Mapping[str, object]) -> list[Text]:
    """Id, camera and band of an exposure, fit for a terminal."""
    return [Text(printable(str(row[name]))) for name in _NAMES]


def _standing(exposures: PlainTable) -> str:
    """The title of the column in which the verdict stands, or the status where there are no verdicts."""
    return "verdict" if "verdict" in exposures.colnames else "status"


def _stands(row: Mapping[str, object]) -> str:
    """What stands there: the verdict of a measured exposure, if there is one, and the status of others."""
    status = str(row["status"])
    return str(row["verdict"] or "-") if status == "ok" and "verdict" in row else status


def _statuses(night: Night) -> list[str]:
    found = np.unique(np.asarray(night.tables.plain[0]["status"], dtype=np.str_)).tolist()
    return sorted(found, key=lambda s: (s != "ok", s))


def _by_deviation(deviation: Doubles, score: Doubles) -> Integers:
    """The order of exposures by their deviation downwards, those without one last, and then by their score."""
    return np.lexsort((-score, np.where(np.isnan(deviation), np.inf, -deviation)))


def _print_top(exposures: PlainTable, kind: str, title: str, console: Console) -> None:
    deviation = filled(exposures[f"{kind}_deviation"])
    z = filled(exposures[f"{kind}_z"])
    known = np.flatnonzero(~np.isnan(z))
    if not known.size:
        console.print(Text(f"{title}: no scores\n"))
        return
    order = known[_by_deviation(deviation[known], z[known])[:TOP]]
    # A terminal of 80 columns has no room for all numbers; those left out are in the written table.
    rows: list[list[str | Text]] = []
    for i in order:
        row = exposures[int(i)]
        values = (_number(row[f"{kind}_{name.lower()}"], spec) for name, spec in _NUMBERS.items())
        rows.append([*_names(row), *values, _stands(row)])
    title = f"{title}: the {len(order)} most anomalous of {known.size}"
    columns = (*_NAMES, *_NUMBERS, _standing(exposures))
    drop = ("floor", "KL", "rank", *_of_one(exposures), "p", "alignment", "angle", "z")
    print_table(console, title, columns, rows, numbers=tuple(_NUMBERS), drop=drop)
    console.print()


def _print_reconstructed(exposures: PlainTable, console: Console) -> None:
    """Print the exposures whose stamps an autoencoder reconstructs worst."""
    title = "reconstruction of stamps"
    mse, deviation = filled(exposures["autoencoder_mse"]), filled(exposures["autoencoder_deviation"])
    known = np.flatnonzero(~np.isnan(mse))
    if not known.size:
        console.print(Text(f"{title}: no scores\n"))
        return
    order = known[_by_deviation(deviation[known], mse[known])[:TOP]]
    rows: list[list[str | Text]] = []
    for i in order:
        row = exposures[int(i)]
        values = (_number(row[f"autoencoder_{name}"], spec) for name, spec in _RECONSTRUCTED.items())
        rows.append([*_names(row), *values, _number(row["n_stamps"], "d"), _stands(row)])
    title = f"{title}: the {len(order)} most anomalous of {known.size}"
    numbers = (*_RECONSTRUCTED, "stamps")
    drop = ("stamps", *_of_one(exposures), "rank", "mse")
    print_table(console, title, (*_NAMES, *numbers, _standing(exposures)), rows, numbers=numbers, drop=drop)
    console.print()


def filled(column: object) -> np.typing.NDArray[np.float64]:
    """Return the numbers of a column.

    Parameters
    ----------
    column : array_like
        Of a table; may be masked.

    Returns
    -------
    ndarray of float64
        NaN where there is no number.
    """
    return np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan)


def _number(value: object, spec: str) -> str:
    if value is np.ma.masked:
        return "-"
    return format(int(str(value)) if spec == "d" else float(str(value)), spec)


def summary_console() -> Console:
    """A console on standard output; where that is no terminal, 140 columns wide."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=140)
    return console
