"""The public API as it is used in scripts and notebooks."""

import ast
import datetime
import inspect
import math
import os
import pty
import subprocess
import sys
import typing
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
import rich.console
from astropy.nddata import CCDData
from astropy.table import Table
from astropy.time import Time, TimeDelta

import gpuanom
from gpuanom.nights import progress
from gpuanom.tables.columns import SOURCE_COLUMNS
from tests import nights, sky

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=200, simulations=100)
INIT = Path(gpuanom.__file__)


def _python(program, **more):
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(INIT.parent.parent)}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a scored night, and the night that `score` returned."""
    base = tmp_path_factory.mktemp("night")
    nights.night(base / "in", exposures=4, odd=3)
    return base, gpuanom.score(base / "in", base / "out", settings=QUICK, device="cpu")


def test_dir_lists_what_a_user_needs_and_no_module():
    names = {name for name in dir(gpuanom) if not name.startswith("__")}
    assert names == set(gpuanom.__all__) - {"__version__"}
    modules = {path.stem for path in INIT.parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert names & modules == {"plots"}  # the one module that is meant for users
    assert {"KINDS", "Exposure", "open_night", "plots", "score", "measure", "rank", "sources"} <= names


def test_names_at_run_time_and_for_type_checkers_are_the_same():
    """Type checkers and the documentation read imports that are never executed."""
    guarded = next(node for node in ast.parse(INIT.read_text()).body if isinstance(node, ast.If))
    homes = {alias.name: node.module for node in guarded.body for alias in node.names}
    assert homes == gpuanom._HOMES
    assert set(homes) == set(gpuanom.__all__) - {"__version__"}
    for name in gpuanom.__all__:
        assert getattr(gpuanom, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'scoer'"):
        _ = gpuanom.scoer


def test_every_public_module_is_found_by_import_in_each_form():
    """A public name that is imported when it is asked for must not be unknown to ``import gpuanom.NAME``."""
    modules = [name for name in gpuanom.__all__ if inspect.ismodule(getattr(gpuanom, name))]
    assert modules == ["plots"]
    for name in modules:
        for first in (f"import gpuanom.{name}", f"from gpuanom import {name}", f"import gpuanom; gpuanom.{name}"):
            same = f"import gpuanom.{name} as again; from gpuanom import {name} as once_more"
            out = _python(f"{first}; {same}; import gpuanom; print(again is once_more is gpuanom.{name})")
            assert out.stdout.strip() == "True", out.stderr
        early = f"from gpuanom import {name} as early; import gpuanom.{name} as late; print(early is late)"
        assert _python(early).stdout.strip() == "True"
    assert _python("from gpuanom.plots import orientations; print(orientations.__module__)").stdout


def test_modules_inside_the_package_can_be_reached_as_before():
    out = _python("import gpuanom; print(gpuanom.records.KINDS == gpuanom.KINDS, gpuanom.settings.Settings.__name__)")
    assert out.stdout.split() == ["True", "Settings"]


def test_tables_are_typed_as_those_of_astropy():
    """The types that type checkers see, where astropy has types."""
    for made in (gpuanom.Tables.exposures, gpuanom.Tables.ccds):  # astropy is imported when one is asked for
        assert typing.get_type_hints(made.func, localns={"Table": Table})["return"] is Table
    assert typing.get_type_hints(gpuanom.sources)["return"] is Table
    assert typing.get_type_hints(gpuanom.Night)["tables"] is gpuanom.Tables
    assert typing.get_type_hints(gpuanom.score)["return"] is gpuanom.Night


def test_import_brings_no_heavy_package():
    heavy = "{'matplotlib', 'torch', 'dask', 'distributed', 'cupy', 'astropy', 'numpy', 'numba', 'scipy', 'rich'}"
    for statement in ("import gpuanom", "from gpuanom import __version__"):
        assert _python(f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))").stdout.strip() == "[]"
    heavy = "{'matplotlib', 'torch', 'dask', 'distributed', 'cupy'}"
    for statement in ("from gpuanom import plots", "import gpuanom; gpuanom.plots.BLUE", "from gpuanom import *"):
        assert _python(f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))").stdout.strip() == "[]"


def test_a_night_is_opened_by_a_text_or_a_path(folder):
    base, night = folder
    for given in (str(base / "out"), base / "out"):
        opened = gpuanom.open_night(given)
        assert isinstance(opened, gpuanom.ScoredNight)
        assert opened.folder == base / "out"
        assert list(opened.tables.exposures["exposure"]) == list(night.tables.exposures["exposure"])
    references = gpuanom.make_references(base / "out")
    references.save(base / "reference.ecsv")
    gpuanom.score([], base / "out", reference=references, device="cpu")
    for reference in (references, str(base / "reference.ecsv"), base / "reference.ecsv"):
        assert gpuanom.open_night(str(base / "out"), reference=reference).settings.robust_rounds == 0
    with pytest.raises(gpuanom.OutputError, match="no such store"):
        gpuanom.open_night(str(base / "in"))
    with pytest.raises(gpuanom.InputError, match="folder is 3 but must be a path"):
        gpuanom.open_night(3)


def test_references_are_made_of_what_is_at_hand(folder):
    base, night = folder
    expected = gpuanom.make_references(base / "out")
    opened = gpuanom.open_night(base / "out")
    for given in (night, opened, [opened], expected, [expected]):
        assert gpuanom.make_references(given).text == expected.text
    memory = gpuanom.score(base / "in", settings=QUICK, device="cpu")
    assert memory.folder is None
    with pytest.raises(gpuanom.InputError, match="a night in memory"):
        gpuanom.make_references([memory])
    with pytest.raises(gpuanom.ReferenceFileError, match="in an earlier input too"):
        gpuanom.make_references([night, opened])


def test_histograms_of_an_exposure_that_is_not_there_are_refused(folder):
    opened = gpuanom.open_night(folder[0] / "out")
    for key in (("TESTCAM", "4711"), "1"):
        with pytest.raises(gpuanom.InputError, match=r"no exposure .* \(a key is \(camera, exposure\)\)"):
            opened.histograms(key)


def test_no_input_and_no_folder_is_refused():
    """A pattern that a script expanded to nothing ended as a night without exposures."""
    with pytest.raises(gpuanom.InputError, match="no exposure among the inputs"):
        gpuanom.score([], None, device="cpu")


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2026-11-23T04:05:06.5", "2026-11-23T04:05:06.5"),
        ("2026-11-23T04:05:06Z", "2026-11-23T04:05:06Z"),
        ("2026-11-23", "2026-11-23"),
        (Time("2026-11-23T04:05:06.5"), "2026-11-23T04:05:06.500"),
        (Time("2026-11-23T04:06:15.684", scale="tai"), "2026-11-23T04:05:38.684"),
        (Time(61000.5, format="mjd"), "2025-11-21T12:00:00.000"),
        (datetime.datetime(2026, 11, 23, 4, 5, 6), "2026-11-23T04:05:06.000"),
        (np.datetime64("2026-11-23T04:05:06"), "2026-11-23T04:05:06.000"),
        ("", ""),
        (None, ""),
    ],
)
def test_dates_reach_the_tables(date, expected):
    measured = gpuanom.measure([nights.image(1)], QUICK, "cpu", date_obs=date)
    assert str(gpuanom.rank([measured], QUICK, device="cpu").exposures["date_obs"][0]) == expected


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (30, 30.0),
        (np.float32(0.5), 0.5),
        (2 * u.min, 120.0),
        (TimeDelta(90, format="sec"), 90.0),
        (datetime.timedelta(minutes=1), 60.0),
        (0.0, 0.0),
        (None, None),
        (math.nan, None),
    ],
)
def test_exposure_times_reach_the_tables(time, expected):
    measured = gpuanom.measure([nights.image(1)], QUICK, "cpu", exptime=time)
    table = gpuanom.rank([measured], QUICK, device="cpu").exposures
    assert table["exptime"].unit == u.s
    assert (None if np.ma.is_masked(table["exptime"][0]) else float(table["exptime"][0])) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"date_obs": "last night"},
        {"date_obs": 61000.5},
        {"date_obs": True},
        {"date_obs": Time(["2026-11-23", "2026-11-24"])},
        {"date_obs": object()},
        {"exptime": "30"},
        {"exptime": -1},
        {"exptime": math.inf},
        {"exptime": True},
        {"exptime": 3 * u.m},
        {"exptime": [1, 2] * u.s},
    ],
    ids=lambda wrong: f"{next(iter(wrong))}-{type(next(iter(wrong.values()))).__name__}",
)
def test_wrong_dates_and_times_are_refused_in_a_line(wrong):
    with pytest.raises(gpuanom.InputError, match=next(iter(wrong))) as caught:
        gpuanom.measure([nights.image(1)], QUICK, "cpu", **wrong)
    assert "\n" not in str(caught.value)


STARS = [(80, 100, 25.0), (90, 300, -60.0), (300, 120, 75.0), (310, 330, 0.0)]


def _starry(noise):
    stars = [sky.gaussian(y, x, 5000.0, 4.0, degrees=degrees, ratio=0.5) for y, x, degrees in STARS]
    return sky.make(400, 420, *stars, noise=noise, seed=3)


def test_sources_have_the_positions_and_orientations_of_the_stars(backend, monkeypatch):
    monkeypatch.setattr("gpuanom.api.select", lambda _device: backend)
    found = gpuanom.sources(_starry(2.0), {"threshold": 30.0})
    assert [(row["y"], row["x"]) for row in found] == [(y, x) for y, x, _ in STARS]
    for row, (_, _, degrees) in zip(found, STARS, strict=True):
        # A peak of 5000 over a noise of 2: the direction of a Gaussian twice as long as wide is known to well under a
        # degree; orientations are modulo 180 degrees.
        for name in ("orientation", "isophote_orientation"):
            assert abs((row[name] - degrees + 90) % 180 - 90) < 1.0
        # The background is fitted to 800 points with a noise of 2, a few of which lie in the wings of stars; the noise
        # of the peak itself is 2.
        assert abs(row["value"] - 5000) < 15
        # The table is printed to seven digits.
        assert row["snr"] == pytest.approx(row["value"] / found.meta["sigma"], rel=1e-6)
        # Isophotal pixels are among the pixels above the threshold.
        assert 5 <= row["n_isophote"] <= row["n_above"]
    assert found.meta["status"] == "ok"
    assert abs(found.meta["sky"] - 1000) < 10
    assert abs(found.meta["sigma"] - 2) < 0.3
    assert found.colnames == [column.name for column in SOURCE_COLUMNS]
    assert str(found["orientation"].unit) == "deg"
    assert all(found[name].description for name in found.colnames)
    assert "counted from 0" in found["x"].description


def test_sources_are_those_that_are_measured_and_equal_on_both_backends(gpu, monkeypatch):
    image = nights.image(7, n_stars=20)
    measured = gpuanom.measure([gpuanom.Ccd("N4", image)], device="cpu", exposure="845291").ccds[0]
    tables = [gpuanom.sources(gpuanom.Ccd("N4", image), device="cpu", exposure="845291")]
    monkeypatch.setattr("gpuanom.api.select", lambda _device: gpu)
    tables.append(gpuanom.sources(image, exposure="845291", name="N4"))
    for table in tables:
        assert len(table) == measured.n_sources > 0
        assert np.count_nonzero(~np.ma.getmaskarray(table["isophote_orientation"])) == measured.n_isophote
        assert table.meta["sigma"] == pytest.approx(measured.sigma, rel=1e-9)  # the order of the sums differs
    for name in tables[0].colnames:
        assert tables[0][name].tolist() == tables[1][name].tolist()


def test_sources_of_any_image_that_measure_takes():
    image = np.array(_starry(2.0))
    settings = {"threshold": 30.0}
    expected = gpuanom.sources(image, settings, "cpu")
    masked = np.zeros(image.shape, bool)
    masked[:200] = True
    for given in (image.astype(">f8"), image.tolist(), CCDData(image, unit="adu"), gpuanom.Ccd("1", image)):
        found = gpuanom.sources(given, settings, "cpu")
        assert found["x", "y"].as_array().tolist() == expected["x", "y"].as_array().tolist()
    for given in (np.ma.array(image, mask=masked), gpuanom.Ccd("1", image, masked)):
        assert gpuanom.sources(given, settings, "cpu")["y"].tolist() == [300, 310]
    for wrong in ("file.fits", [image], 3, image.astype(complex)):
        with pytest.raises(gpuanom.InputError):
            gpuanom.sources(wrong, settings, "cpu")


@pytest.mark.parametrize(
    ("image", "status"),
    [
        (np.ones((100, 100)), "constant"),
        (np.ones((10, 100)), "too_small"),
        (np.full((100, 100), np.nan), "too_few_pixels"),
    ],
)
def test_a_ccd_that_cannot_be_measured_has_an_empty_table_that_says_why(image, status):
    found = gpuanom.sources(image, device="cpu")
    assert isinstance(found, Table)
    assert len(found) == 0
    assert found.colnames == [column.name for column in SOURCE_COLUMNS]
    assert found.meta["status"] == status
    assert found.meta["reason"].startswith("CCD 1: ")
    assert math.isnan(found.meta["sigma"])


EVIL = "<img src=x onerror=alert(1)>"


def _results(folder):
    base, night = folder
    measured = gpuanom.measure(
        {EVIL: nights.image(1), "2": np.ones((100, 100))}, QUICK, "cpu", exposure=EVIL, camera=EVIL
    )
    return [
        *(night, night.tables, gpuanom.open_night(base / "out"), measured, *measured.ccds, measured.exposure),
        *(gpuanom.make_references(base / "out"), gpuanom.Settings(), gpuanom.Settings(versions="apart", bins=9)),
        *(gpuanom.rank([measured], QUICK, device="cpu"), gpuanom.Ccd(EVIL, nights.image(1))),
        *gpuanom.open_night(base / "out").histograms(("TESTCAM", "1")),
    ]


def test_representations_are_short_and_escaped(folder):
    shown = 0
    for result in _results(folder):
        assert "\n" not in repr(result)
        assert len(repr(result)) < 200
        assert "array" not in repr(result)
        assert "0x" not in repr(result)
        if page := getattr(result, "_repr_html_", None):
            shown += 1
            assert "<img" not in page()
            assert len(page()) < 6000
    assert shown == 10
    measured = _results(folder)[3]
    assert "&lt;img" in measured._repr_html_()
    assert repr(gpuanom.Settings()) == "Settings()"
    assert repr(gpuanom.Settings(bins=9, threshold=30.0)) == "Settings(threshold=30.0, bins=9)"
    assert eval(repr(QUICK), {"Settings": gpuanom.Settings}) == QUICK
    assert repr(folder[1]).startswith("<Night: 4 exposures, 8 CCDs, most anomalous: ")
    assert f"most anomalous: {folder[1].tables.exposures['exposure'][0]}" in repr(folder[1])


def test_a_night_in_a_notebook_begins_with_its_verdicts(tmp_path):
    nights.night(tmp_path / "in", exposures=20, ccds=1, odd=7)
    settings = QUICK.replace(simulations=100)
    night = gpuanom.score(tmp_path / "in", tmp_path / "out", settings=settings, device="cpu")
    verdicts = list(night.tables.exposures["verdict"])
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("bad", "check", "ok"))
    for shown in (night, night.tables, gpuanom.open_night(tmp_path / "out")):
        assert f"20 exposures ({counts}), 20 CCDs" in repr(shown)
        assert "<th>verdict</th><th>cause</th><th>evidence</th>" in shown._repr_html_()
        assert f"<td>{night.tables.exposures['verdict'][0]}</td>" in shown._repr_html_()
    paper = gpuanom.score(output=tmp_path / "out", settings=gpuanom.Settings.from_profile("paper").replace(
        **{name: getattr(settings, name) for name in ("gradient_points", "sigma_points", "background_points", "seed")}
    ), device="cpu")  # fmt: skip
    assert "exposures, 20 CCDs" in repr(paper)
    assert "verdict" not in paper._repr_html_()


def test_messages_call_types_by_their_public_names():
    with pytest.raises(gpuanom.SettingsError, match=r"but must be gpuanom\.Events$"):
        gpuanom.score("night", settings=QUICK, events=print)


def test_a_table_of_many_rows_is_cut(folder):
    ccds = [gpuanom.Ccd(str(i), np.ones((10, 10))) for i in range(25)]
    page = gpuanom.measure(ccds, QUICK, "cpu")._repr_html_()
    assert page.count("<tr>") == 11
    assert "and 15 more" in page


SCORE = "import gpuanom, sys; gpuanom.score({0!r}, settings={1!r}, device='cpu', progress={2})"
PLAIN = {"gradient_points": 300, "sigma_points": 500, "background_points": 200, "simulations": 100}


def _on_a_terminal(program):
    """The output of a program on standard output, and on standard error if that is a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(INIT.parent.parent)}
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # on Linux this error says that the other end of the terminal was closed
        pass
    os.close(ours)
    out, _ = process.communicate()
    assert process.returncode == 0, shown
    return out, shown


def test_progress_is_shown_on_a_terminal_when_asked_for_only(folder, capfd):
    place = str(folder[0] / "in")
    parts = [SCORE.format(place, PLAIN, False), "print('now', file=sys.stderr)", SCORE.format(place, PLAIN, True)]
    out, shown = _on_a_terminal("\n".join(parts))
    assert not out
    assert shown.startswith(b"now")
    assert b"measuring exposures" in shown
    assert b"4/4" in shown
    capfd.readouterr()
    gpuanom.score(place, settings=PLAIN, device="cpu", progress=True)
    assert capfd.readouterr() == ("", "")


def test_progress_keeps_the_events_that_are_given(folder, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    calls = []
    events = gpuanom.Events(plan=lambda *n: calls.append(n), done=lambda e, *_: calls.append(e.exposure))
    gpuanom.score(folder[0] / "in", settings=QUICK, device="cpu", events=events, progress=True)
    assert calls[0] == (4, 0)
    assert sorted(calls[1:]) == ["1", "2", "3", "4"]
    out, err = capsys.readouterr()
    assert "4/4" in err
    assert not out


def test_a_notebook_without_widgets_says_what_is_missing(monkeypatch, capsys):
    class Notebook(rich.console.Console):
        def __init__(self, **options):
            super().__init__(**options)
            self.is_jupyter = True

        def print(self, *objects, **_):
            print(*objects)

    monkeypatch.setattr(rich.console, "Console", Notebook)
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda _name: None)
    with progress.with_bar(gpuanom.Events(), True) as events:
        events.plan(1, 0)
    assert "ipywidgets" in capsys.readouterr().out
