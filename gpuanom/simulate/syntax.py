"""The words that name an anomaly on the command line, such as ``stripes:0.1@30/16%25x2``."""

from __future__ import annotations

import difflib
import math
import re

from gpuanom.errors import SettingsError
from gpuanom.simulate.conditions import Anomaly
from gpuanom.simulate.injectors import INJECTORS

SYNTAX = "NAME[:STRENGTH][@DIRECTION][/SIZE][%CCDS][xCOUNT]"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_FORM = re.compile(
    rf"(?P<name>[a-z]+)(?::(?P<amplitude>{_NUMBER}))?(?:@(?P<direction>{_NUMBER}))?(?:/(?P<size>{_NUMBER}))?"
    rf"(?:%(?P<ccds>{_NUMBER}))?(?:x(?P<count>\d+))?"
)


def parse(text: str) -> list[Anomaly]:
    """Anomalies from words such as ``stripes:0.1@30/16%25x2``: see `SYNTAX`.

    Parameters
    ----------
    text : str
        Strength in the class's unit, direction in degrees, size in pixels, percent of the CCDs, how many exposures.

    Returns
    -------
    list of Anomaly
        As many equal ones as the count says; a direction that was not given is NaN.

    Raises
    ------
    SettingsError
        When the class is unknown, or a number is impossible for it; the message names it.
    """
    found = _FORM.fullmatch(text.strip())
    if not found:
        raise SettingsError(f"anomaly '{text}' is not of the form {SYNTAX}, such as stripes:0.3@30")
    name = found["name"]
    if name not in INJECTORS:
        near = difflib.get_close_matches(name, INJECTORS, 2)
        remedy = f"do you mean {' or '.join(near)}?" if near else f"one of {', '.join(INJECTORS)}"
        raise SettingsError(f"unknown anomaly '{name}' ({remedy})")
    injector = INJECTORS[name]
    given = {key: float(found[key]) for key in ("amplitude", "direction", "size", "ccds") if found[key]}
    amplitude = given.get("amplitude", injector.default)
    if not 0 < amplitude <= injector.highest:
        raise SettingsError(f"anomaly '{text}': a strength [{injector.unit}] is above 0, up to {injector.highest:g}")
    if "direction" in given and not injector.directed:
        raise SettingsError(f"anomaly '{text}': {name} has no direction")
    if "size" in given and not (injector.sized and 1 <= given["size"] <= 1e5):
        allowed_size = f"a {injector.sized} is from 1 to 100000 pixels" if injector.sized else f"{name} has no size"
        raise SettingsError(f"anomaly '{text}': {allowed_size}")
    percent = given.get("ccds", math.nan)
    if "ccds" in given and not 0 < percent <= 100:
        raise SettingsError(f"anomaly '{text}': a share of the CCDs is above 0%, up to 100%")
    count = int(found["count"] or 1)
    if not 1 <= count <= 100_000:
        raise SettingsError(f"anomaly '{text}': a count is from 1 to 100000")
    direction = given.get("direction", math.nan)
    if not math.isnan(direction):
        direction = 90 - (90 - direction) % 180
    size = given.get("size", math.nan)
    return [Anomaly(injector.kind, name, amplitude, direction, size, percent / 100)] * count
