"""The gradient of the stars' ellipticity counts only where the CCDs were taken to lie where they usually do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.measuring.exposure_record import in_order
from gpuanom.nights.merge import make_references
from gpuanom.review.opened import plain_rows
from gpuanom.scoring.evidence import stored_null
from gpuanom.scoring.judged.ccd_places import UsualCcds, located, positions, usual_ccds, with_comparable_gradients
from gpuanom.scoring.judged.static_pattern import NAMES as PATTERN_NAMES
from gpuanom.scoring.judged.static_pattern import chosen_exposures, pattern_fingerprint
from gpuanom.scoring.judged.statistics_table import Measured
from gpuanom.statistics.listed import NAMES
from gpuanom.store.store import NAME, Store
from gpuanom.tables import build
from gpuanom.tables.judged_alone import judged_alone
from gpuanom.tables.kept_null import read_null
from profiling import synthetic_survey

GRADIENTS = ("e1_gradient_x", "e1_gradient_y", "e2_gradient_x", "e2_gradient_y", "e_gradient_error")
CCDS = [f"{half}{number}" for half in "NS" for number in range(1, 6)][:9]
"""Nine CCDs in natural order: of a camera without a layout a grid of 3 x 3."""


def measured(exposures, dead=()):
    """Exposures with these CCDs, of which those in `dead`, (exposure, CCD), could not be measured."""
    rows = [(i, name) for i, names in enumerate(exposures) for name in names]
    sky = np.array([np.nan if row in dead else 100.0 for row in rows])
    of_exposures = {name: np.arange(len(exposures)) + 1.0 for name in (*GRADIENTS, "e1")}
    owner = np.array([i for i, _ in rows])
    nowhere = np.zeros(len(rows))
    return Measured(len(exposures), of_exposures, owner, [name for _, name in rows], {"sky": sky}, nowhere, nowhere)


def counting(found, camera="MOSAIC", usual=None, size=(0, 0)):
    """The exposures whose gradients count."""
    left = with_comparable_gradients(found, camera, usual or usual_ccds(found), size)
    known = [np.isfinite(left.exposures[name]) for name in GRADIENTS]
    assert all(np.array_equal(known[0], other) for other in known)
    np.testing.assert_array_equal(left.exposures["e1"], found.exposures["e1"])
    np.testing.assert_array_equal(left.exposures["e1_gradient_x"][known[0]], found.exposures["e1_gradient_x"][known[0]])
    return known[0].tolist()


def without(*names):
    return [name for name in CCDS if name not in names]


def test_without_its_first_ccd_the_others_are_at_the_places_of_others():
    exposures = [CCDS, without(CCDS[0]), without(CCDS[-1]), CCDS, without(*CCDS[:3]), [*CCDS, "T1"]]
    assert counting(measured(exposures)) == [True, False, True, True, False, False]
    # DECam's CCDs are known, and T1, which is not, is put beside them.
    assert counting(measured(exposures), "DECam") == [True] * 6


def test_a_ccd_that_most_exposures_lack_is_the_odd_one():
    usual = without(CCDS[0])
    assert counting(measured([CCDS, usual, usual])) == [False, True, True]
    assert usual_ccds(measured([CCDS, usual, usual])) == UsualCcds(tuple(usual), tuple(usual))
    # Of two sets that are equally frequent it is the larger one, whatever the order of the exposures.
    for exposures in ([CCDS, usual], [usual, CCDS]):
        assert usual_ccds(measured(exposures)).names == tuple(CCDS)
    assert counting(measured([usual]), usual=UsualCcds(tuple(CCDS), tuple(CCDS))) == [False]


def test_the_usual_ccds_of_most_exposures_may_all_be_unmeasured():
    # Files of one CCD each: the CCD that most exposures have could not be measured in any of them.
    found = measured([["CCD1"], ["CCD1"], ["CCD4"]], dead=[(0, "CCD1"), (1, "CCD1")])
    assert usual_ccds(found) == UsualCcds(("CCD1",), ())
    assert counting(found) == [True, True, False]
    # A set of measured CCDs counts among those of the usual CCDs alone.
    found = measured([CCDS] * 3 + [["T1"]] * 2, dead=[(0, CCDS[0]), (1, CCDS[1])])
    assert usual_ccds(found) == UsualCcds(tuple(CCDS), tuple(CCDS))


def test_a_ccd_that_could_not_be_measured_keeps_its_place():
    dead = [(1, CCDS[0]), *((2, name) for name in CCDS if name not in CCDS[:2])]
    assert counting(measured([CCDS] * 3, dead)) == [True, True, False]
    # The longer side of long CCDs is another one.
    rows = [(1, name) for name in CCDS[2::3]]  # one column of three
    assert counting(measured([CCDS] * 3, rows), size=(4000, 2000)) == [True] * 3
    assert counting(measured([CCDS] * 3, rows), size=(2000, 4000)) == [True, False, True]
    assert counting(measured([CCDS] * 3, [(i, CCDS[-1]) for i in range(3)])) == [True] * 3


def test_the_positions_do_not_depend_on_which_exposure_comes_first():
    found = positions("MOSAIC", CCDS)
    assert found["N1"] == (-1.0, -1.0)
    assert found[CCDS[-1]] == (1.0, 1.0)
    assert positions("MOSAIC", [*without(CCDS[0]), CCDS[0]]) == found
    one = located(measured([without(CCDS[0])]), found)
    assert list(zip(one.x, one.y, strict=True)) == [found[name] for name in without(CCDS[0])]


def test_nights_that_lack_different_ccds_are_one_reference():
    first, second = measured([CCDS] * 3), measured([without(CCDS[0])] * 2)
    both = first.joined(second)
    assert counting(both) == [True] * 3 + [False] * 2
    assert counting(both.part(np.array([3, 4]))) == [True] * 2


def tilted(measurement, names):
    """The same exposure with these CCDs alone, and a gradient of the stars' ellipticity as of a tilted focal plane."""
    values = measurement.statistics.values.copy()
    values[NAMES.exposures.index("e1_gradient_y")] = 0.5
    ccds = tuple(ccd for ccd in measurement.ccds if ccd.name in names)
    return replace(measurement, ccds=ccds, statistics=replace(measurement.statistics, values=values))


def keep_pattern_values(store, n_ccds):
    """Keep drawn values in place of what exposures with so many CCDs show beyond their static patterns."""
    statistics, seed, rng = store.statistics("MOSAIC", "r", NAMES), gpuanom.Settings().seed, np.random.default_rng(5)
    fingerprint = pattern_fingerprint(statistics, chosen_exposures(statistics, seed), seed)
    drawn = {name: rng.lognormal(0.0, 0.1, (n, len(PATTERN_NAMES))).astype(np.float32) for name, n in n_ccds.items()}
    store.keep_pattern_values("MOSAIC", fingerprint, drawn)


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """A night of 60 exposures of a camera without a layout, three of them tilted; and one of a single exposure."""
    folder, settings, rng = tmp_path_factory.mktemp("grid"), gpuanom.Settings(), np.random.default_rng(4)
    drawn = []
    for one in synthetic_survey.measurements("r", 1, 61, settings, rng, len(CCDS)):
        drawn.append(replace(one, exposure=replace(one.exposure, camera="MOSAIC"), ccds=in_order(one.ccds)))
    for i, names in {6: without(CCDS[0]), 16: without(CCDS[-1]), 26: CCDS, 60: without(CCDS[0])}.items():
        drawn[i] = tilted(drawn[i], names)
    for name, some in (("night", drawn[:60]), ("single", drawn[60:])):
        (folder / name).mkdir()
        with Store(folder / name / NAME, settings) as store:
            for one in some:
                store.add(one)
            if name == "night":
                keep_pattern_values(store, {one.exposure.exposure: len(one.ccds) for one in some})
    return folder


def test_an_exposure_that_lacks_a_ccd_is_not_tilted(nights, monkeypatch):
    settings = gpuanom.Settings()
    monkeypatch.setattr(stored_null, "SURVEY", 50)
    monkeypatch.setattr(stored_null, "LEAST_EXPOSURES", 50)
    with Store(nights / "night" / NAME, settings) as store:
        rows = {row["exposure"]: row for row in plain_rows(build.build(store, settings, select("cpu")).exposures)}
        found = read_null(store, "MOSAIC", "r", settings)
        assert not found.why
        alone = {
            name: judged_alone(store, [("MOSAIC", name)], found.null, settings, select("cpu")).exposures[0]
            for name in ("7", "17", "27")
        }
    for row in (rows["17"], rows["27"], alone["17"], alone["27"]):
        assert row["cause"] == "tilted or coma", row["exposure"]
    for row in (rows["7"], alone["7"]):
        assert row["verdict"] == "ok"
        assert row["score"] != "ellipticity_gradient"
        assert row["e1_gradient_y"] == 0.5  # what was measured stays in the table


def test_a_reference_knows_which_ccds_are_usual(nights):
    references = make_references(nights / "night", say=lambda _: None)
    with Store(nights / "single" / NAME, gpuanom.Settings(), read_only=True) as store:
        (row,) = plain_rows(build.build(store, gpuanom.Settings(), select("cpu"), references).exposures)
    assert row["verdict"]
    assert row["score"] != "ellipticity_gradient"
