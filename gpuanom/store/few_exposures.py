"""A few exposures of a store, copied into a store in memory: what is done with all exposures can be done with these."""

from __future__ import annotations

from collections.abc import Sequence

from gpuanom.records import ExposureKey
from gpuanom.store.recorded_settings import copy_settings
from gpuanom.store.schema import explaining_damage, has_table, insert
from gpuanom.store.store import Store

_TABLES = ("exposures", "ccds", "ccd_columns", "statistics", "versions", "named_by_file")
"""What the row of an exposure is made from. The errors of an autoencoder are left out: a watch has no model."""


def few_exposures(store: Store, keys: Sequence[ExposureKey]) -> Store:
    """Copy the measurements of exposures; what the store holds of them and does not hold of others stays the same.

    Parameters
    ----------
    store : Store
    keys : sequence of (str, str)
        Camera and id of each exposure.

    Returns
    -------
    Store
        In memory; the caller closes it.
    """
    part = Store(None, store.settings)
    with explaining_damage(store.path), part._transaction() as db:
        copy_settings(store._db, db)
        for table in _TABLES:
            if not has_table(store._db, table):
                continue
            for key in keys:
                rows = store._db.execute(f"SELECT * FROM {table} WHERE camera = ? AND exposure = ?", key).fetchall()
                insert(db, table, rows)
    return part
