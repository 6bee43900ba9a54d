"""How gpuanom reads files, and why: the decisions of `discover` and `open_ccds` in words."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpuanom.display import counted
from gpuanom.errors import InputError, printable
from gpuanom.fits.ccds.names import roles_in_file
from gpuanom.fits.discover import Discovery, discover, labels_of, rule_of
from gpuanom.fits.exposures.folders import NO_FITS
from gpuanom.fits.headers.values import card, quoted
from gpuanom.fits.opening.file import File
from gpuanom.fits.reader import open_by_file, origin_of
from gpuanom.natural_order import natural_key
from gpuanom.paths import path_text
from gpuanom.records import CcdFailure, CcdOnDisk, Exposure
from gpuanom.settings import Settings

OTHER_NAME = f"a FITS image not named as one: name the file itself, or give a pattern ({NO_FITS})"
"""Why a FITS image in a folder is left out."""


@dataclass(frozen=True)
class CcdAccount:
    """How one CCD of a file is read.

    Attributes
    ----------
    name : str
    hdu : int or None
        Number of the HDU; None where the CCD cannot be read.
    size : tuple of 2 ints, or None
        (nx, ny) in pixels, without what is cut off; None where the CCD cannot be read.
    trim, mask : str
        What is cut off, and which mask is applied.
    problem : str
        Why the CCD cannot be read; empty if it can.
    why : tuple of str
        What decided how the CCD is trimmed and turned.
    """

    name: str
    hdu: int | None
    size: tuple[int, int] | None
    trim: str
    mask: str
    problem: str
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Account:
    """How gpuanom reads one file.

    Attributes
    ----------
    file : str
    outcome : str
        ``scored``, ``skipped`` or ``failed``.
    reason : str
        Why the file is skipped or failed; empty where it is scored.
    exposure, camera, band, date_obs, version : str
        As the tables show them.
    exptime : float or None
        Exposure time in seconds; None where it is unknown.
    rule : str
        Name of the camera rule.
    exposure_told_by, band_told_by, rule_told_by : str
        The cards that decided the exposure id, the band and the rule.
    mask_file : str
        The mask file; empty where there is none.
    ccds : tuple of CcdAccount
    not_ccds : tuple of str
        Image HDUs that are no CCDs, and why.
    remarks : tuple of str
        What the column ``note`` says of the exposure, and what may surprise of this file.
    """

    file: str
    outcome: str
    reason: str = ""
    exposure: str = ""
    exposure_told_by: str = ""
    camera: str = ""
    rule: str = ""
    rule_told_by: str = ""
    band: str = ""
    band_told_by: str = ""
    date_obs: str = ""
    exptime: float | None = None
    version: str = ""
    mask_file: str = ""
    ccds: tuple[CcdAccount, ...] = ()
    not_ccds: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def to_text(self) -> str:
        """Return the account as lines of text."""
        lines = [self.file]
        if self.outcome != "scored":
            return "\n".join([*lines, f"  {self.outcome}: {self.reason}"])
        seconds = "unknown" if self.exptime is None else f"{self.exptime:g} s"
        lines += [
            f"  exposure: {self.exposure} (told by: {self.exposure_told_by})",
            f"  camera: {self.camera}, by rule '{self.rule}' ({self.rule_told_by})",
            f"  band: {self.band or 'none'} ({self.band_told_by})",
            f"  start: {self.date_obs or 'unknown'}, exposure time {seconds}",
        ]
        lines += [f"  version: {self.version}"] if self.version else []
        lines += [f"  mask file: {self.mask_file}"] if self.mask_file else []
        lines.append(f"  CCDs: {sum(not ccd.problem for ccd in self.ccds)}")
        for ccd in self.ccds:
            if ccd.problem or ccd.size is None:
                lines.append(f"    {ccd.name}: {ccd.problem}")
            else:
                lines.append(f"    {ccd.name}: HDU {ccd.hdu}, {ccd.size[0]} x {ccd.size[1]} pixels, {ccd.trim}")
                lines += [f"      {text}" for text in ccd.why]
                lines.append(f"      mask: {ccd.mask}")
        lines += [f"  no CCD: {text}" for text in self.not_ccds]
        lines += [f"  remark: {text}" for text in self.remarks]
        return "\n".join(lines)


def explain(inputs: Sequence[str | Path], settings: Settings) -> list[Account]:
    """Say how `gpuanom score` reads files; this uses the code of score.

    Parameters
    ----------
    inputs : sequence of str or Path
        See `gpuanom.fits.exposures.inputs.expand`.
    settings : Settings
        Its camera rules, `mask` and `versions` are used.

    Returns
    -------
    list of Account
        One for each file, in natural order. A file that cannot be read has an account too; no
        error is raised.
    """
    found = discover(inputs, settings)
    accounts = [Account(path_text(s.path), "skipped", s.reason) for s in found.skipped]
    accounts += [Account(path_text(path), "skipped", OTHER_NAME) for path in found.other_names]
    accounts += [Account(path_text(f.path), "failed", f"{f.status}: {f.reason}") for f in found.failures]
    for exposure in found.exposures:
        accounts += _accounts(exposure, found, settings)
    return sorted(accounts, key=lambda account: natural_key(account.file))


def _accounts(exposure: Exposure, found: Discovery, settings: Settings) -> list[Account]:
    ccds: dict[Path, list[CcdAccount]] = {path: [] for path in exposure.files}
    for path, item in open_by_file(exposure, settings):
        ccds[path].append(_ccd(item))
    labels = dict(zip(exposure.files, labels_of(exposure, settings), strict=True))
    accounts = []
    for path, mask in zip(exposure.files, exposure.masks, strict=True):
        description = found.descriptions[path]
        accounts.append(
            Account(
                file=path_text(path),
                outcome="scored",
                exposure=exposure.exposure,
                exposure_told_by=description.told_by,
                camera=exposure.camera,
                rule=exposure.rule,
                rule_told_by=description.rule_reason,
                band=exposure.band,
                band_told_by=description.band.told_by or "no card names one",
                date_obs=exposure.date_obs,
                exptime=description.exptime if description.exptime == description.exptime else None,
                version=description.version_label,
                mask_file="" if mask is None else path_text(mask),
                ccds=tuple(ccds[path]),
                not_ccds=tuple(_not_ccds(path, exposure, settings, labels[path])),
                remarks=(*exposure.remarks, *map(str, description.doubts)),
            )
        )
    return accounts


def _ccd(item: CcdOnDisk | CcdFailure) -> CcdAccount:
    if isinstance(item, CcdFailure):
        return CcdAccount(item.name, None, None, "", "", f"{item.status}: {item.reason}")
    origin = origin_of(item)
    (ny, nx), full = origin.shape, origin.full
    kept = ", ".join(section.text for section in origin.sections)
    trim = "whole" if origin.shape == full else f"cut from {full[1]} x {full[0]} to {kept}"
    return CcdAccount(item.name, origin.hdu, (nx, ny), trim, origin.mask, "", tuple(text for text in item.why if text))


def _not_ccds(path: Path, exposure: Exposure, settings: Settings, label: str) -> list[str]:
    try:
        file = File(path)
        roles = roles_in_file(file, rule_of(exposure, settings), label)
    except InputError:
        return []  # the accounts of the CCDs say why the file cannot be read
    lines = []
    for item, role in zip(file.images(), roles, strict=True):
        if role.no_ccd:
            name = quoted(card(item.header, "EXTNAME") or "") or "without a name"
            lines.append(printable(f"HDU {item.number} ({name}): {role.no_ccd}"))
    return lines


def decisions(found: Discovery) -> list[str]:
    """Return lines that say which rules and cards decided what the files are, each with its number of files."""
    files = found.descriptions.values()
    rules = Counter(f"camera rule '{file.rule.name}': {file.rule_reason}" for file in files)
    ids = Counter(f"exposure told by {file.told_by.partition(' is ')[0]}" for file in files)
    bands = Counter(f"band {file.band.name or 'none'} told by {file.band.told_by or 'no card'}" for file in files)
    return [f"{counted(n, 'file')}: {text}" for each in (rules, ids, bands) for text, n in sorted(each.items())]


def other_names(paths: Sequence[Path]) -> str:
    """Return a line about the FITS images in folders that are not taken by their names (`Discovery.other_names`).

    Parameters
    ----------
    paths : sequence of Path
        The images, in natural order; without any the line is empty.
    """
    if not paths:
        return ""
    first, n = paths[0], len(paths)
    letters = "".join(itertools.takewhile(lambda letter: letter.isalpha() or letter in "_-", first.name))
    names = f"skipped {counted(n, 'FITS image')}, not named as FITS files are (.fits, .fit, .fts): "
    example = f"{path_text(first)}{', ...' if n > 1 else ''}"
    return f"{names}{example} (name the files, or give a pattern such as '{path_text(first.parent / letters)}*')"


def untold_bands(found: Discovery) -> str:
    """Return a line about the exposures without a known band; empty where there are none."""
    untold = [e for e in found.exposures if not found.descriptions[e.files[0]].band.known]
    if not untold:
        return ""
    first = path_text(untold[0].files[0].name)
    return (
        f"{counted(len(untold), 'exposure')}: no card of the headers names a band (such as {first}); exposures of one "
        "camera without a band are ranked together (name the keyword of the filter in a camera rule: docs/files.md)"
    )


def doubtful(found: Discovery) -> dict[str, str]:
    """Return a line for each kind of doubt about the files, with their number, by the kind."""
    lines = {}
    doubts = [(path, doubt) for path, of_file in sorted(found.descriptions.items()) for doubt in of_file.doubts]
    for kind, n in Counter(doubt.kind for _, doubt in doubts).items():
        path, first = next((path, doubt) for path, doubt in doubts if doubt.kind == kind)
        example = f"{first.card} in {path_text(path.name)}" if first.card else path_text(path.name)
        lines[kind] = f"{counted(n, 'file')}: {kind} ({example if n == 1 else f'such as {example}'})"
    return lines
