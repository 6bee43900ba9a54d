"""Which measurements of several nights are one exposure, in stores that are written without images."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from gpuanom.nights.forget import taken_out
from gpuanom.nights.gathering import gather, rearrange
from gpuanom.nights.same_exposures import placed_copies
from gpuanom.paths import Relocation, relocated
from gpuanom.records import CcdMeasurement, Exposure, Failure, Measurement
from gpuanom.settings import Settings
from gpuanom.store.recorded_settings import ScoringRecord
from gpuanom.store.set_aside import Copy, Membership
from gpuanom.store.store import NAME, Store

PLAIN = Settings(statistics=False)


@pytest.mark.parametrize(
    ("file", "old", "new", "now"),
    [
        ("/data/a.fits", "/data", "/disk2", "/disk2/a.fits"),
        ("/data2/a.fits", "/data", "/disk2", "/data2/a.fits"),
        ("/data", "/data", "/disk2", "/disk2"),
        ("/data/a.fits", "/data/", "/disk2/", "/disk2/a.fits"),
        ("/data/a.fits", "/", "/disk2", "/disk2/data/a.fits"),
        ("/data/a.fits", "/data", "/", "/a.fits"),
        ("/data", "/data", "/", "/"),
        ("/data/a.fits", "/data/a", "/disk2", "/data/a.fits"),
    ],
)
def test_paths_are_relocated_as_wholes(file, old, new, now):
    assert relocated(file, [Relocation("/nothing", "/x"), Relocation(old, new), Relocation("/disk2", "/y")]) == now


@dataclass(frozen=True, eq=False)
class Drawn(Copy):
    """A copy whose pixels are those of its fingerprint."""

    def content(self, *, only_pixels=False):
        return f"{self.exposure.fingerprint} {only_pixels}".encode()

    def rows(self, _table):
        return []


def copy(name, position, fingerprint, label="", *, date="", by_file=False):
    file = Path(f"/data/{position}/{name}.fits")
    version = (tuple(map(int, label[1:])), "", (), "")
    e = Exposure(name, "C", "r", date, 30.0, (file,), (None,), fingerprint, "any", (), by_file)
    return Drawn(None, 0, replace(e, version=version, version_label=label), (Membership(position, (f"/o{position}",)),))


def placed(copies, versions="newest"):
    """The ids of copies by the positions of their nights; in brackets, if they are set aside."""
    found, _ = placed_copies(copies, versions, lambda e: (e.version, e.version_label))
    ranked = [p.exposure for p in found if p.ranked]
    assert len(set(ranked)) == len(ranked)
    return {p.copy.nights[0].position: p.exposure if p.ranked else f"({p.exposure})" for p in found}


EARLY, LATE = "2026-01-01T00:00:00", "2026-02-01T00:00:00"
CASES = [
    # the copies; their ids with the newest version ranked, and with versions kept apart
    ([copy("1", 0, "a", date=EARLY), copy("1", 1, "b", date=LATE)], {0: f"1-{EARLY}", 1: f"1-{LATE}"}, None),
    ([copy("1", 0, "a", "V1"), copy("1", 1, "b", "V2")], {0: "(1)", 1: "1"}, {0: "1-V1", 1: "1-V2"}),
    ([copy("1", 0, "a", "V2"), copy("1", 1, "b", "V1")], {0: "1", 1: "(1)"}, {0: "1-V2", 1: "1-V1"}),
    ([copy("1", 0, "a"), copy("1", 1, "b")], {0: "(1)", 1: "1"}, {0: "0-1", 1: "1-1"}),
    ([copy("1", 0, "a", "V1"), copy("1", 1, "b")], {0: "1", 1: "(1)"}, {0: "1-V1", 1: "1"}),
    ([copy("1", 0, "a"), copy("1", 1, "b", by_file=True)], {0: "1", 1: "1-1"}, None),
    ([copy("1", 0, "a", by_file=True), copy("1", 1, "a", by_file=True)], {0: "1"}, None),
    (
        [copy("1", 0, "a", by_file=True), copy("1", 1, "b", by_file=True), copy("0-1", 2, "c")],
        {0: "0-1-r", 1: "1-1-r", 2: "0-1"},
        None,
    ),
]


@pytest.mark.parametrize(("copies", "newest", "apart"), CASES)
def test_each_case_has_an_id_and_none_is_refused(copies, newest, apart):
    newest = {position: name.replace(":", "_") for position, name in newest.items()}
    assert placed(copies) == placed(copies[::-1]) == newest
    assert placed(copies, "apart") == (apart or newest)
    assert placed(copies[:1]) == {0: "1"}


def drawn_night(path, rng):
    """A store of a few exposures of few ids, so that nights hold the same ones, versions of them, and other ones."""
    with Store(path, PLAIN) as store:
        for name in rng.choice(["1", "2", "img0", "img1"], size=3, replace=False):
            by_file = str(name).startswith("img")
            place, version = rng.choice(["/a", "/b"]), int(rng.integers(0, 3))
            start = rng.choice(["2026-01-01T00:00:00", "2026-02-01T00:00:00"]) if not by_file else ""
            label = f"V{version}" if version else ""
            e = Exposure(
                str(name), "C", "r", str(start), 30.0, (Path(f"{place}/{name}.fits"),), (None,),
                f"{name} {place} {start} {version}", "any", (), by_file,
                version=((version,) if version else (), "", (), ""), version_label=label,
            )  # fmt: skip
            counts = np.random.default_rng(len(e.fingerprint) + 7 * version).integers(0, 9, (4, PLAIN.bins))
            ccd = CcdMeasurement("S1", "ok", "", np.zeros(6), 1.0, 1.0, 9, 9, 9, 0, 9, 9, 0.0, 0.0, counts,
                                 np.zeros(4), np.zeros(4), None, (100, 100))  # fmt: skip
            store.add(Measurement(e, (ccd,), PLAIN.fingerprint()))
        if rng.random() < 0.5:
            store.add_failure(Failure("/a/bad.fits", "", "", "bad.fits", "corrupt", f"reason {rng.integers(3)}"))


def all_rows(path):
    """Everything that a store says of its exposures and failures, without the numbers of what is set aside."""
    with Store(path, PLAIN, read_only=True) as store:
        copies = store.copies()
        rows = [(bool(c.number), c.exposure, {n[1] for n in c.nights}, c.content()) for c in copies]
        return sorted(rows, key=repr), store.failures()


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.proof) for seed in range(3, 60))])
def test_whatever_the_nights_hold_one_that_leaves_leaves_no_trace(tmp_path, seed):
    """The whole store is compared with one that the other nights were merged into, in one step or one after another."""
    rng = np.random.default_rng(seed)
    folders = [tmp_path / f"o{i}" for i in range(4)]
    for folder in folders:
        folder.mkdir()
        drawn_night(folder / NAME, rng)
    versions = str(rng.choice(["newest", "apart"]))

    def gathered(name, given):
        path = tmp_path / name / NAME
        path.parent.mkdir()
        for start in range(0, len(given), 2):
            with ExitStack() as opened, Store(path, PLAIN) as merged:
                stores = [
                    (f, opened.enter_context(Store(f / NAME, PLAIN, read_only=True))) for f in given[start : start + 2]
                ]
                gather(merged, stores, PLAIN.replace(versions=versions), lambda _line: None)
                merged.record_scoring(ScoringRecord(PLAIN.replace(versions=versions).scoring()))
        return path

    survey = gathered("survey", folders)
    gone = rng.choice(4, size=int(rng.integers(1, 4)), replace=False)
    forget_nights = [folders[i] for i in gone]
    with Store(survey, PLAIN) as store:
        left = taken_out(store, survey.parent, forget_nights, None, lambda _line: None, "forgotten")
        rearrange(store, left.copies, left.failed, (), PLAIN.replace(versions=versions), lambda _line: None)
    rest = [folder for folder in folders if folder not in forget_nights]
    assert all_rows(survey) == all_rows(gathered("never", rest))
