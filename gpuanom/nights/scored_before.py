"""How a night was scored before: it is scored so again where its user does not say otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gpuanom.errors import OutputError
from gpuanom.nights.events import Say
from gpuanom.settings import Settings, difference
from gpuanom.store.store import NAME, Store

if TYPE_CHECKING:
    from gpuanom.scoring.histograms.reference import References


def as_before(
    path: Path, settings: Settings | None, references: References | None, say: Say
) -> tuple[Settings, References | None]:
    """Return settings and references for a store without new inputs: those given, or else those of the last time.

    Parameters
    ----------
    path : Path
        The store.
    settings : Settings or None
        None where the user gave none.
    references : References or None
        None where the user gave none.
    say : callable
        Takes lines that tell how the night was scored last.

    Raises
    ------
    OutputError
        When the store cannot be read, or the settings would have measured its exposures otherwise.
    """
    with Store(path, Settings(), read_only=True) as store:
        recorded, _ = store.recorded_settings()
        if settings is None:
            return _as_scored_last(store, references, say)
    if settings.measurement() != Settings().measurement() and (differs := difference(settings.measurement(), recorded)):
        raise OutputError(
            f"{path}: was measured with other settings: {differs} (give the inputs to measure them again)"
        )
    return settings.with_measurement(recorded), references


def scored_last(folder: Path) -> Settings | None:
    """Return the settings that a night was scored with last; None where the folder does not hold a night that tells."""
    from gpuanom.tables import build as tables

    try:
        with Store(folder / NAME, Settings(), read_only=True) as store:
            return tables.as_scored_last(store)[0]
    except OutputError:
        return None  # scoring the night will say what is wrong


def _as_scored_last(store: Store, references: References | None, say: Say) -> tuple[Settings, References | None]:
    """How the night was scored last, but compared with the given references if there are any."""
    from gpuanom.scoring.histograms.flat_reference import FlatReferences
    from gpuanom.tables import build as tables

    last, kept = tables.as_scored_last(store)
    if references is not None:
        return last.replace(robust_rounds=0), references
    usual = Settings().scoring()
    others = [f"{name} {value}" for name, value in last.scoring().items() if value != usual[name]]
    if others:
        say(
            f"scored as it was scored last: {', '.join(others)} (--profile standard scores it with the default"
            " settings, --profile paper as the paper does)"
        )
    if kept is not None:
        origin = f"the saved reference that it was compared with last, {kept.origin or 'kept in the store'}"
        about = "flat histograms, as it was last" if isinstance(kept, FlatReferences) else origin
        say(f"compared with {about} (--profile standard compares the night with itself)")
    return last, kept
