"""The statistics of the exposures behind a reference, as text: merging is joining, and the null is made from them.

All numbers are float32, as they were measured; a file holds them compressed, in base64.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gpuanom.records import Doubles
from gpuanom.scoring.judged.statistics_table import Measured
from gpuanom.statistics.listed import NAMES

OF_MODELS = ("autoencoder_mse", "classifier_logit")
"""Statistics that depend on a model that was trained."""


def to_text(measured: Measured) -> str:
    """Return the statistics of exposures and CCDs as one line of JSON.

    Parameters
    ----------
    measured : Measured
        The errors of an autoencoder and the answers of a classifier are not kept: another night may have been scored
        with other models.
    """
    exposures = without_models(measured).exposures
    values = {
        "version": NAMES.version,
        "n_exposures": measured.n_exposures,
        "owner": measured.owner.tolist(),
        "names": list(measured.names),
        "exposure_columns": list(exposures),
        "exposures": _packed(list(exposures.values())),
        "ccd_columns": list(measured.ccds),
        "ccds": _packed([*measured.ccds.values(), measured.x, measured.y]),
    }
    return json.dumps(values, separators=(",", ":"))


def without_models(measured: Measured) -> Measured:
    """Return the statistics without those that depend on a model that was trained."""
    return replace(measured, exposures={n: v for n, v in measured.exposures.items() if n not in OF_MODELS})


def from_text(text: str) -> Measured | None:
    """Read what `to_text` gave.

    Parameters
    ----------
    text : str

    Returns
    -------
    Measured or None
        None where the statistics were computed in another way, so that they do not tell what is normal for those of
        today.

    Raises
    ------
    ValueError, KeyError, TypeError
        When the text is damaged.
    """
    values = json.loads(text)
    if int(values["version"]) != NAMES.version:
        return None
    n, names = int(values["n_exposures"]), [str(name) for name in values["names"]]
    owner = np.array(values["owner"], dtype=np.int64)
    if owner.shape != (len(names),) or (owner.size and not (0 <= owner.min() <= owner.max() < n)):
        raise ValueError("statistics of other CCDs than are named")
    exposures = _unpacked(values["exposures"], len(values["exposure_columns"]), n)
    ccds = _unpacked(values["ccds"], len(values["ccd_columns"]) + 2, len(names))
    return Measured(
        n,
        dict(zip(map(str, values["exposure_columns"]), exposures, strict=True)),
        owner,
        names,
        dict(zip(map(str, values["ccd_columns"]), ccds[:-2], strict=True)),
        ccds[-2],
        ccds[-1],
    )


def _packed(columns: Sequence[Doubles]) -> str:
    data = b"".join(np.asarray(values, dtype="<f4").tobytes() for values in columns)
    return base64.b64encode(zlib.compress(data, 6)).decode("ascii")


def _unpacked(text: str, n_columns: int, n: int) -> list[Doubles]:
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    values = np.frombuffer(data, dtype="<f4").reshape(n_columns, n)
    return list(values.astype(np.float64))
