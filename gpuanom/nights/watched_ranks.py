"""How a watch ranks: a night as a whole each time, and the new exposures of a survey by the nulls that its store keeps.

A night of some hundred exposures is ranked again in a second, and its tables are written each time. To rank a survey
takes a minute: of a store with at least `stored_null.SURVEY` exposures each new exposure is judged alone, by the null
of its camera and band (`gpuanom.scoring.evidence.stored_null`). Datasets of few exposures are ranked as a night is.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.nights.alerts import Alerts, alert, notice
from gpuanom.nights.events import WatchEvents
from gpuanom.nights.fresh_page import Page
from gpuanom.records import DatasetKey, ExposureKey
from gpuanom.review.opened import key_of, plain_rows
from gpuanom.scoring.evidence import stored_null
from gpuanom.scoring.evidence.stored_null import StoredNull
from gpuanom.scoring.histograms.reference import References
from gpuanom.settings import Settings
from gpuanom.store.reopened import ReopenedStore
from gpuanom.store.store import Store
from gpuanom.tables import build as tables
from gpuanom.tables import judged_alone, writing
from gpuanom.tables.kept_null import read_null
from gpuanom.tables.left_out import LeftOut, Unreferenced, left_out, left_out_of, unreferenced

Row = dict[str, Any]
Opened = Callable[[], AbstractContextManager[ReopenedStore]]
"""Opens the store for a moment."""

_OF_CCDS = ("camera", "exposure", "status", "reason")
"""What is counted of CCDs that were not measured."""


@dataclass(frozen=True)
class Ranking:
    """How the night is ranked, and which exposures give alerts."""

    folder: Path
    backend: Backend
    references: References | None
    formats: Sequence[str] | None
    alerts: Alerts
    deviation: float
    least: int
    page: Page


@dataclass
class _Dataset:
    """A camera and band of a survey."""

    null: StoredNull | None
    why: str
    """Why the null must be made."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """The hash of the files of each exposure in the store, by its id."""
    since: set[str] = field(default_factory=set)
    """Exposures that the store holds and the null lacks, or the other way round."""
    waiting: dict[str, None] = field(default_factory=dict)
    """Exposures that are to be judged."""
    is_null_announced: bool = False
    """Whether it was said by which null exposures are judged."""

    @property
    def why_remade(self) -> str:
        """Why the null must be made anew; empty where it can be used."""
        if self.null is None:
            return self.why
        is_old = len(self.since) > stored_null.MOST_GROWTH * len(self.null.members)
        return f"the old one differs by {len(self.since):,} exposures by now" if is_old else ""


class Ranks:
    """Ranks the exposures of a watch, tells of new ones, and gives alerts.

    Parameters
    ----------
    ranking : Ranking
    settings : Settings
    events : WatchEvents

    Attributes
    ----------
    new : dict
        Exposures that are measured and not ranked yet, with the band of each.
    seconds : float
        How long it took to rank the exposures the last time.
    left_out : tuple of LeftOut
        The CCDs without a measurement: those of the night, or the ones of the exposures that were judged alone.
    unreferenced : Unreferenced or None
        The exposures of cameras and bands that the saved reference does not hold.
    is_survey : bool
        Whether exposures were judged alone the last time.
    """

    def __init__(self, ranking: Ranking, settings: Settings, events: WatchEvents) -> None:
        self._ranking, self._settings, self._events = ranking, settings, events
        self.new: dict[ExposureKey, str] = {}
        self.seconds = 0.0
        self.left_out: tuple[LeftOut, ...] = ()
        self.unreferenced: Unreferenced | None = None
        self.is_survey = False
        self._datasets: dict[DatasetKey, _Dataset] | None = None
        """The datasets of a survey; None before the nulls were read."""
        self._n_changes = 0
        self._unmeasured: dict[ExposureKey, list[tuple[Any, ...]]] = {}
        self._has_judged = False
        """Whether exposures were judged that the tables of the survey lack."""

    def rank(self, opened: Opened) -> None:
        """Rank what is new, tell of it, and give alerts.

        Parameters
        ----------
        opened : callable
        """
        with opened() as store:
            self.is_survey = self._ranking.references is None and store.n_exposures() >= stored_null.SURVEY
            if self.is_survey:
                self._judge(store)
        if not self.is_survey:
            rows = self._rank_all(opened)
            self._announce(rows, Counter((row["camera"], row["band"]) for row in rows if row["n_ccd_used"]), {})
            self.new.clear()
        self._ranking.page.changed()

    def finish(self, opened: Opened, *, is_ended: bool) -> None:
        """Write the tables of a survey, unless the watch was told to end at once.

        Parameters
        ----------
        opened : callable
        is_ended : bool
            Whether a signal ends the watch, which should not take a minute.
        """
        if self.is_survey and not is_ended:
            self._rank_all(opened)
        elif self.is_survey and self._has_judged:
            self._events.say(
                f"the tables hold the survey as it was ranked before (gpuanom score -o {self._ranking.folder} ranks it"
                " again, with the exposures of this watch)"
            )

    def _rank_all(self, opened: Opened) -> list[Row]:
        """Rank all exposures again and write the tables; return the rows of the table of exposures."""
        start = time.perf_counter()
        with opened() as store:
            result = tables.build(store, self._settings, self._ranking.backend, self._ranking.references)
        writing.write(result.plain, self._ranking.folder, self._ranking.formats)
        self.left_out, before = left_out(result), self.unreferenced
        self.unreferenced = unreferenced(result)
        known = before.datasets if before else ()
        if new := [name for name in (self.unreferenced.datasets if self.unreferenced else ()) if name not in known]:
            self._events.say(f"the reference holds no exposure of {', '.join(new)}: no scores (status no_reference)")
        self.seconds = time.perf_counter() - start
        return list(plain_rows(result.plain[0]))

    def _judge(self, store: ReopenedStore) -> None:
        """Judge the new exposures of a survey."""
        if self._datasets is None or self._n_changes != store.n_changes:  # another program may have made other nulls
            self._n_changes = store.n_changes
            self._datasets = {key: self._dataset(store, key) for key in store.dataset_keys()}
        for (camera, name), band in self.new.items():
            of_exposure = self._datasets.setdefault((camera, band), _Dataset(None, "none was kept"))
            of_exposure.waiting[name] = None
        for key, dataset in self._datasets.items():
            if dataset.waiting:
                start = time.perf_counter()
                self._judge_dataset(store, key, dataset)
                self.seconds = time.perf_counter() - start
        self.new.clear()  # another program may have taken exposures out of the store

    def _dataset(self, store: Store, key: DatasetKey) -> _Dataset:
        """A dataset as the store holds it; exposures that came after the null, and in an earlier watch, are waiting."""
        kept = read_null(store, *key, self._settings)
        fingerprints = store.fingerprints(*key)
        known = fingerprints if kept.members is None else kept.members
        later = {name for name, print_ in fingerprints.items() if known.get(name) != print_}
        members = kept.null.members if kept.null is not None else {}
        since = {name for name in {**fingerprints, **members} if members.get(name) != fingerprints.get(name)}
        return _Dataset(kept.null, kept.why, fingerprints, since, dict.fromkeys(sorted(later)))

    def _judge_dataset(self, store: Store, key: DatasetKey, dataset: _Dataset) -> None:
        """Judge the waiting exposures of a dataset, tell of the new ones, and give alerts."""
        fingerprints = store.fingerprints(*key, list(dataset.waiting))
        dataset.fingerprints |= fingerprints
        names = list(fingerprints)
        members = dataset.null.members if dataset.null is not None else {}
        dataset.since.update(name for name in names if members.get(name) != fingerprints[name])
        self._has_judged = True
        about: dict[str, Any] = {}
        if dataset.why_remade or dataset.null is None:
            rows = self._ranked_anew(store, key, dataset, names)
            about = {"null": dataset.null.name} if dataset.null is not None else {}
        else:
            keys = [(key[0], name) for name in names]
            found = judged_alone.judged_alone(store, keys, dataset.null, self._settings, self._ranking.backend)
            rows, about = found.exposures, {"null": dataset.null.name}
            self._say_null(key, dataset)
            self._count_unmeasured(found.ccds, names)
        self._announce(rows, {key: len(dataset.fingerprints)}, about)
        dataset.waiting.clear()

    def _ranked_anew(self, store: Store, key: DatasetKey, dataset: _Dataset, names: Sequence[str]) -> list[Row]:
        """Rank a dataset as a whole; return the rows of the given exposures, of a small dataset those of all."""
        is_large = len(dataset.fingerprints) >= stored_null.LEAST_EXPOSURES
        if is_large:
            name = " ".join(key).strip()
            self._events.say(
                f"{name}: the null is made anew from {len(dataset.fingerprints):,} exposures ({dataset.why_remade})"
            )
        result = tables.ranked_dataset(store, self._settings, self._ranking.backend, key, names)
        self._count_unmeasured(result.plain[1], names)
        rows = list(plain_rows(result.plain[0]))
        if not is_large:
            return rows  # as in a night: the first exposures are judged again as others come
        kept = read_null(store, *key, self._settings)
        dataset.null, dataset.why, dataset.is_null_announced = kept.null, kept.why, True
        dataset.since.clear()
        wanted = set(names)
        return [row for row in rows if row["exposure"] in wanted]

    def _say_null(self, key: DatasetKey, dataset: _Dataset) -> None:
        """Say once by which null the exposures of a dataset are judged."""
        if not dataset.is_null_announced and dataset.null is not None:
            dataset.is_null_announced = True
            self._events.say(f"{' '.join(key).strip()}: judged by {dataset.null.name}")

    def _announce(self, rows: Sequence[Row], sizes: Mapping[DatasetKey, int], about: Mapping[str, Any]) -> None:
        """Tell of the new ones among exposures, in the order in which they were measured, and give alerts."""
        ranking = self._ranking
        notices = {key_of(row): self._notice(row, sizes[row["camera"], row["band"]], about) for row in rows}
        for key in [key for key in self.new if key in notices]:
            self._events.scored(notices[key])
            del self.new[key]
        for row in rows:
            key = key_of(row)
            if notices[key]["early"] or key in ranking.alerts:
                continue
            if given := alert(row, notices[key], ranking.deviation):
                ranking.alerts.give(given, row)
                self._events.alert(given)

    def _notice(self, row: Row, n: int, about: Mapping[str, Any]) -> dict[str, Any]:
        """The notice of an exposure; one that was judged alone has its verdict already."""
        of_exposure = notice(row, n, self._ranking.least)
        if not about:
            return of_exposure
        verdict = {name: row[name] for name in ("verdict", "cause", "evidence") if row.get("verdict")}
        return {**of_exposure, **verdict, **about}

    def _count_unmeasured(self, ccds: Any, names: Sequence[str]) -> None:
        """Note the CCDs without a measurement among those of exposures of one camera."""
        columns = [np.asarray(ccds[name]) for name in _OF_CCDS]
        cameras, exposures, statuses, _ = columns
        for key in {(str(camera), name) for camera in cameras[:1] for name in names}:
            self._unmeasured.pop(key, None)
        for j in np.flatnonzero((statuses != "ok") & np.isin(exposures, names)).tolist():
            values = tuple(str(column[j]) for column in columns)
            self._unmeasured.setdefault((values[0], values[1]), []).append(values)
        found = [values for of_exposure in self._unmeasured.values() for values in of_exposure]
        self.left_out = left_out_of(dict(zip(_OF_CCDS, zip(*found, strict=True), strict=True))) if found else ()
