"""Examples and lists at the end of a help text, fitted to the width of the terminal."""

from __future__ import annotations

import re
import textwrap

import click

_TWO_PARTS = re.compile(r"(\s+)(\S.*?)\s{2,}(\S.*)")
"""An example and what it does, or a word and what it means."""


_FULL = 95
"""A line of the source that is longer may go on on the next one."""


class _Formatter(click.HelpFormatter):
    """Writes help texts; click leaves the lines of a marked block as they are, however long they are."""

    def write_text(self, text: str) -> None:
        """Write paragraphs."""
        super().write_text(fitted(text, self.width - self.current_indent))


class HelpContext(click.Context):
    """The context of a command whose help text is fitted to the terminal."""

    formatter_class = _Formatter


def fitted(text: str, width: int) -> str:
    r"""Return a help text whose marked blocks have room in the terminal.

    Parameters
    ----------
    text : str
        Paragraphs; those that begin with a line ``\b`` are printed line by line.
    width : int
        Of the terminal, in characters.

    Returns
    -------
    str
        What stands behind an example moves to a line of its own; blocks of prose lose their mark, so that they are
        wrapped. An example itself is never broken.
    """
    return "\n\n".join(_fitted(paragraph, width) for paragraph in text.split("\n\n"))


def _fitted(paragraph: str, width: int) -> str:
    mark, _, block = paragraph.partition("\n")
    lines = block.split("\n")
    if mark != "\b" or all(len(line) <= width for line in lines):
        return paragraph
    if not any(line.startswith(" ") for line in lines):
        return block
    return "\n".join([mark, *(part for line in _whole(lines) for part in _parts(line, width))])


def _whole(lines: list[str]) -> list[str]:
    """The lines of a block, where those that go on on the next line, as sources of 120 columns need, are joined."""
    joined: list[str] = []
    last = ""
    for line in lines:
        text = line.lstrip()
        goes_on = len(last) > _FULL and not text.startswith("gpuanom ") and _TWO_PARTS.fullmatch(line) is None
        if joined and goes_on and len(line) - len(text) >= len(last) - len(last.lstrip()):
            joined[-1] = f"{joined[-1]} {text}"
        else:
            joined.append(line)
        last = line
    return joined


def _parts(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    if (found := _TWO_PARTS.fullmatch(line)) is not None:
        indent, first, second = found.groups()
        begin = line[: found.start(3)]
        if len(begin) <= width // 3:
            return _wrapped(second, begin, width, " " * len(begin))
        return [indent + first, *_wrapped(second, f"{indent}    ", width)]
    indent = line[: len(line) - len(line.lstrip())]
    return [line] if line.lstrip().startswith("gpuanom ") else _wrapped(line.strip(), indent, width)


def _wrapped(text: str, begin: str, width: int, indent: str | None = None) -> list[str]:
    """The lines of a text: the first begins with `begin`, and the others with `indent`, by default the same."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=begin,
        subsequent_indent=begin if indent is None else indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
