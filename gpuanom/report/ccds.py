"""The numbers of CCDs that the page shows, and the colours that CCDs are outlined in."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpuanom.review.opened import Row, Rows, RowsOfCcds

OUTLINES: dict[str, str] = {
    "background_z": "gradients of the background",
    "source_alignment": "alignment of the sources",
    "ellipticity": "ellipticity of the stars",
    "fwhm": "FWHM of the stars",
    "kurtosis": "kurtosis of the stars",
    "n_sources": "number of sources",
    "sky": "sky",
    "sigma": "noise",
    "stripe_power": "power of stripes",
    "map_rms": "unevenness of the background",
    "glow": "glow",
    "edge": "edges of rings and ghosts",
    "row_step": "steps between rows",
    "column_step": "steps between columns",
    "row_jitter": "row jitter",
    "column_jitter": "column jitter",
    "masked_share": "share of bright areas",
    "masked_patch": "largest bright patch",
    "crosstalk": "crosstalk",
    "streak": "straight line",
    "autoencoder_mse": "error of the autoencoder",
}
"""The numbers by which CCDs can be outlined, in words."""

_FROM_ZERO = {"background_z": 10.0, "source_alignment": 0.2, "ellipticity": 0.05}
"""Numbers whose colours begin at 0, and the least number at which they end."""

SHOWN = (
    "ccd", "status", "n_sources", "sky", "sigma", "background_z", "background_angle", "source_alignment",
    "source_angle", "fwhm", "e1", "e1_error", "e2", "e2_error", "kurtosis", "n_stars", "stripe_power",
    "stripe_period", "stripe_angle", "map_rms", "glow", "edge", "row_step", "column_step", "row_jitter",
    "column_jitter", "masked_share", "masked_patch", "crosstalk", "streak", "autoencoder_mse",
)  # fmt: skip
"""The columns of CCDs that the page holds, as far as the night has them."""


def columns(names: Sequence[str]) -> list[str]:
    """Return the columns of CCDs that the page holds.

    Parameters
    ----------
    names : sequence of str
        The columns of the table of CCDs.
    """
    return [name for name in SHOWN if name in names]


def outline_value(row: Row, name: str) -> float | None:
    """Return the number of a CCD by which it is outlined; None where the CCD has none.

    Parameters
    ----------
    row : mapping
        A row of the table of CCDs.
    name : str
        One of `OUTLINES`.
    """
    if name == "ellipticity":
        e1, e2 = row.get("e1"), row.get("e2")
        return None if e1 is None or e2 is None else math.hypot(e1, e2)
    value: float | None = row.get(name)
    return value


def scales(ccds: RowsOfCcds, camera: str | None = None) -> dict[str, list[float]]:
    """Return where the colours of each number begin and end: the 2nd and the 98th percentile of the CCDs.

    Parameters
    ----------
    ccds : mapping
        The rows of the table of CCDs, by exposure.
    camera : str, optional
        Of the exposures of this camera alone.

    Returns
    -------
    dict of str to list of 2 floats
        Without numbers that no CCD has. Where a number is positive and 0 means nothing, its colours begin at 0.
    """
    found = {}
    for name in OUTLINES:
        numbers = (
            outline_value(row, name) for (of, _), rows in ccds.items() if camera is None or of == camera for row in rows
        )
        known = sorted(value for value in numbers if value is not None)
        if not known:
            continue
        last = len(known) - 1
        low, high = known[int(0.02 * last)], known[math.ceil(0.98 * last)]
        if name in _FROM_ZERO:
            low, high = 0.0, max(high, _FROM_ZERO[name])
        if not high > low:
            high = low + (abs(low) or 1.0)
        found[name] = [float(f"{low:.3g}"), float(f"{high:.3g}")]
    return found


def verdicts(rows: Rows) -> dict[str, list[str]]:
    """Return verdict and cause of the CCDs that are not ok, by name.

    Parameters
    ----------
    rows : sequence of mapping
        The rows of an exposure's CCDs.
    """
    return {
        row["ccd"]: [row["verdict"], row.get("cause", "")]
        for row in rows
        if row.get("verdict", "") not in ("", "ok") or row.get("cause")
    }
