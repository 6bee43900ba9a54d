"""Which part of an image shows the sky: which section cards are applied, and why.

Cards such as DATASEC describe the image that the camera wrote. Programs that trim or join images
often leave these cards unchanged, so a section is applied only where the image still has the size
that the cards describe. Otherwise the image is taken whole, and the column ``note`` of the
exposure says where overscan may be left in the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.cameras.rules import AMPLIFIERS, ANY, ESO_OUTPUT, SUBARU_CHANNELS, CameraRule
from gpuanom.errors import InputError, printable
from gpuanom.fits.ccds.sections import Section, bad_section, parse_section, trimmed_shape
from gpuanom.fits.headers.binning import binning
from gpuanom.fits.headers.hdus import FileHeaders
from gpuanom.fits.headers.kept_answers import once_for_same_cards
from gpuanom.fits.headers.values import Cards

_LETTERS = "ABCDEFGHIJKLMNOP"
_NUMBERS = (*range(1, 17), *(10 * row + column for row in range(2, 5) for column in range(1, 5)))
_AMPLIFIERS = (tuple(_LETTERS), tuple(str(n) for n in _NUMBERS))
"""Endings of the cards of a CCD's amplifiers: DATASECA, DATASEC1, and DSEC11 with row and column."""
_OF_AMPLIFIERS = ("TRIMSEC", "TSEC", "DATASEC", "DSEC")
_BIAS = ("BIASSEC", "OVRSCAN", "OVERSCAN", "OVERSEC", "OVSCSEC", "PRESCAN", "BIASSEC2")
_BIAS_OF_AMPLIFIERS = ("BIASSEC", "BSEC")
_MOSTLY = 0.75
"""Fraction of both axes that data and overscan together must reach: cards that reach less describe another image."""


@dataclass(frozen=True)
class DataSections:
    """The parts of an image that show the sky.

    Attributes
    ----------
    sections : tuple of Section
        One for each amplifier; empty: the whole image.
    why : str
        The cards that decided, in a line for `gpuanom explain`.
    remark : str
        What the column ``note`` of the exposure should say; empty where nothing is uncertain.
    """

    sections: tuple[Section, ...] = ()
    why: str = "no card says where the sky is: taken whole"
    remark: str = ""


@dataclass(frozen=True)
class _Candidate:
    """The sections that one way to trim gives, and the cards that they are from."""

    label: str
    sections: tuple[Section, ...]

    @property
    def size(self) -> tuple[int, int] | None:
        """(ny, nx) of the trimmed image; None where the sections do not make up a rectangle."""
        ends = max(s.y1 for s in self.sections), max(s.x1 for s in self.sections)
        try:
            return trimmed_shape(ends, self.sections, ())
        except InputError:
            return None

    def fits(self, shape: tuple[int, int]) -> bool:
        return all(s.fits_in(*shape) for s in self.sections)

    def is_all_of(self, shape: tuple[int, int]) -> bool:
        return self.fits(shape) and self.size == shape

    def overlaps(self, others: Iterable[Section]) -> bool:
        return any(section.overlaps(other) for other in others for section in self.sections)


@once_for_same_cards
def data_sections(rule: CameraRule, cards: Cards, shape: tuple[int, int]) -> DataSections:
    """Return the parts of an image that show the sky.

    Parameters
    ----------
    rule : CameraRule
        Its `trim` names the cards, its `full_size` is the size of the untrimmed CCD.
    cards : Cards
        Headers of the image.
    shape : tuple of 2 ints
        (ny, nx) of the image as the file holds it.

    Raises
    ------
    InputError
        Status ``bad_section``: the cards make no sense for the image, and the rule of this camera
        names them. By the rule for any camera, and by rules that inherit its ways to trim, such
        cards are ignored.
    """
    if not rule.trim:
        return DataSections(why=f"camera rule '{rule.name}' takes images whole")
    if rule.full_size and shape[1] < rule.full_size[0] and shape[0] < rule.full_size[1]:
        candidates = list(_candidates(rule, cards, shape, []))
        if not any(c.fits(shape) for c in candidates):
            return DataSections(why="smaller than the camera's untrimmed CCD, and its sections leave it: taken whole")
    unreadable: list[str] = []
    candidates = list(_candidates(rule, cards, shape, unreadable))
    bias = _bias(cards)
    inside = [b for b in bias if b.fits_in(*shape)]
    if not candidates:
        return _without_cards(inside, unreadable)
    if not _tries_all(rule):
        candidates = candidates[:1]
    untouched = _untouched(candidates, cards, shape, inside)
    if untouched:
        return DataSections(why=untouched)
    usable = [c for c in candidates if c.fits(shape) and c.size is not None]
    if not usable and binning(cards) != (1, 1):
        candidates = [_scaled(c, binning(cards)) for c in candidates]
        inside = [s for b in bias for s in _scaled_sections((b,), binning(cards)) if s.fits_in(*shape)]
        usable = [c for c in candidates if c.sections and c.fits(shape) and c.size is not None]
    if not usable:
        return _misfit(rule, candidates[0], shape)
    chosen = next((c for c in usable if not c.overlaps(inside)), usable[0])
    if not _describes(chosen, inside, shape):
        return _whole(f"{chosen.label} covers a part of the image only and seems to be of an earlier form of it")
    return DataSections(chosen.sections, f"trimmed to {chosen.label}", _doubts(chosen, usable, inside))


@once_for_same_cards
def sections_and_shapes(
    rule: CameraRule, claimed: tuple[tuple[int, ...], ...], headers: FileHeaders
) -> list[tuple[DataSections, tuple[int, int]] | None]:
    """Return the parts of each image of a file that show the sky, and the shape of the trimmed image.

    Parameters
    ----------
    rule : CameraRule
    claimed : tuple of tuple of int
        (..., ny, nx) of each image.
    headers : FileHeaders

    Returns
    -------
    list of (DataSections, (ny, nx)), or None
        None for an image that is not one plane, and where `data_sections` or `trimmed_shape` raises an error.
    """
    found: list[tuple[DataSections, tuple[int, int]] | None] = []
    for shape, cards in zip(claimed, headers.cards(), strict=True):
        found.append(None)
        if len(shape) > 1 and math.prod(shape[:-2]) == 1:
            ny, nx = shape[-2:]
            with suppress(InputError):
                sky = data_sections(rule, cards, (ny, nx))
                found[-1] = sky, trimmed_shape((ny, nx), sky.sections, rule.full_size)
    return found


def _tries_all(rule: CameraRule) -> bool:
    """Whether a rule knows nothing of the camera: all cards are tried, and those that make no sense are ignored."""
    return rule.name == ANY or rule.trim == BUILTIN_RULES[-1].trim


def _candidates(rule: CameraRule, cards: Cards, shape: tuple[int, int], unreadable: list[str]) -> Iterable[_Candidate]:
    """Yield the sections of each way to trim whose cards the headers have; add what cannot be read to `unreadable`."""
    for way in rule.trim:
        try:
            if way == SUBARU_CHANNELS:
                found = _Candidate("the effective regions of its channels (T_EFM cards)", _subaru_channels(cards))
            elif way == AMPLIFIERS:
                found = _amplifiers(cards)
            elif way == ESO_OUTPUT:
                found = _eso_output(cards, shape)
            else:
                found = _of_keywords(way.split("+"), cards, shape)
        except InputError as error:
            if not _tries_all(rule):
                raise
            unreadable.append(f"{_name(way)}: {error.reason}")
            continue
        if found.sections:
            yield found


def _name(way: str) -> str:
    return "its amplifiers' sections" if way == AMPLIFIERS else way


def _of_keywords(keywords: Sequence[str], cards: Cards, shape: tuple[int, int]) -> _Candidate:
    texts = [cards.get(keyword) for keyword in keywords]
    if any(text is None for text in texts):
        return _Candidate("", ())
    label = " and ".join(f"{key} {printable(str(text))}" for key, text in zip(keywords, texts, strict=True))
    if len(texts) == 1 and str(texts[0]).replace(" ", "") == "[*,*]":
        return _Candidate(label, (Section(0, 0, *shape),))
    return _Candidate(label, tuple(parse_section(text) for text in texts))


def _amplifiers(cards: Cards) -> _Candidate:
    """Return the sections of a CCD's amplifiers, whatever the names and numbers of their cards."""
    for stem in filter(cards.may_have, _OF_AMPLIFIERS):
        for endings in _AMPLIFIERS:
            keys = [stem + ending for ending in endings if len(stem + ending) <= 8]
            found = {key: text for key in keys if isinstance(text := cards.get(key), str)}
            if found:
                names = f"{min(found)} to {max(found)}" if len(found) > 1 else min(found)
                sections = tuple(dict.fromkeys(parse_section(text) for text in found.values()))
                candidate = _Candidate(names, sections)
                if candidate.size is None:
                    raise bad_section(f"{names} overlap or do not make up a rectangle")
                return candidate
    return _Candidate("", ())


def _subaru_channels(cards: Cards) -> tuple[Section, ...]:
    """Return the effective regions of channels 1 to 4, from T_EFMNij and T_EFMXij, j = 1 for x and 2 for y."""
    if cards.get("T_EFMN11") is None:
        return ()
    sections = []
    for channel in "1234":
        ends = [cards.get(f"T_EF{end}{channel}{axis}") for axis in "12" for end in ("MN", "MX")]
        sections.append(parse_section("[{}:{},{}:{}]".format(*ends)))
    return tuple(sections)


def _eso_output(cards: Cards, shape: tuple[int, int]) -> _Candidate:
    """Return the valid pixels of an ESO detector with one output, without prescan and overscan."""
    if not str(cards.get("ORIGIN") or "").upper().startswith("ESO") or cards.get("ESO DET OUT2 NX") is not None:
        return _Candidate("", ())
    ends = []
    for axis, length in zip("XY", reversed(shape), strict=True):
        n, before, after = (_count(cards.get(f"ESO DET OUT1 {key}{axis}")) for key in ("N", "PRSC", "OVSC"))
        if n < 1 or n + before + after != length:
            return _Candidate("", ())  # there are no such cards, or the image was trimmed before
        ends += [before + 1, before + n]
    text = "[{}:{},{}:{}]".format(*ends)
    return _Candidate(f"{text}, the valid pixels of ESO DET OUT1", (parse_section(text),))


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**31 else 0


def _bias(cards: Cards) -> list[Section]:
    """Return the overscan regions in the header; cards that cannot be read are ignored."""
    stems = filter(cards.may_have, _BIAS_OF_AMPLIFIERS)
    keys = [*_BIAS, *(stem + end for stem in stems for ends in _AMPLIFIERS for end in ends)]
    found = []
    for key in dict.fromkeys(keys):
        text = cards.get(key) if len(key) <= 8 else None
        if isinstance(text, str) and text.startswith("["):
            try:
                found.append(parse_section(text))
            except InputError:
                continue
    return found


def _without_cards(inside: Sequence[Section], unreadable: Sequence[str]) -> DataSections:
    """Take the image whole, because no card says where the sky is."""
    problems = list(unreadable)
    if inside:
        problems.append(
            f"a BIASSEC {inside[0].text} says that it has overscan, and no DATASEC or TRIMSEC where the sky is"
        )
    return _whole("; ".join(problems)) if problems else DataSections()


def _whole(problem: str) -> DataSections:
    line = f"{problem}: taken whole, overscan may be scored"
    return DataSections((), line, line)


def _untouched(
    candidates: Sequence[_Candidate],
    cards: Cards,
    shape: tuple[int, int],
    inside: Sequence[Section],
) -> str:
    """Return why the image certainly has no overscan; empty where this is not certain."""
    bx, by = binning(cards)
    for c in candidates:
        if not c.fits(shape) and c.size is not None:
            ny, nx = c.size
            if shape in ((ny, nx), (ny // by, nx // bx)):
                return f"has the size of {c.label} already: trimmed before, taken whole"
    if candidates[0].is_all_of(shape) and not candidates[0].overlaps(inside):
        return f"{candidates[0].label} is the whole image"
    if any(_says_trimmed(cards.get(key)) for key in ("TRIM", "TRIMMED", "TRIMIM", "TRIM_IMA", "L1STATTR")):
        return "its header says that it was trimmed before: taken whole"
    if not inside and _section_size(cards.get("CCDSIZE"), (bx, by)) == shape:
        return "has the size of CCDSIZE already: trimmed before, taken whole"
    return ""


def _says_trimmed(value: Any) -> bool:
    """Whether a card that programs write when they trim an image says that it was trimmed."""
    if isinstance(value, bool | int):
        return bool(value)
    text = str(value or "").strip().lower()
    words = ("t", "true", "yes", "done", "complete")
    # IRAF: "Mar 3 12:00 Trim data section is [...]"; ccdproc: "ccd=<CCDData>, fits_section=[...]".
    return text in words or text.startswith(("trim", "ccd=")) or "trim data" in text


def _section_size(text: Any, bins: tuple[int, int]) -> tuple[int, int] | None:
    """Return (ny, nx) of a section such as CCDSIZE, in binned pixels; None where it is no section."""
    try:
        s = parse_section(text)
    except InputError:
        return None
    return (s.y1 - s.y0) // bins[1], (s.x1 - s.x0) // bins[0]


def _scaled_sections(sections: Iterable[Section], bins: tuple[int, int]) -> tuple[Section, ...]:
    """Convert sections from unbinned to binned pixels; binned pixels that lie partly outside are left out."""
    bx, by = bins
    scaled = (Section(-(-s.y0 // by), -(-s.x0 // bx), s.y1 // by, s.x1 // bx) for s in sections)
    return tuple(s for s in scaled if s.x1 > s.x0 and s.y1 > s.y0)


def _scaled(candidate: _Candidate, bins: tuple[int, int]) -> _Candidate:
    label = f"{candidate.label} in pixels binned {bins[0]} x {bins[1]}"
    return _Candidate(label, _scaled_sections(candidate.sections, bins))


def _misfit(rule: CameraRule, candidate: _Candidate, shape: tuple[int, int]) -> DataSections:
    """Take the image whole, or raise an error, because no section lies within it."""
    ny, nx = shape
    size = candidate.size
    if size is None:
        trimmed_shape(shape, candidate.sections, ())  # raises an error that says what is wrong
        raise bad_section("its data sections do not make up a rectangle")
    if not _tries_all(rule) and (nx > size[1] or ny > size[0]):
        raise bad_section(f"a data section leaves the image of {nx} x {ny} pixels")
    return _whole(f"{candidate.label} leaves the image of {nx} x {ny} pixels")


def _describes(candidate: _Candidate, inside: Sequence[Section], shape: tuple[int, int]) -> bool:
    """Whether data and overscan cover enough of the image to describe it, and not a smaller image."""
    known = [*candidate.sections, *inside]
    reaches = max(s.x1 for s in known) >= _MOSTLY * shape[1] and max(s.y1 for s in known) >= _MOSTLY * shape[0]
    area = sum((s.x1 - s.x0) * (s.y1 - s.y0) for s in known)
    return reaches and 2 * area >= shape[0] * shape[1]


def _doubts(chosen: _Candidate, usable: Sequence[_Candidate], inside: Sequence[Section]) -> str:
    """Say where the cards contradict each other; empty where they do not."""
    if chosen.overlaps(inside):
        return f"{chosen.label} and the overscan of BIASSEC overlap: overscan may be scored"
    others = [c for c in usable if c is not chosen and not c.overlaps(inside)]
    for other in others if chosen.label.startswith("TRIMSEC") else []:
        if not all(any(_within(s, o) for o in other.sections) for s in chosen.sections):
            return f"{chosen.label} reaches beyond {other.label}: overscan may be scored"
    return ""


def _within(a: Section, b: Section) -> bool:
    return b.x0 <= a.x0 and b.y0 <= a.y0 and a.x1 <= b.x1 and a.y1 <= b.y1
