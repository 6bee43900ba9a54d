"""How results show themselves: one line for a terminal, a small table for a notebook, never a wall of numbers."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence

from gpuanom.errors import printable

MOST_ROWS = 10
"""The largest number of rows that a table in a notebook shows; further rows are counted."""

LONGEST = 100
"""The largest number of characters of a text that is shown; longer texts are cut."""


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: ``1 exposure``, ``12 exposures``.

    Parameters
    ----------
    n : int
    noun : str
        In the singular; the plural ends in s.
    """
    return f"1 {noun}" if n == 1 else f"{n} {noun}s"


def file_size(n_bytes: int) -> str:
    """Return the size of a file: ``37 kB``, ``1.2 MB``.

    Parameters
    ----------
    n_bytes : int
    """
    return f"{max(1, round(n_bytes / 1e3))} kB" if n_bytes < 999_500 else f"{n_bytes / 1e6:.1f} MB"


def text(value: object) -> str:
    """Return a value as a short text in one line: four digits of a number, nothing for None and NaN."""
    if value is None or str(value) == "--":  # "--" is how astropy shows a masked value
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else ""
    line = printable(str(value))
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def one_line(kind: str, facts: Iterable[str], name: str = "") -> str:
    """Return the representation of a record in one line, such as ``<Night: 5 exposures, 1 failed>``.

    Parameters
    ----------
    kind : str
        The name of its class.
    facts : iterable of str
        What to say of it; empty texts are left out.
    name : str, optional
        The name of this record.
    """
    head = f"{kind} {text(name)}" if name else kind
    return f"<{head}: {', '.join(text(fact) for fact in facts if fact)}>"


def html_table(
    title: str, facts: Iterable[str], names: Sequence[str], rows: Sequence[Sequence[object]], n_rows: int = 0
) -> str:
    """Return the representation of a record for a notebook: a title, some facts, and the first rows of a table.

    Parameters
    ----------
    title : str
    facts : iterable of str
        Empty texts are left out.
    names : sequence of str
        The heads of the table's columns.
    rows : sequence of sequence
        Values in the order of `names`; `MOST_ROWS` of the rows are shown.
    n_rows : int, optional
        The number of rows of the whole table, where `rows` holds only its first ones.

    Returns
    -------
    str
        HTML in which every text is escaped.
    """
    about = ", ".join(text(fact) for fact in facts if fact)
    parts = [f"<div><p><b>{_escaped(title)}</b>{': ' if about else ''}{_escaped(about)}</p>"]
    if rows:
        head = "".join(f"<th>{_escaped(name)}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{_escaped(text(value))}</td>" for value in row) + "</tr>" for row in rows[:MOST_ROWS]
        )
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    more = max(n_rows, len(rows)) - MOST_ROWS
    if more > 0:
        parts.append(f"<p>and {more} more</p>")
    return "".join(parts) + "</div>"


def _escaped(value: str) -> str:
    return html.escape(printable(value), quote=True)
