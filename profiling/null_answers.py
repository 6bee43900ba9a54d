"""Real results for the device that computes nothing: those of the CPU backend for one exposure.

What the host makes of an exposure's results depends on the numbers: with ones everywhere there are no stars to average
and no pairs of stars to look through, so that statistics cost another time than beside a card.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

KINDS_OF_LINES = 2


def recorded(exposure: Any, settings: Any) -> tuple[Any, ...]:
    """Measure all CCDs of an exposure as one stack on the CPU, and return what that copies to the host.

    The CCDs must have one shape. Nothing of this package is imported before it is called: `--package` may choose
    another checkout.
    """
    from gpuanom.backends.choice import select
    from gpuanom.fits import open_ccds
    from gpuanom.measuring import stack

    backend, copied = select("cpu"), []
    backend.to_host = lambda record: copied.append(record) or record  # type: ignore[attr-defined,method-assign,func-returns-value]
    ccds = list(open_ccds(exposure, settings))
    if hasattr(stack, "Group"):
        group = stack.Group(ccds, [0] * len(ccds), [exposure.points_id])
        stack.measure_stack(group, settings, backend, None, None)
    else:  # `--package`: until 2026-11-29 a stack was of one exposure
        stack.measure_stack(exposure.points_id, ccds, settings, backend, None, None)
    return copied[0]


def answer(backend: type, results: tuple[Any, ...]) -> None:
    """Let the copies home of whole stacks bring these results, after the copies themselves were made.

    A stack of several exposures gets them for each exposure. Which tiles could not be decoded is left as the device
    says it: none.
    """
    made, n_ccd = backend.to_host, len(results[0].sigma)  # type: ignore[attr-defined]
    of_stacks = {n_ccd: results}

    def to_host(self: Any, record: Any) -> Any:
        found = made(self, record)
        if not isinstance(record, tuple) or len(record) != len(results):
            return found
        n = len(record[0].sigma)
        if n not in of_stacks:
            of_stacks[n] = _of_each(results, -(-n // n_ccd), n)
        background, counted, histograms, _, arrays = of_stacks[n]
        if hasattr(arrays, "exposures"):
            arrays = replace(arrays, turns=record[4].turns, exposures=record[4].exposures)
        return background, counted, histograms, found[3], arrays

    backend.to_host = to_host  # type: ignore[attr-defined]


def _of_each(record: Any, n_exposures: int, n_ccd: int) -> Any:
    """The arrays of a record so often as a stack has exposures, up to so many CCDs."""
    if isinstance(record, np.ndarray):
        # All arrays have a row for each CCD, or for each exposure, but the ends of straight lines, of two kinds.
        axis = int(record.ndim > 1 and record.shape[0] == KINDS_OF_LINES != n_ccd)
        repeated = np.concatenate([record] * n_exposures, axis)
        return repeated[:, :n_ccd] if axis else repeated[:n_ccd]
    if isinstance(record, tuple | list):
        return type(record)(_of_each(part, n_exposures, n_ccd) for part in record)
    if not is_dataclass(record) or isinstance(record, type):
        return record
    return replace(record, **{f.name: _of_each(getattr(record, f.name), n_exposures, n_ccd) for f in fields(record)})
