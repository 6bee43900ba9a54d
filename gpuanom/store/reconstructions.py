"""The errors and latent features of an autoencoder in a store: a row for each exposure, of one model (METHOD.md 7).

Blobs, in the order of the exposure's CCDs: `n_stamps` (n_ccd little-endian int32), `errors` (n_ccd float64, sums of
mean squared errors) and `latent` (n_ccd x 2 x n float64, sums of latent features and of their squares). A row is valid
as long as its files and settings are those of the exposure's measurement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpuanom.errors import OutputError
from gpuanom.records import Doubles, Exposure, Integers, Measurement
from gpuanom.store.exposure_rows import measured_exposures
from gpuanom.store.schema import has_table

N_LATENT = 32
"""Latent features of a stamp."""

_VALID = (
    " JOIN exposures USING (camera, exposure) WHERE autoencoder.fingerprint = exposures.fingerprint"
    " AND autoencoder.settings = exposures.settings"
)


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """The results of an autoencoder for one exposure.

    Attributes
    ----------
    n_stamps : ndarray, (n_ccd,) int64
        Number of stamps that were reconstructed.
    errors : ndarray, (n_ccd,) float64
        Sums of the stamps' mean squared errors.
    latent : ndarray, (n_ccd, 2, n_latent) float64
        Sums of latent features, and of their squares.
    """

    n_stamps: Integers
    errors: Doubles
    latent: Doubles


def require_one_model(models: Iterable[tuple[Path | None, str]]) -> None:
    """Refuse to put stores together that hold results of different models: their errors cannot be compared.

    Parameters
    ----------
    models : iterable of (Path or None, str)
        The file of each store, and the fingerprint of its model; empty without one.

    Raises
    ------
    OutputError
        When two models differ.
    """
    first = ""
    for path, model in models:
        if first and model and first != model:
            raise OutputError(
                f"{path}: holds autoencoder_mse of another model than an earlier input"
                " (score one of them again with the other's: gpuanom score -o SCORED --model MODEL)"
            )
        first = first or model


class Reconstructions:
    """The rows of the table `autoencoder`.

    Parameters
    ----------
    db : Connection
        See `gpuanom.store.schema.open_database`; the caller turns its errors into messages.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._has_table = has_table(db, "autoencoder")
        """Whether the table exists: an old store that is only read has none."""

    def models(self) -> list[str]:
        """Return the fingerprints of the models behind the rows: one, or none."""
        if not self._has_table:
            return []
        rows = self._db.execute(f"SELECT DISTINCT model FROM autoencoder{_VALID} ORDER BY model").fetchall()
        return [model for (model,) in rows]

    def drop_others(self, model: str) -> int:
        """Forget the results of other models: errors of two models cannot be compared.

        Returns
        -------
        int
            Number of exposures whose results were dropped.
        """
        return self._db.execute("DELETE FROM autoencoder WHERE model != ?", (model,)).rowcount

    def without_results(self) -> list[Exposure]:
        """Return the measured exposures without results of a model, in order of camera and id."""
        rows = self._db.execute(f"SELECT camera, exposure FROM autoencoder{_VALID}").fetchall()
        with_results = set(rows)
        return [e for key, e in sorted(measured_exposures(self._db).items()) if key not in with_results]

    def add(self, measurement: Measurement) -> None:
        """Keep the results of a model for an exposure, if there are any."""
        if not measurement.model:
            return
        results = [c.reconstruction for c in measurement.ccds]
        width = max((r.latent.shape[1] for r in results if r is not None), default=0)
        n_stamps = np.array([0 if r is None else r.n_stamps for r in results], dtype="<i4")
        errors = np.array([0.0 if r is None else r.error for r in results], dtype="<f8")
        latent = np.array([np.zeros((2, width)) if r is None else r.latent for r in results], dtype="<f8")
        e = measurement.exposure
        self._db.execute(
            "INSERT OR REPLACE INTO autoencoder VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (e.camera, e.exposure, e.fingerprint, measurement.settings, measurement.model)
            + (n_stamps.tobytes(), errors.tobytes(), latent.tobytes()),
        )

    def differing(self, measurement: Measurement) -> str:
        """Say in a line how an exposure that was read again differs from the store; empty if it does not.

        Stamps of changed pixels must not be combined with measurements of the pixels before.
        """
        e = measurement.exposure
        stored = self._db.execute(
            "SELECT name, status, n_sources FROM ccds WHERE camera = ? AND exposure = ? ORDER BY position",
            e.key,
        ).fetchall()
        read = [(c.name, c.status, c.n_sources) for c in measurement.ccds]
        if read == stored:
            return ""
        broken = next(
            (c.reason for c in measurement.ccds if c.reason and (c.name, c.status, c.n_sources) not in stored), ""
        )
        if broken:
            return broken
        changed = "its files have changed (give them, to score them again)"
        odd = next((a for a, b in zip(read, stored, strict=False) if a != b), None)
        if odd is None:
            return f"{changed}: it has {len(read)} CCDs and had {len(stored)} when it was measured"
        return f"{changed}: CCD {odd[0]} has {odd[2]} sources and had others when it was measured"

    def of_dataset(self, camera: str, band: str) -> dict[str, Reconstructed]:
        """Return the results for the exposures of a dataset, by exposure id.

        Parameters
        ----------
        camera, band : str
        """
        if not self._has_table:
            return {}
        rows = self._db.execute(
            f"SELECT exposure, autoencoder.n_stamps, errors, latent FROM autoencoder{_VALID}"
            " AND camera = ? AND band = ?",
            (camera, band),
        ).fetchall()
        found = {}
        for name, n_stamps, errors, latent in rows:
            counts = np.frombuffer(n_stamps, dtype="<i4").astype(np.int64)
            sums = np.frombuffer(latent, dtype="<f8")
            width = sums.size // (2 * counts.size) if counts.size else 0
            found[name] = Reconstructed(counts, np.frombuffer(errors, "<f8"), sums.reshape(counts.size, 2, width))
        return found
