"""What a store keeps of an autoencoder: a row an exposure, of one model at a time (METHOD.md 7).

Blobs, in the order of the exposure's CCDs: `n_stamps` (n_ccd little-endian int32), `errors` (n_ccd float64, sums of
mean squared errors) and `latent` (n_ccd x 2 x n float64, sums of latent features and of their squares). A row counts as
long as files and settings are those of the exposure's measurement.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import numpy as np

from gpuanom.records import Doubles, Exposure, Integers, Measurement
from gpuanom.store.exposures import held_exposures
from gpuanom.store.schema import has_table

_VALID = (
    " JOIN exposures USING (camera, exposure) WHERE autoencoder.fingerprint = exposures.fingerprint"
    " AND autoencoder.settings = exposures.settings"
)


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """What an autoencoder made of the stamps of one exposure.

    Attributes
    ----------
    n_stamps : ndarray, (n_ccd,) int64
    errors : ndarray, (n_ccd,) float64
        Sums of mean squared errors.
    latent : ndarray, (n_ccd, 2, n_latent) float64
        Sums of latent features, and of their squares.
    """

    n_stamps: Integers
    errors: Doubles
    latent: Doubles


class Reconstructions:
    """The rows of the table `autoencoder`.

    Parameters
    ----------
    db : Connection
        See `gpuanom.store.schema.open_database`; whoever calls explains its errors.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.there = has_table(db, "autoencoder")
        """Whether the table exists: an old store that is only read has none."""

    def models(self) -> list[str]:
        """The fingerprints of the models behind what is held: one, or none."""
        if not self.there:
            return []
        rows = self._db.execute(f"SELECT DISTINCT model FROM autoencoder{_VALID} ORDER BY model").fetchall()
        return [model for (model,) in rows]

    def drop_others(self, model: str) -> int:
        """Forget what other models made; errors of two models cannot be compared.

        Returns
        -------
        int
            How many exposures' were dropped.
        """
        return self._db.execute("DELETE FROM autoencoder WHERE model != ?", (model,)).rowcount

    def lacking(self) -> list[Exposure]:
        """The measured exposures that hold nothing of a model, in order of camera and id."""
        rows = self._db.execute(f"SELECT camera, exposure FROM autoencoder{_VALID}").fetchall()
        held = set(rows)
        return [e for key, e in sorted(held_exposures(self._db).items()) if key not in held]

    def add(self, measurement: Measurement) -> None:
        """Keep what a model made of an exposure; nothing where none did."""
        if not measurement.model:
            return
        its = [c.reconstruction for c in measurement.ccds]
        width = max((r.latent.shape[1] for r in its if r is not None), default=0)
        n_stamps = np.array([0 if r is None else r.n_stamps for r in its], dtype="<i4")
        errors = np.array([0.0 if r is None else r.error for r in its], dtype="<f8")
        latent = np.array([np.zeros((2, width)) if r is None else r.latent for r in its], dtype="<f8")
        e = measurement.exposure
        self._db.execute(
            "INSERT OR REPLACE INTO autoencoder VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (e.camera, e.exposure, e.fingerprint, measurement.settings, measurement.model)
            + (n_stamps.tobytes(), errors.tobytes(), latent.tobytes()),
        )

    def forget(self, camera: str, exposure: str) -> None:
        """Forget what is held of an exposure."""
        self._db.execute("DELETE FROM autoencoder WHERE camera = ? AND exposure = ?", (camera, exposure))

    def differing(self, measurement: Measurement) -> str:
        """How an exposure that was read again differs from what the store holds of it, in a line; empty if it is alike.

        What was measured of other pixels must not meet what the stamps say of these.
        """
        e = measurement.exposure
        held = self._db.execute(
            "SELECT name, status, n_sources FROM ccds WHERE camera = ? AND exposure = ? ORDER BY position",
            (e.camera, e.exposure),
        ).fetchall()
        now = [(c.name, c.status, c.n_sources) for c in measurement.ccds]
        if now == held:
            return ""
        broken = next(
            (c.reason for c in measurement.ccds if c.reason and (c.name, c.status, c.n_sources) not in held), ""
        )
        if broken:
            return broken
        changed = "its files have changed (give them, to score them again)"
        odd = next((a for a, b in zip(now, held, strict=False) if a != b), None)
        if odd is None:
            return f"{changed}: it has {len(now)} CCDs and had {len(held)} when it was measured"
        return f"{changed}: CCD {odd[0]} has {odd[2]} sources and had others when it was measured"

    def of_dataset(self, camera: str, band: str) -> dict[str, Reconstructed]:
        """What is held of a dataset's exposures, by exposure id."""
        if not self.there:
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
