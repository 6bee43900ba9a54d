"""Real results for the device that computes nothing: those of the CPU backend for one exposure.

What the host makes of an exposure's results depends on the numbers: with ones everywhere there are no stars to average
and no pairs of stars to look through, so that statistics cost another time than beside a card.
"""

from __future__ import annotations

from typing import Any


def recorded(exposure: Any, settings: Any) -> tuple[Any, ...]:
    """Measure all CCDs of an exposure as one stack on the CPU, and return what that copies to the host.

    The CCDs must have one shape. Nothing of this package is imported before it is called: `--package` may choose
    another checkout.
    """
    from gpuanom.backends.choice import select
    from gpuanom.fits import open_ccds
    from gpuanom.measuring.stack import measure_stack

    backend, copied = select("cpu"), []
    backend.to_host = lambda record: copied.append(record) or record  # type: ignore[attr-defined,method-assign,func-returns-value]
    measure_stack(exposure.points_id, list(open_ccds(exposure, settings)), settings, backend, None, None)
    return copied[0]


def answer(backend: type, results: tuple[Any, ...]) -> None:
    """Let the copies home of whole stacks bring these results, after the copies themselves were made.

    Which tiles could not be decoded is left as the device says it: none.
    """
    made = backend.to_host  # type: ignore[attr-defined]

    def to_host(self: Any, record: Any) -> Any:
        found = made(self, record)
        if not isinstance(record, tuple) or len(record) != len(results):
            return found
        background, counted, histograms, _, arrays = results
        return background, counted, histograms, found[3], arrays

    backend.to_host = to_host  # type: ignore[attr-defined]
