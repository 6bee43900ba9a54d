"""Which images show the sky, and which are masks, weights or other planes, by headers and names of files.

An HDU with an unknown name is taken as a CCD: losing a CCD is worse than measuring one plane too
many.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpuanom.cameras.rules import CameraRule
from gpuanom.fits.headers.kept_answers import once_for_same_cards
from gpuanom.fits.headers.values import Cards, card, card_text, clean, matches, quoted, quoted_card
from gpuanom.fits.opening.file_names import SUFFIXES, stem

NAMES: tuple[str, ...] = ("EXTNAME", "EXTTYPE", "DES_EXT", "HDUCLAS1")
"""Cards of an HDU whose value may be the name of a plane, as the camera rule's ``not_ccds`` lists such names."""

# HDUCLAS2 of ESO's data product standard (section 4.5 there) and of the OGIP memo that it follows.
_PLANE_CLASSES = (
    *("ERROR", "QUALITY", "VARIANCE", "WEIGHT", "MASK", "FLAG*", "BKG", "BACKGROUND", "EXPOSURE", "CONFIDENCE"),
    *("MSE", "RMSE", "INVMSE", "INVRMSE", "MASKZERO", "MASKONE", "*BIT"),
)
_UNCERTAINTIES = ("*uncertainty", "variance", "inversevariance", "stddev")
_QUANTITY = r"(?:adu|dn|electrons?|e-|counts?|ct|photons?|ph|[nmu]?jy|nanomagg(?:y|ies)|nmgy)"
# The square of the unit of a CCD image, or its inverse: 'electron**2', 'adu2', '(adu/s)^2',
# '1/nanomaggy^2'. An area in the denominator ('MJy/pix^2', 'counts/arcsec2') is not such a square.
_SQUARED_UNIT = re.compile(rf"(?:1 ?/ ?)?\(?{_QUANTITY}(?: ?/ ?s(?:ec)?)?\)? ?(?:\*\*|\^)? ?\(?-?2(?![0-9.])")

_COMMUNITY_PIPELINE = re.compile(r"(?<![a-z0-9])oo[dwx](?![a-z0-9])")
_SDSS_MASK = re.compile(r"fp(?:m|bin)-[0-9]")
_LAST_PART = re.compile(r"(?<=[._-])[a-z]+$")
_FIRST_PART = re.compile(r"^(?:mask|weight|bpm|badpix|flag)(?=[._-])")
_PLAIN_WORDS = (
    "weight weights wht whtmap weightmap mask masks msk mskimg maskimg dqmask badpix bpm flag flags flagmap rms rmsmap "
    "uncimg unc uncert uncertainty variance ivar invvar invvarmap varmap expmap expwt conf confmap"
)
_PLAIN_ENDS = frozenset(_PLAIN_WORDS.split())
_WORDS_BESIDE_AN_IMAGE = (
    "var err error errors sig sigma sigmap wt dq dqm exp num ctx con cov bkg bkgd bck background back sky skymodel seg "
    "segm segmentation segmap psf check"
)
_ENDS_BESIDE_AN_IMAGE = frozenset(_WORDS_BESIDE_AN_IMAGE.split())
_IMAGE_WORDS = ("", "sci", "sciimg", "img", "image", "int", "data", "intensity")


def is_named(value: Any, names: str) -> bool:
    """Whether a header value is one of several names; case is ignored.

    Parameters
    ----------
    value : object
        The header value.
    names : str
        A name, or several joined by ``|``. No value equals an empty text.
    """
    return bool(names) and str(value).upper() in names.upper().split("|")


@once_for_same_cards
def plane_reason(rule: CameraRule, header: Any) -> str:
    """Tell why an image HDU is a mask, a weight or another plane that is no CCD.

    Parameters
    ----------
    rule : CameraRule
        Its `not_ccds` and `mask_hdu` name planes; the other criteria are the same for every
        camera.
    header : Header
        Header of the HDU alone, without the primary header.

    Returns
    -------
    str
        Such as ``EXTNAME is 'UNCERT'``; empty when the HDU is a CCD.
    """
    classes = card(header, "HDUCLAS2"), card(header, "HDUCLAS3")
    if is_named(classes[0], "DATA"):
        return ""  # ESO's standard says outright that the HDU holds the data
    for keyword in NAMES:
        value = card(header, keyword)
        if matches(value, rule.not_ccds) or is_named(value, rule.mask_hdu):
            return quoted_card(keyword, value)
    for keyword, value in zip(("HDUCLAS2", "HDUCLAS3"), classes, strict=True):
        if matches(value, _PLANE_CLASSES):
            return quoted_card(keyword, value)
    if card(header, "SCIDATA") is not None and not is_named(card(header, "SCIDATA"), clean(card(header, "EXTNAME"))):
        return f"SCIDATA says that HDU '{quoted(card(header, 'SCIDATA'))}' holds the sky"
    if matches(card(header, "UTYPE"), _UNCERTAINTIES):
        return quoted_card("UTYPE", card(header, "UTYPE"))
    unit = card(header, "BUNIT")
    if isinstance(unit, str) and _SQUARED_UNIT.match(unit.strip().lower()):
        return f"BUNIT is '{quoted(unit)}', the unit of a variance"
    return ""


def side_file(path: Path, cards: Cards | None = None) -> str:
    """Tell why a file is a weight map, a mask or another map that belongs to an image of the sky.

    Parameters
    ----------
    path : Path
        Names with ``oow`` or ``ood`` (Community Pipeline), and names such as ``x.weight``,
        ``x_bpm``, ``x_mskimg`` and ``x_conf`` are enough. Names that an image may have too
        (``x_err``, ``x_exp``, ``x_sky``) count only where the image ``x`` lies in the same folder.
    cards : Cards, optional
        Headers of the first image, whose kind of product is looked at.

    Returns
    -------
    str
        Empty where nothing shows that the file is such a map.
    """
    name = path.name.lower()
    if found := _COMMUNITY_PIPELINE.search(name):
        return f"'{found[0]}' in its name"
    if cards is not None:
        for keyword, patterns in _SIDE_PRODUCTS:
            if matches(cards.get(keyword), patterns):
                return card_text(cards, keyword)
    base = stem(path)
    lower = base.lower()
    if _SDSS_MASK.match(lower) or _FIRST_PART.match(lower):
        return f"its name starts with '{re.split('[._-]', base)[0]}'"
    found = _LAST_PART.search(lower)
    if found is None:
        return ""
    if found[0] in _PLAIN_ENDS:
        return f"its name ends in '{found[0]}'"
    if found[0] in _ENDS_BESIDE_AN_IMAGE:
        for image in _images_beside(path, base[: found.start()]):
            return f"its name ends in '{found[0]}' and {image.name} lies beside it"
    return ""


_MAPS = ("wtmap", "dqmask", "expmap", "coverage", "mask", "weight", "weightmap", "bpm", "badpix*", "confidence*")
_SIDE_PRODUCTS = tuple((keyword, _MAPS) for keyword in ("PRODTYPE", "OBSTYPE", "IMAGETYP", "IMGTYPE"))


def _images_beside(path: Path, base: str) -> Iterator[Path]:
    """Yield the images to which a map may belong: files with the map's name, without its last part or with another."""
    endings = (path.name[len(stem(path)) :], *SUFFIXES)
    for word in _IMAGE_WORDS:
        name = f"{base}{word}" if word else base[:-1]
        for ending in dict.fromkeys(endings):
            candidate = path.with_name(name + ending)
            if os.path.isfile(candidate):  # noqa: PTH113 (Path.is_file raises for long names)
                yield candidate
