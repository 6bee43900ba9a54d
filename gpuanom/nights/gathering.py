"""The measurements of several nights in one store, with a note of the night that each comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gpuanom.errors import printable
from gpuanom.fits import discover
from gpuanom.fits.exposures.identity import version_in_name
from gpuanom.nights.events import Say
from gpuanom.nights.same_exposures import placed_copies
from gpuanom.paths import absolute, exists, resolved
from gpuanom.records import Exposure, Version
from gpuanom.settings import Settings
from gpuanom.store.failed_files import FailedFile
from gpuanom.store.set_aside import Copy, Membership, Placed
from gpuanom.store.store import Store


def each_once(nights: Sequence[Path], output: Path, say: Say) -> list[Path]:
    """Return the folders of nights without those that are named again, and without the folder of the merged night.

    Parameters
    ----------
    nights : sequence of Path
    output : Path
        Folder of the merged night.
    say : callable
        Takes a line on a folder that is left out.
    """
    found: dict[Path, Path] = {}
    for night in nights:
        place = resolved(night)
        if place == resolved(output):
            say(printable(f"{night} is the output folder itself, which holds these exposures already"))
        elif place in found:
            say(printable(f"{night} is named twice (before as {found[place]}): taken once"))
        else:
            found[place] = night
    return list(found.values())


def gather(merged: Store, nights: Sequence[tuple[Path, Store]], settings: Settings, say: Say) -> None:
    """Take the exposures and failures of nights into a store, and decide which of them are one exposure.

    Parameters
    ----------
    merged : Store
        May hold exposures already.
    nights : sequence of (Path, Store)
        The folder and the store of each night, in the order in which they count.
    settings : Settings
        Those that the nights were measured with, and `versions`.
    say : callable
        Takes a line on new ids, and on versions that are set aside.
    """
    copies, failed = merged.copies(), merged.failed_files()
    for folder, store in nights:
        of_night, failed_there = store.copies(), store.failed_files()
        first = 1 + max((m.position for c in copies for m in c.nights), default=-1)
        first = max(first, 1 + max((f.membership.position for f in failed), default=-1))
        positions = sorted(
            {m.position for c in of_night for m in c.nights} | {f.membership.position for f in failed_there}
        )
        later = {position: first + i for i, position in enumerate(positions)}
        through = str(absolute(folder))

        def joined(m: Membership, later: dict[int, int] = later, through: str = through) -> Membership:
            return Membership(later[m.position], (*m.night, through))

        copies += [replace(c, nights=tuple(map(joined, c.nights))) for c in of_night]
        failed += [FailedFile(joined(f.membership), f.failure) for f in failed_there]
    rearrange(merged, copies, failed, [store for _, store in nights], settings, say)


def rearrange(
    merged: Store,
    copies: Sequence[Copy],
    failed: Sequence[FailedFile],
    others: Sequence[Store],
    settings: Settings,
    say: Say,
) -> None:
    """Decide which copies are one exposure, and put each where it belongs; copies that are not given are forgotten.

    Parameters
    ----------
    merged : Store
    copies : sequence of Copy
        Of this store and of others.
    failed : sequence of FailedFile
    others : sequence of Store
        The other stores.
    settings : Settings
    say : callable
        Takes a line on new ids, and on versions that are set aside.
    """
    placed, lines = placements(copies, settings)
    for line in lines:
        say(printable(line))
    merged.rearrange(placed, failed, others)


def placements(copies: Sequence[Copy], settings: Settings) -> tuple[list[Placed], list[str]]:
    """Decide which copies are one exposure; see `gpuanom.nights.same_exposures.placed_copies`.

    Parameters
    ----------
    copies : sequence of Copy
    settings : Settings
        `versions` says what becomes of several processing versions of an exposure.

    Returns
    -------
    placed : list of Placed
    lines : list of str
        New ids, and versions that are set aside.
    """
    return placed_copies(copies, settings.versions, lambda exposure: _version(exposure, settings))


def _version(exposure: Exposure, settings: Settings) -> tuple[Version, str]:
    """The processing version of an exposure: as its store knows it, or else by its files, or by their names."""
    if exposure.version is not None:
        return exposure.version, exposure.version_label
    if exposure.files and all(map(exists, exposure.files)):
        identities = discover(exposure.files[:1], settings).descriptions
        for about in identities.values():
            return about.version, about.version_label
    return version_in_name(exposure.files[0]) if exposure.files else (((), "", (), ""), "")
