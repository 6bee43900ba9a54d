"""Nights that are not measured as a whole: runs that were ended early, and shares of a night that are missing.

Every table, page and reference of such a night would look complete.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path

from gpuanom.display import counted
from gpuanom.errors import printable
from gpuanom.fits import Discovery
from gpuanom.store.planned import Share, unfinished_line
from gpuanom.store.store import Store

_NAMED = 6
"""Most missing shares that a line names."""


def share_of(found: Discovery, part: int, parts: int) -> Share:
    """Return which share of a night is measured.

    Parameters
    ----------
    found : Discovery
        All exposures of the night.
    part, parts : int
        The share, counted from 1, and the number of shares.
    """
    ids = sorted(f"{e.camera} {e.exposure}" for e in found.exposures)
    night = blake2b("\n".join(ids).encode("utf-8", "surrogateescape"), digest_size=8)
    return Share(part, parts, night.hexdigest())


def lacking_of(nights: Iterable[tuple[Path, Store]]) -> list[str]:
    """Return a line on each night whose run was ended early, and on shares of a night that are not among the nights.

    Parameters
    ----------
    nights : iterable of (Path, Store)
        The folder and the store of each night.
    """
    lines = []
    shares: dict[tuple[str, int], dict[int, Path]] = defaultdict(dict)
    for folder, store in nights:
        lines.append(unfinished_line(folder, store.n_unmeasured()))
        if share := store.share():
            shares[share.night, share.parts][share.part] = folder
    lines += [_missing_shares(given, parts) for (_, parts), given in shares.items() if len(given) < parts]
    return [line for line in lines if line]


def _missing_shares(given: Mapping[int, Path], parts: int) -> str:
    missing = [part for part in range(1, parts + 1) if part not in given]
    names = ", ".join(map(str, missing[:_NAMED]))
    if len(missing) > _NAMED:
        names += f" and {len(missing) - _NAMED} more"
    folders = str(given[min(given)])
    if len(given) > 1:
        folders += f" and {counted(len(given) - 1, 'other folder')}"
    return printable(
        f"{folders}: {counted(len(missing), 'share')} of this night, which has {parts}, not among the inputs: {names}"
        " (name the folders of all shares; where files came between the jobs, score each share again)"
    )
