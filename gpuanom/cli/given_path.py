"""Paths on the command line; an empty one is refused, and a dash, which would become a file of that name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


class GivenPath(click.Path):
    """A path that a user gives.

    An empty text is nearly always a variable of the shell that is not set. It would stand for the present folder, and
    the files that lie there would be scored or replaced.

    Parameters
    ----------
    path_type : type, optional
        `Path`, or `str` for what may also be a pattern or a list of files.
    **only : bool
        See `click.Path`: ``dir_okay``, ``file_okay``, ``readable``.
    """

    def __init__(self, path_type: type = Path, **only: bool) -> None:
        super().__init__(path_type=path_type, **only)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if not str(value):
            self.fail("the path is empty (is a variable of the shell not set? The present folder is .)", param, ctx)
        if str(value) == "-":
            self.fail(
                "- is no path here (/dev/stdout is standard output, @- a list of files on standard input,"
                " and ./- a file of that name)",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


STORE = "measurements.sqlite"
"""The file that makes a folder a scored night, as `gpuanom.store.store.NAME`, which takes long to import."""


class NightFolder(GivenPath):
    """The folder of a scored night; one of its files is refused with the folder's name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        path = Path(super().convert(value, param, ctx))
        is_its_file = path.name in (STORE, "report.html") or path.stem in ("exposures", "ccds")
        if is_its_file and os.path.isfile(path) and os.path.isfile(path.with_name(STORE)):  # noqa: PTH113 (any error)
            self.fail(f"{path} is a file of a scored night: give the folder {path.parent}", param, ctx)
        return path
