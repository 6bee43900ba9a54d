"""The transactions of a store: one for each change, or one for several changes that follow each other at once."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from gpuanom.store.schema import explaining_damage, explaining_errors


class Transactions:
    """The database of a store, as it is read from and written to.

    Parameters
    ----------
    path : Path or None
        The database file, for messages.
    db : sqlite3.Connection
    """

    def __init__(self, path: Path | None, db: sqlite3.Connection) -> None:
        self.path, self._db = path, db
        self._together = False
        """Whether `begin` was called, so that all changes belong to one transaction until `commit`."""
        self._turn = threading.RLock()
        """Threads read at any time; one of them at a time has a transaction."""

    def _explaining_errors(self) -> AbstractContextManager[None]:
        return explaining_errors(self.path)

    def begin(self) -> None:
        """Put the changes that follow into one transaction, until `commit`; a transaction that is open stays open."""
        if not self._together:
            with self._explaining_errors():
                self._db.execute("BEGIN IMMEDIATE")
            self._together = True

    def commit(self) -> None:
        """Write the changes since `begin` to disk; if the process is killed before, none of them is left."""
        if self._together:
            self._together = False
            with self._explaining_errors(), self._rolled_back("ROLLBACK"):
                self._db.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Give the database to be read from; values that gpuanom cannot have written are damage, which a line tells."""
        with explaining_damage(self.path):
            yield self._db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the database to be written to: all changes of the block, or none of them if the block fails."""
        first, last, undo = "BEGIN IMMEDIATE", "COMMIT", ["ROLLBACK"]
        if self._together:
            first, last, undo = "SAVEPOINT change", "RELEASE change", ["ROLLBACK TO change", "RELEASE change"]
        with self._turn, self._explaining_errors():
            self._db.execute(first)
            with self._rolled_back(*undo):
                yield self._db
                self._db.execute(last)

    @contextmanager
    def _rolled_back(self, *commands: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            for command in commands:
                if self._db.in_transaction:  # not where SQLite gave up the transaction itself
                    self._db.execute(command)
            raise
