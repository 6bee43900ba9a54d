"""Calibrations whose headers do not say that they are calibrations: by the OBJECT card or by the name of the file."""

from __future__ import annotations

import re

_MADE = r"(?:(?:master|super|norm(?:ed|ali[sz]ed)?|comb(?:ined)?|pix(?:el)?|median|mean|m|n)[ ._-]?)*"
"""How a calibration was made, before its kind: 'master_flat', 'combined_bias', 'mdark', 'nflat'."""
_KINDS = r"(?:bias|dark|zero|(?:dome|sky|twilight|twi|d|s|t)?[ _-]?flat(?:[ _-]?field)?)"
_MAPS = r"(?:dome|bad[ _-]?pix(?:els?)?|fringes?|illum(?:ination)?|supersky)"
"""Calibrations that only the name of a file tells: of an OBJECT these words may be a part."""
_FORM = r"(?:[ _-]?(?:frame|image|exposure|norm|map|mask|corr?|pattern))?"

_OBJECT = re.compile(rf"{_MADE}{_KINDS}s?(?:[ _-]?(?:frame|image|exposure))?", re.I)
# Only numbers, exposure times, filters and words of calibration may follow the word: 'dark_cloud'
# is a target. A point is never a part of a number here: a run of points would have too many meanings.
_NAME = re.compile(
    rf"{_MADE}(?:{_KINDS}|{_MAPS}){_FORM}s?[0-9]*"
    r"(?:[ ._-]+(?:[0-9]+s?(?:ec)?|t[0-9]+s?|[ugrizyUBVRIJHK]|"
    r"master|super|combined|median|mean|norm(?:ed|ali[sz]ed)?|corr?|map|bin[0-9x]+|[0-9]+x[0-9]+|frame|"
    r"ccd[0-9]+))*[ ._-]*",
    re.I,
)
_WORD = re.compile(
    r"(?<![a-z])(?:master|super|dome|sky|twilight|norm|comb|pixel|[mndst])?"
    r"(?:bias|dark|flat(?:field)?|zero|fringe|illum|badpix)(?:frame|norm)?s?(?![a-z])",
    re.IGNORECASE,
)


def is_calibration(target: str) -> bool:
    """Whether the value of OBJECT is nothing but the word of a calibration: 'FLAT FIELD', but not 'dark cloud'."""
    return _OBJECT.fullmatch(target) is not None


def is_name_of_calibration(name: str) -> bool:
    """Whether the name of a file, without its ending, is that of a calibration: 'mdark60', but not 'dark_cloud_001'."""
    return _NAME.fullmatch(name) is not None


def word_of_calibration(name: str) -> str:
    """Return a word in the name of a file that may be of a calibration, such as 'flat' in 'M31_flat_001', or ''."""
    found = _WORD.search(name)
    return found[0] if found else ""
