"""A stored null as a store keeps it: a text of JSON that says what the null is, and its arrays as NumPy's npz."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpuanom.records import KINDS, Doubles
from gpuanom.scoring.evidence.distances import Scatter
from gpuanom.scoring.evidence.exposure_times import Times
from gpuanom.scoring.evidence.null import Null
from gpuanom.scoring.evidence.regression import Covariates
from gpuanom.scoring.evidence.stored_null import StoredNull
from gpuanom.scoring.evidence.tails import Tails
from gpuanom.scoring.histograms.reference import Reference
from gpuanom.scoring.histograms.significance import Usual
from gpuanom.scoring.judged.ccd_places import UsualCcds
from gpuanom.scoring.judged.static_pattern import StaticPattern

FORMAT = 8
"""Raised when a null is kept in another form, or judges in another way."""

DAMAGED = (ValueError, KeyError, TypeError, IndexError, EOFError, OSError, zipfile.BadZipFile, zlib.error)
"""What `from_record` raises when a record is damaged."""

Arrays = dict[str, Any]

_OF_NULL = ("coefficients", "slopes", "usual_error", "list_numbers", "number_of_lists", "ccd_number", "of_times")
_TAILS = ("tails", "ccd_tails", "second_tail")
_TEXTS = ("statistics", "conditions", "ccd_statistics")


def to_record(stored: StoredNull) -> tuple[str, bytes]:
    """Return the text and the numbers of a null.

    Parameters
    ----------
    stored : StoredNull
    """
    about: dict[str, Any] = {
        "format": FORMAT,
        "camera": stored.camera,
        "band": stored.band,
        "made": stored.made,
        "basis": stored.basis,
        "members": dict(stored.members),
        "size": stored.size,
        "left_out": [sorted(ids) for ids in stored.robust_outliers],
        "positions": dict(stored.positions),
        "usual_ccds": list(stored.usual_ccds),
        "pattern": stored.pattern,
        "alerts_pending": list(stored.alerts_pending),
        "ccds": list(stored.patterns),
        "scales": [pattern.scales for pattern in stored.patterns.values()],
        "references": [[r.n_histograms, r.inverse_counts] for r in stored.references],
    }
    arrays: Arrays = {
        "shares": np.array([r.shares for r in stored.references]),
        "counts": np.array([r.counts for r in stored.references]),
        "usual": np.array(stored.usual),
        "usual_local": np.array(stored.usual_local),
        **{f"ordered_{kind}": values for kind, values in enumerate(stored.ordered)},
    }
    for i, pattern in enumerate(stored.patterns.values()):
        arrays[f"map_{i}"], arrays[f"rows_{i}"] = pattern.map, pattern.row_steps
        arrays[f"columns_{i}"] = pattern.column_steps
    if stored.null is not None:
        about["null"] = _null_text(stored.null)
        arrays |= _null_arrays(stored.null)
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)
    return json.dumps(about), data.getvalue()


def _null_text(null: Null) -> dict[str, Any]:
    """What of a null is no array."""
    return {
        "n_exposures": null.n_exposures,
        "few_sources": null.few_sources,
        "faint_sky": null.faint_sky,
        "sky": null.sky,
        "usual_sigma": null.usual_sigma,
        "clip": null.covariates.clip,
        "patterns": null.patterns,
        "usual_ccds": null.usual_ccds,
        "vectors": list(null.inverse),
        "times": [null.times.ratio, null.times.are_mixed],
        **{name: list(getattr(null, name)) for name in _TEXTS},
    }


def _null_arrays(null: Null) -> Arrays:
    arrays = {name: getattr(null, name) for name in _OF_NULL}
    arrays |= {"centre": null.covariates.centre, "scatter": null.covariates.scatter}
    arrays |= {"above": null.scatter.above, "below": null.scatter.below}
    arrays |= {name: np.array(getattr(null, name)) for name in _TAILS}
    arrays |= {"times": np.array(null.times[:3]), "n_of_times": null.times.counts}
    return arrays | {f"inverse_{i}": values for i, values in enumerate(null.inverse.values())}


def basis_and_members(about: str) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Return what a kept null follows from (`gpuanom.scoring.evidence.stored_null.basis_of`), and its exposures.

    Parameters
    ----------
    about : str
        The text of the null; that of a null of another version tells its exposures, too.

    Returns
    -------
    basis : mapping
    members : mapping of str to str
        See `StoredNull.members`; exposures whose alerts may not have been given are left out.

    Raises
    ------
    ValueError, KeyError, TypeError
        When the text is damaged; see `DAMAGED`.
    """
    values = json.loads(about)
    basis, members = values["basis"], values["members"]
    if not isinstance(basis, dict) or not isinstance(members, dict):
        raise TypeError("the basis and the members of a null are no mappings")
    members = {name: print_ for name, print_ in members.items() if name not in values["alerts_pending"]}
    return ({} if values["format"] != FORMAT else basis), members


def from_record(about: str, numbers: bytes) -> StoredNull:
    """Read what `to_record` gave.

    Parameters
    ----------
    about : str
    numbers : bytes

    Raises
    ------
    ValueError, KeyError and others
        When the record is damaged, see `DAMAGED`.
    """
    values = json.loads(about)
    with np.load(io.BytesIO(numbers), allow_pickle=False) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    kinds = range(len(KINDS))
    references = tuple(
        Reference(int(n), arrays["shares"][k].astype(np.float64), arrays["counts"][k].astype(np.int64), float(inverse))
        for k, (n, inverse) in zip(kinds, values["references"], strict=True)
    )
    patterns = {
        str(ccd): StaticPattern(arrays[f"map_{i}"], arrays[f"rows_{i}"], arrays[f"columns_{i}"], bool(scales))
        for i, (ccd, scales) in enumerate(zip(values["ccds"], values["scales"], strict=True))
    }
    ny, nx = values["size"]
    return StoredNull(
        camera=str(values["camera"]),
        band=str(values["band"]),
        made=str(values["made"]),
        basis=values["basis"],
        members=dict(values["members"]),
        size=(int(ny), int(nx)),
        references=references,
        robust_outliers=tuple(frozenset(ids) for ids in values["left_out"]),
        usual=_usual(arrays["usual"]),
        usual_local=_usual(arrays["usual_local"]),
        ordered=tuple(arrays[f"ordered_{kind}"] for kind in kinds),
        positions={name: (float(x), float(y)) for name, (x, y) in values["positions"].items()},
        usual_ccds=UsualCcds(*(tuple(map(str, names)) for names in values["usual_ccds"])),
        pattern=str(values["pattern"]),
        patterns=patterns,
        null=_null(values["null"], arrays) if "null" in values else None,
        alerts_pending=tuple(map(str, values["alerts_pending"])),
    )


def _usual(values: Doubles) -> tuple[Usual, ...]:
    return tuple(Usual(middle, spread) for middle, spread in values.reshape(len(KINDS), 2).tolist())


def _times(about: Sequence[Any], arrays: Arrays) -> Times:
    low, high, usual = arrays["times"]
    return Times(low, high, usual, arrays["n_of_times"], float(about[0]), bool(about[1]))


def _null(values: Mapping[str, Any], arrays: Arrays) -> Null:
    rest: dict[str, Any] = {name: tuple(map(str, values[name])) for name in _TEXTS}
    rest |= {name: Tails(*arrays[name]) for name in _TAILS} | {name: arrays[name] for name in _OF_NULL}
    return Null(
        n_exposures=int(values["n_exposures"]),
        few_sources=int(values["few_sources"]),
        faint_sky=float(values["faint_sky"]),
        sky=str(values["sky"]),
        usual_sigma=float(values["usual_sigma"]),
        covariates=Covariates(arrays["centre"], arrays["scatter"], float(values["clip"])),
        scatter=Scatter(arrays["above"], arrays["below"]),
        inverse={name: arrays[f"inverse_{i}"] for i, name in enumerate(values["vectors"])},
        patterns={name: dict(of_ccds) for name, of_ccds in values["patterns"].items()},
        usual_ccds=float(values["usual_ccds"]),
        times=_times(values["times"], arrays),
        **rest,
    )
