"""Exposures that share a stack on the test device: each is measured as it is alone, whatever happens to the others."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.backends.protocol import Backend
from gpuanom.fits import discover
from gpuanom.measuring import shared_stacks
from gpuanom.measuring import threads as measuring_threads
from gpuanom.measuring.exposure_source import ListedExposures
from gpuanom.measuring.shared_stacks import may_share, most_sharing
from gpuanom.measuring.threads import Threads
from gpuanom.records import Exposure, Failure, Measurement
from tests import device, nights
from tests.gpu.test_card import arrays

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300)


@pytest.fixture
def gpu():
    with device.installed():
        yield select("0")


@pytest.fixture
def stacks(gpu, monkeypatch):
    """The number of CCDs of each stack."""
    sizes = []

    whole = type(gpu).background

    def background(self, stack, *arguments):
        sizes.append(stack.shape[0])
        return whole(self, stack, *arguments)

    monkeypatch.setattr(type(gpu), "background", background)
    return sizes


def night(folder, *, exposures=6, **options):
    nights.night(folder, exposures=exposures, **options)
    return discover([folder], QUICK).exposures


def measured(gpu: Backend, exposures, *, alone=False, debug=lambda _text: None):
    """What becomes of each exposure, by camera and id; `alone`: none shares a stack."""
    with pytest.MonkeyPatch.context() as patch, Threads(QUICK, [gpu], 2, debug) as run:
        if alone:
            patch.setattr(shared_stacks, "MOST_SHARED_CCDS", 1)
        done = [(exposure.key, result) for exposure, result, _ in run.measured(exposures)]
    assert len(dict(done)) == len(done) == len(exposures)
    return dict(done)


def told(result):
    """All that a measurement says, or a failure."""
    if isinstance(result, Failure):
        return result
    assert isinstance(result, Measurement)
    texts = [(ccd.name, ccd.status, ccd.reason, ccd.remark, ccd.shape, ccd.n_sources) for ccd in result.ccds]
    return texts, [(a.dtype.str, a.shape, a.tobytes()) for a in arrays([*result.ccds, result.statistics])]


def check_same(gpu, exposures, stacks):
    """Exposures that share stacks give what each gives alone; returns that."""
    expected = measured(gpu, exposures, alone=True)
    n_alone = len(stacks)
    found = measured(gpu, exposures)
    assert len(stacks) - n_alone < n_alone, stacks
    assert list(map(told, map(found.get, expected))) == list(map(told, expected.values()))
    return found


def test_exposures_share_stacks_and_are_measured_as_alone(gpu, stacks, tmp_path):
    found = check_same(gpu, night(tmp_path, exposures=12), stacks)
    assert len({told(result)[1][0] for result in found.values()}) > 1
    assert all(result.statistics is not None for result in found.values())


def test_shapes_and_cameras_may_differ(gpu, stacks, tmp_path):
    """Exposures of one CCD and of three, two of another shape, and one CCD too small to measure."""
    exposures = [*night(tmp_path / "a", exposures=5), *night(tmp_path / "b", ccds=3, exposures=4, camera="OTHER")]
    path = nights.write(tmp_path / "a", 20)
    with fits.open(path, mode="update") as hdus:
        hdus[1].data = np.array(nights.image(3, shape=(130, 100)))
        hdus[2].data = hdus[2].data[:10, :10]
    exposures = [*discover([tmp_path / "a"], QUICK).exposures, *exposures[5:]]
    found = check_same(gpu, exposures, stacks)
    statuses = [ccd.status for result in found.values() for ccd in result.ccds]
    assert statuses.count("too_small") == 1
    assert statuses.count("ok") == len(statuses) - 1


def test_damaged_files_do_not_cost_the_others(gpu, stacks, tmp_path):
    """A file that is cut off, one that is none, one that is gone, and CCDs that are constant or mostly saturated."""
    exposures = night(tmp_path, exposures=10)
    (cut,), (none,), (gone,), (constant,), (bright,) = (exposures[i].files for i in (2, 3, 4, 5, 6))
    cut.write_bytes(cut.read_bytes()[:60000])
    none.write_bytes(b"SIMPLE  =                    T")
    gone.unlink()
    with fits.open(constant, mode="update") as hdus:
        hdus[1].data[:] = 5.0
    with fits.open(bright, mode="update") as hdus:
        hdus[1].header["SATURATE"] = 900.0
    found = check_same(gpu, exposures, stacks)
    assert {ccd.status for result in found.values() for ccd in getattr(result, "ccds", ())} >= {"ok", "constant"}


def test_little_memory_divides_the_ccds_of_several_exposures(gpu, stacks, tmp_path, monkeypatch):
    exposures = night(tmp_path, exposures=9, ccds=3)
    expected = {key: told(result) for key, result in measured(gpu, exposures, alone=True).items()}
    monkeypatch.setattr(type(gpu), "group_size", lambda *_: 7)
    del stacks[:]
    found = measured(gpu, exposures)
    assert {key: told(result) for key, result in found.items()} == expected
    assert 6 in stacks  # two exposures, since three are more CCDs than fit

    whole = type(gpu).prepare

    def prepare(self, ccds, most):
        if most > 4:
            raise MemoryError
        return whole(self, ccds, most)

    monkeypatch.setattr(type(gpu), "prepare", prepare)
    found = measured(gpu, exposures)
    assert {key: told(result) for key, result in found.items()} == expected


@pytest.mark.parametrize("where", ["open_ccds", "measure_group", "exposure_record"])
def test_an_unforeseen_error_costs_one_exposure(gpu, tmp_path, monkeypatch, where):
    """One that shares its stacks with others."""
    exposures, texts, victims = night(tmp_path, exposures=12), [], []
    for exposure in exposures:  # two shapes are two groups: one may be measured before the other fails, or afterwards
        with fits.open(exposure.files[0], mode="update") as hdus:
            hdus[2].data = np.array(hdus[2].data[:150])
    expected = measured(gpu, exposures)
    whole = getattr(measuring_threads, where)

    def fails(about, *arguments):
        names = [about.exposure] if isinstance(about, Exposure) else about.points_ids
        if not victims and (isinstance(about, Exposure) or len(names) > 1):
            victims.append(names[-1])
        if victims and victims[0] in names:
            raise RuntimeError("unforeseen")
        return whole(about, *arguments)

    monkeypatch.setattr(measuring_threads, where, fails)
    found = measured(gpu, exposures, debug=texts.append)
    (failed,) = (found.pop(key) for key in expected if key[1] == victims[0])
    assert isinstance(failed, Failure)
    assert (failed.status, failed.reason) == ("failed", "RuntimeError: unforeseen")
    assert {key: told(result) for key, result in found.items()} == {key: told(expected[key]) for key in found}
    assert texts
    assert all("unforeseen" in text for text in texts)


def test_damaged_tiles_are_found_in_the_exposure_that_has_them(gpu, stacks, tmp_path):
    """The device decodes; the host then names the tile."""
    for path in nights.night(tmp_path / "in", exposures=8):
        with fits.open(path) as hdus:
            packed = fits.HDUList([hdus[0]])
            for hdu in hdus[1:]:
                packed.append(fits.CompImageHDU(hdu.data, hdu.header, compression_type="RICE_1", quantize_level=16.0))
            (tmp_path / "packed").mkdir(exist_ok=True)
            packed.writeto(tmp_path / "packed" / f"{path.stem}.fits.fz")
    exposures = discover([tmp_path / "packed"], QUICK).exposures
    (path,) = exposures[3].files
    with fits.open(path, disable_image_compression=True) as hdus:
        heap = hdus[2].fileinfo()["datLoc"] + hdus[2].header["NAXIS1"] * hdus[2].header["NAXIS2"]
    with path.open("r+b") as file:
        file.seek(heap + 10)
        file.write(b"\xff" * 200)
    found = check_same(gpu, exposures, stacks)
    statuses = {key: [ccd.status for ccd in result.ccds] for key, result in found.items()}
    assert statuses.pop(exposures[3].key) == ["ok", "corrupt"]
    assert set(map(tuple, statuses.values())) == {("ok", "ok")}


def test_the_last_exposures_are_shared_among_the_lanes(gpu, stacks, tmp_path):
    """Of eight exposures, five are begun at once; one lane must not take all the others."""
    exposures = night(tmp_path, exposures=8, ccds=1)
    measured(gpu, exposures)
    assert sum(stacks) == 8
    assert max(stacks) <= 3


def test_measurements_of_one_stack_are_stored_together(gpu, tmp_path):
    """The run is told that more are done, so that all of them share a transaction."""
    exposures = night(tmp_path, exposures=12, ccds=1)
    with Threads(QUICK, [gpu], 2, print) as run:
        behind = [run.is_behind() for _ in run.measured(exposures)]
        assert True in behind
        assert not behind[-1]
        assert not run.is_behind()


def test_how_many_exposures_share_a_stack():
    assert [most_sharing(n) for n in (0, 1, 8, 9, 16, 61, 128, 129, 1000)] == [32, 32, 32, 28, 16, 4, 2, 1, 1]
    assert most_sharing(1) == shared_stacks.MOST_SHARING
    assert [may_share(n, 2046, 4094) for n in (244, 256, 257)] == [True, True, False]
    assert [may_share(n, 4096, 4096) for n in (128, 129)] == [True, False]  # numbers of pixels are those of an int


def test_listed_exposures_are_taken_in_order():
    source = ListedExposures(range(3))
    assert [source.n_left(), source.take(), source.take(wait=False), source.n_left()] == [3, 0, 1, 1]
    assert [source.take(), source.take(), source.take(wait=False), source.n_left()] == [2, None, None, 0]


def test_scored_nights_have_the_cpus_tables(gpu, stacks, tmp_path):
    """Also where a run goes on with exposures that came later."""
    nights.night(tmp_path / "in", exposures=9)
    later = tmp_path / "in" / "exposure_008.fits"
    later.rename(tmp_path / "later.fits")
    for name in ("cpu", "0"):
        gpuanom.score([tmp_path / "in"], tmp_path / name, settings=QUICK, device=name)
    shutil.move(tmp_path / "later.fits", later)
    for name in ("cpu", "0"):
        gpuanom.score([tmp_path / "in"], tmp_path / name, settings=QUICK, device=name)
    assert nights.tables(tmp_path / "cpu") == nights.tables(tmp_path / "0")
    assert max(stacks) > 2
