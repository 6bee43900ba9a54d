"""Arguments as users pass them from notebooks: each works as meant, or is refused in one line that names it."""

from __future__ import annotations

import inspect
import io
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty
from astropy.utils.masked import Masked

import gpuanom
from gpuanom.nights.watch import watch
from tests import nights

QUICK = {"gradient_points": 300, "sigma_points": 500, "background_points": 300, "simulations": 200}
IMAGE = nights.image(3)
HALF = np.zeros(IMAGE.shape, dtype=bool)
HALF[:, : IMAGE.shape[1] // 2] = True


class Odd:
    """An object of a type that no function accepts."""


class Lazy:
    """An image of another package, which is read when an array is asked for."""

    def __array__(self, dtype=None, copy=None):
        return IMAGE


class Failing:
    def __array__(self, dtype=None, copy=None):
        raise ZeroDivisionError("no image\ncame")


def measured(image, **options):
    """The only CCD of an exposure, as numbers that can be compared."""
    (ccd,) = gpuanom.measure([image], QUICK, "cpu", **options).ccds
    return ccd.status, ccd.n_sources, ccd.sigma, ccd.masked_fraction, ccd.counts.tolist()


def recarray():
    """An image of a mapped file: big-endian and read-only."""
    file = io.BytesIO()
    fits.PrimaryHDU(np.array(IMAGE)).writeto(file)
    file.seek(0)
    return fits.open(file)[0].data


PLAIN = {
    "Quantity": lambda: IMAGE * units.adu,
    "Quantity of another type": lambda: np.array(IMAGE, dtype=">f8") * units.electron / units.s,
    "CCDData": lambda: CCDData(IMAGE, unit="adu"),
    "CCDData with uncertainty": lambda: CCDData(IMAGE, unit="adu", uncertainty=StdDevUncertainty(np.sqrt(IMAGE))),
    "CCDData, mask=None": lambda: CCDData(IMAGE, unit="adu", mask=None),
    "CCDData, nothing masked": lambda: CCDData(IMAGE, unit="adu", mask=np.zeros(IMAGE.shape, bool)),
    "NDData": lambda: NDData(IMAGE),
    "NDData of a big-endian array": lambda: NDData(np.array(IMAGE, dtype=">f4")),
    "numpy.ma without a mask": lambda: np.ma.array(IMAGE),
    "numpy.ma, nothing masked": lambda: np.ma.array(IMAGE, mask=np.zeros(IMAGE.shape, bool)),
    "Masked, nothing masked": lambda: Masked(IMAGE, mask=np.zeros(IMAGE.shape, bool)),
    "nested lists": lambda: IMAGE.tolist(),
    "a file's array": recarray,
    "float128": lambda: IMAGE.astype(np.longdouble),
    "Fortran order": lambda: np.asfortranarray(IMAGE),
    "a matrix's view": lambda: np.repeat(IMAGE, 2, axis=1)[:, ::2],
    "an object with __array__": Lazy,
    "Ccd": lambda: gpuanom.Ccd("1", IMAGE),
    "Ccd of plain values": lambda: gpuanom.Ccd(np.int64(1), IMAGE.tolist(), None, None, 0, None),
    "Ccd of CCDData": lambda: gpuanom.Ccd(1, CCDData(IMAGE, unit="adu")),
}
MASKED = {
    "numpy.ma": lambda: np.ma.array(IMAGE, mask=HALF),
    "CCDData": lambda: CCDData(IMAGE, unit="adu", mask=HALF),
    "CCDData, mask of whole numbers": lambda: CCDData(IMAGE, unit="adu", mask=HALF * np.uint16(32768)),
    "NDData": lambda: NDData(IMAGE, mask=HALF),
    "NDData of numpy.ma": lambda: NDData(np.ma.array(IMAGE, mask=HALF)),
    "Masked": lambda: Masked(IMAGE, mask=HALF),
    "Masked Quantity": lambda: Masked(IMAGE * units.adu, mask=HALF),
    "Ccd of numpy.ma": lambda: gpuanom.Ccd("1", np.ma.array(IMAGE, mask=HALF)),
    "Ccd of CCDData": lambda: gpuanom.Ccd("1", CCDData(IMAGE, unit="adu", mask=HALF)),
    "Ccd of both": lambda: gpuanom.Ccd("1", np.ma.array(IMAGE, mask=HALF), HALF * np.uint8(1)),
}


@pytest.mark.parametrize("what", PLAIN)
def test_every_image_without_a_mask_is_the_same(what):
    assert measured(PLAIN[what]()) == measured(IMAGE)


@pytest.mark.parametrize("what", MASKED)
def test_every_mask_counts_as_that_of_numpy_ma(what):
    wanted = measured(gpuanom.Ccd("1", IMAGE, HALF))
    assert wanted[3] == 0.5
    assert measured(MASKED[what]()) == wanted
    (ccd,) = gpuanom.measure([NDData(IMAGE, mask=True)]).ccds
    assert ccd.status == "too_few_pixels"


def test_half_precision_is_an_image_too():
    assert measured(IMAGE.astype(np.float16))[0] == "ok"


def test_tensors_are_arrays_or_refused():
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(np.array(IMAGE))
    assert measured(tensor) == measured(IMAGE)
    with pytest.raises(gpuanom.InputError, match="CCD 1: its image"):
        measured(tensor.requires_grad_())


WRONG_IMAGES = {
    "booleans": (lambda: IMAGE > 1000, "bool"),
    "complex": (lambda: IMAGE.astype(complex), "complex"),
    "an HDU": (lambda: fits.ImageHDU(np.array(IMAGE)), "hdu.data"),
    "an empty HDU": (fits.PrimaryHDU, "hdu.data"),
    "a table": (lambda: np.zeros((70, 70), dtype=[("a", "f4")]), "real numbers"),
    "a file's name": (lambda: "a.fits", "a.fits"),
    "a path": (lambda: Path("a.fits"), "Path"),
    "None": (lambda: None, "None"),
    "a number": (lambda: 5.0, "shape"),
    "rows of unequal length": (lambda: [[1.0, 2.0], [3.0]], "array"),
    "decimal numbers": (lambda: np.full((70, 70), Decimal(1)), "real numbers"),
    "dates": (lambda: np.zeros((70, 70), "M8[s]"), "real numbers"),
    "one dimension": (lambda: IMAGE.ravel(), "2-D"),
    "an object that fails": (Failing, "array"),
    "NDData with a mask of another shape": (lambda: NDData(IMAGE, mask=HALF[1:]), "its mask has shape"),
    "a Ccd with a turn of 90": (lambda: gpuanom.Ccd("1", IMAGE, turn=90), "turn is 90"),
    "a Ccd with half a CD matrix": (lambda: gpuanom.Ccd("1", IMAGE, sky_axes=(1.0, 2.0)), "CD1_1"),
    "a Ccd saturated at a text": (lambda: gpuanom.Ccd("1", IMAGE, saturation="high"), "saturation"),
    "a Ccd named by a list": (lambda: gpuanom.Ccd([1], IMAGE), "name of a CCD"),
}


@pytest.mark.parametrize("what", WRONG_IMAGES)
def test_what_is_no_image_is_one_line(what):
    make, word = WRONG_IMAGES[what]
    with pytest.raises(gpuanom.InputError) as caught:
        gpuanom.measure([make()])
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "ccds", [IMAGE, CCDData(IMAGE, unit="adu"), gpuanom.Ccd("1", IMAGE), "a.fits", Path("a.fits"), None, 5, [], {}]
)
def test_what_is_no_list_of_ccds_is_one_line(ccds):
    with pytest.raises(gpuanom.InputError):
        gpuanom.measure(ccds)


def test_ccds_by_name_are_as_records():
    by_name = gpuanom.measure({"N1": IMAGE, 2: gpuanom.Ccd("x", IMAGE)}, QUICK)
    assert [ccd.name for ccd in by_name.ccds] == ["2", "N1"]
    record = gpuanom.measure([gpuanom.Ccd("N1", IMAGE)], gpuanom.Settings(**QUICK)).ccds[0]
    assert np.array_equal(by_name.ccds[1].counts, record.counts)


def test_numbers_are_names_as_headers_have_them():
    wanted = gpuanom.measure([IMAGE], QUICK, exposure="845291", band="r")
    for number in (845291, np.int64(845291), np.uint32(845291), np.str_("845291")):
        got = gpuanom.measure([IMAGE], QUICK, exposure=number, camera=None, band=np.str_("r"))
        assert (got.exposure.exposure, got.exposure.band) == ("845291", "r")
        assert type(got.exposure.exposure) is str
        assert np.array_equal(got.ccds[0].counts, wanted.ccds[0].counts)
    tables = gpuanom.rank([gpuanom.measure([IMAGE], QUICK, exposure=i) for i in range(3)], QUICK)
    assert sorted(tables.exposures["exposure"]) == ["0", "1", "2"]


def test_devices_are_named_by_numbers_too(monkeypatch):
    from gpuanom.backends import choice as backend

    asked = []
    monkeypatch.setattr(backend, "_gpu", lambda number: (asked.append(number), str(number)))
    for device in (0, "0", np.int64(0), [0, 1], (0, 1), "0,1", ["0", 1]):
        backend.choose(device)
    assert asked == [0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1]
    monkeypatch.undo()
    assert gpuanom.measure([IMAGE], QUICK, device=None).ccds[0].status == "ok"
    for device in (True, -1, 1.5, [], [None], {"gpu": 0}, "cuda", b"cpu", object()):
        with pytest.raises(gpuanom.DeviceError, match="unknown device"):
            gpuanom.measure([IMAGE], QUICK, device=device)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    base = tmp_path_factory.mktemp("night")
    nights.night(base / "in", exposures=2, ccds=1)
    gpuanom.score(base / "in", base / "out", settings=QUICK, device="cpu")
    return base


def test_paths_texts_and_lists_are_the_same(night, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    paths = sorted((night / "in").iterdir())
    wanted = (night / "out" / "exposures.ecsv").read_bytes()
    given = (str(night / "in"), night / "in", bytes(night / "in"), [night / "in"], paths, map(str, paths), set(paths),
             np.array([str(path) for path in paths]))  # fmt: skip
    for i, inputs in enumerate(given):
        scored = gpuanom.score(inputs, f"~/out{i}", settings=QUICK, device="cpu", threads=np.int64(1), formats="ecsv")
        assert len(scored.tables.exposures) == 2
        assert (tmp_path / f"out{i}" / "exposures.ecsv").read_bytes() == wanted
    shard = gpuanom.score(night / "in", settings=QUICK, device="cpu", shard=[1, np.int64(1)])
    assert len(shard.tables.exposures) == 2
    references = gpuanom.make_references(str(night / "out"))
    references.save(str(tmp_path / "ref.ecsv"))
    assert gpuanom.References.load(str(tmp_path / "ref.ecsv")).datasets[0].band == "r"
    merged = gpuanom.merge_nights(bytes(night / "out"), "~/merged", settings={"robust_rounds": 1}, formats="ecsv,csv")
    assert len(merged.exposures) == 2
    assert (tmp_path / "merged" / "exposures.csv").exists()
    ranked = gpuanom.rank((gpuanom.measure([IMAGE], QUICK),), QUICK, "~/ref.ecsv")
    assert len(ranked.exposures) == 1


@pytest.mark.parametrize("empty", ["", b""])
def test_an_empty_path_is_not_the_present_folder(night, tmp_path, monkeypatch, empty):
    monkeypatch.chdir(night / "in")
    for refused in (lambda: gpuanom.score(empty, tmp_path / "o"), lambda: gpuanom.score([".", empty], tmp_path / "o"),
                    lambda: gpuanom.score(".", empty), lambda: gpuanom.make_references(empty),
                    lambda: gpuanom.References.load(empty), lambda: gpuanom.open_night(empty)):  # fmt: skip
        with pytest.raises(gpuanom.GpuanomError, match=r"holds an empty text|is b?'' but must be a path"):
            refused()
    assert not list(tmp_path.iterdir())
    assert len(list((night / "in").iterdir())) == 2


def test_settings_take_numbers_of_numpy():
    ours = gpuanom.Settings(seed=np.int64(3), threshold=np.float32(4.5), mask=np.True_, mask_sources=["bad"])
    assert ours == gpuanom.Settings(seed=3, threshold=4.5, mask=True, mask_sources=("bad",))
    assert ours.fingerprint() == gpuanom.Settings(seed=3, threshold=4.5, mask_sources=("bad",)).fingerprint()


WRONG = (5, -1, 1.5, True, "nonsense", b"\xff", "4", None, (), [], {}, [1, 2, 3], [None], {"a": 1}, Odd(), Odd,
         np.zeros(3), np.array(None), np.nan, "a\0b", "", Path("nowhere"), iter([Odd()]), range(3),
         lambda: 1)  # fmt: skip


def _right(night, tmp_path):
    """Every public function with valid arguments."""
    exposure = gpuanom.measure([IMAGE], QUICK, device="cpu")
    pace = gpuanom.nights.watch.Pace(once=True, settle=0.0, every=0.02)
    scored = {"paths": night / "in", "output": None, "settings": QUICK, "device": "cpu"}
    return {
        "measure": (gpuanom.measure, {"ccds": [IMAGE], "settings": QUICK, "device": "cpu"}),
        "sources": (gpuanom.sources, {"ccd": IMAGE, "settings": QUICK, "device": "cpu"}),
        "open_night": (gpuanom.open_night, {"folder": night / "out"}),
        "rank": (gpuanom.rank, {"measurements": [exposure], "settings": QUICK, "device": "cpu"}),
        "score": (gpuanom.score, scored),
        "make_references": (gpuanom.make_references, {"inputs": [night / "out"]}),
        "merge_nights": (gpuanom.merge_nights, {"inputs": [night / "out"], "output": tmp_path / "m", "device": "cpu"}),
        "forget_nights": (gpuanom.forget_nights, {"survey": night / "out", "nights": "1", "dry_run": True}),
        "Settings": (gpuanom.Settings, {}),
        "Settings.from_mapping": (gpuanom.Settings.from_mapping, {"values": QUICK}),
        "Settings.from_toml": (gpuanom.Settings.from_toml, {"path": tmp_path / "my.toml"}),
        "Settings.from_profile": (gpuanom.Settings.from_profile, {"profile": "robust"}),
        "References.load": (gpuanom.References.load, {"path": night / "ref.ecsv"}),
        "watch": (watch, {**scored, "output": tmp_path / "w", "pace": pace}),
    }


FUNCTIONS = ("measure", "sources", "open_night", "rank", "score", "make_references", "merge_nights", "forget_nights",
             "Settings", "Settings.from_mapping", "Settings.from_toml", "Settings.from_profile", "References.load",
             "watch")  # fmt: skip
RECORDS = {
    "Ccd",
    "CcdMeasurement",
    "Exposure",
    "Measurement",
    "Night",
    "ScoredNight",
    "Tables",
    "Turn",
    "Unfit",
    "Events",
    "References",
}
"""Types that public functions return, and types that are checked where they are passed."""


def test_the_list_of_functions_is_whole(night, tmp_path):
    assert set(FUNCTIONS) == set(_right(night, tmp_path))
    public = {name for name in gpuanom.__all__ if callable(getattr(gpuanom, name))}
    errors = {name for name in public if name.endswith("Error")}
    assert public - errors - RECORDS <= set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_argument_of_a_wrong_kind_is_one_line(name, night, tmp_path, monkeypatch):
    """The argument may also work, if its meaning is plain. No other exception is ever raised."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text("seed = 2\n")
    function, right = _right(night, tmp_path)[name]
    refused, broken = 0, []
    for argument in inspect.signature(function).parameters:
        for wrong in WRONG:
            if argument == "pace" and wrong is None:
                continue  # this watch would never end
            if argument == "say" and callable(wrong):
                continue  # what a function takes is known when it is called
            if (argument == "workers" and wrong is WRONG[0]) or (
                argument == "scheduler" and isinstance(wrong, str | Path)
            ):
                continue  # these are valid: a cluster would be started, or a scheduler waited for
            try:
                function(**{**right, argument: wrong})
            except gpuanom.GpuanomError as error:
                refused += 1
                if "\n" in str(error) or not str(error):
                    broken.append((argument, wrong, str(error)))
            except BaseException as error:
                broken.append((argument, wrong, repr(error)))
    assert not broken
    assert refused > len(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [("bands", "r"), ("bands", [1]), ("bands", None), ("shape", 512), ("shape", (512,)), ("shape", "64"),
     ("shape", (512.0, 512)), ("ccds", "4"), ("exposures", 2.5), ("seed", None), ("headers", ["decam"])],
)  # fmt: skip
def test_simulated_nights_of_wrong_arguments_are_refused(tmp_path, argument, wrong):
    from gpuanom.simulate import simulate_night

    pytest.importorskip("galsim")
    with pytest.raises(gpuanom.SettingsError, match=argument):
        simulate_night(tmp_path / "night", **{argument: wrong})
    assert not (tmp_path / "night").exists()
