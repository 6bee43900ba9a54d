"""A GPU that is prepared in a thread: whoever chooses a device waits for the thread, and hears what is wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

import gpuanom
from gpuanom import nvidia
from gpuanom.backends import ahead
from gpuanom.backends.choice import choose
from gpuanom.errors import DeviceError
from gpuanom.measuring import threads
from tests import nights


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(ahead, "_thread", None)


@pytest.mark.parametrize("device", ["0", "auto"])
def test_the_choice_waits_for_the_thread(gpu, monkeypatch, device):
    from gpuanom.backends.gpu import devices

    check, seen, may_go = devices.check, [], threading.Event()

    def slow(number):
        seen.append(threading.current_thread().name)
        assert may_go.wait(10)
        found = check(number)
        seen.append(threading.current_thread().name)
        return found

    monkeypatch.setattr(devices, "check", slow)
    ahead.begin(device)
    threading.Timer(0.2, may_go.set).start()
    (backend,), _ = choose(device)
    assert backend.name == "gpu"
    assert seen == ["gpuanom-device", "gpuanom-device", "MainThread", "MainThread"]


@pytest.mark.parametrize("device", ["7", "gpu", "", "0,7"])
def test_trouble_is_reported_by_the_choice_alone(gpu, device, capfd):
    ahead.begin(device)
    with pytest.raises(DeviceError, match=r"no such GPU|unknown device"):
        choose(device)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_prepared_for_the_cpu():
    ahead.begin("cpu")
    assert ahead._thread is None
    assert choose("cpu")[1] == "cpu"


def test_the_loops_of_every_run_are_loaded_once(gpu, monkeypatch):
    from gpuanom.backends.gpu import loops
    from gpuanom.fits.decoding import byteorder, images_together_loop, tile_table_loop

    for thread in threading.enumerate():
        if thread.name == "gpuanom-loops":  # of an earlier choice of the GPU
            thread.join()
    loaded = []
    monkeypatch.setattr(tile_table_loop.read_places, "load", lambda: loaded.append("places"))
    monkeypatch.setattr(images_together_loop.read_sound_images, "load", lambda: loaded.append("images"))
    monkeypatch.setattr(byteorder.total, "load", lambda: loaded.append("total"))
    loops._load()
    assert loaded == ["places", "images", "total"]
    monkeypatch.setattr(byteorder.total, "load", lambda: 1 / 0)
    loops._load()  # the first use of the loop would say what is wrong


def test_the_driver_makes_the_context_beside_the_first_thread(monkeypatch):
    started, done = [], threading.Event()
    monkeypatch.setattr(ahead, "_prepare", lambda _device: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: True)
    monkeypatch.setattr(ahead.nvidia, "start", lambda number: (started.append(number), number == 3 and done.set()))
    ahead.begin("0,3")
    assert done.wait(10)
    assert started == [0, 3]
    ahead._start("nonsense")  # the choice of the device has words for this
    assert started == [0, 3]


def test_no_context_is_made_where_cupy_is_missing(monkeypatch):
    started = []
    monkeypatch.setattr(ahead.nvidia, "start", started.append)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    ahead._start("auto")
    assert started == []


class Driver:
    """A driver's library: what each of its functions returns, and which were called."""

    def __init__(self, **results):
        self.called = []
        for name, result in results.items():
            setattr(self, name, lambda *_arguments, name=name, result=result: (self.called.append(name), result)[1])


@pytest.mark.parametrize(
    ("results", "called"),
    [
        ({"cuInit": 0, "cuDeviceGet": 0, "cuDevicePrimaryCtxRetain": 0}, 3),
        ({"cuInit": 0, "cuDeviceGet": 101, "cuDevicePrimaryCtxRetain": 0}, 2),
        ({"cuInit": 100}, 1),
        ({"cuInit": 0}, 1),
    ],
)
def test_a_context_is_made_if_the_driver_can(monkeypatch, results, called):
    driver = Driver(**results)
    monkeypatch.setattr(nvidia, "_library", lambda: driver)
    nvidia.start(0)
    assert driver.called == ["cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain"][:called]


def test_without_a_driver_no_context_is_made(monkeypatch):
    monkeypatch.setattr(nvidia, "_library", lambda: None)
    nvidia.start(0)


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import null_device
null_device.install()
from gpuanom.backends.gpu import GpuBackend, devices
print("numba" in sys.modules)
"""


def test_a_gpu_is_asked_before_numba_is_imported():
    """Numba takes as long to import as the driver takes for its context: `loops` imports Numba beside that."""
    profiling = Path(__file__).parents[2] / "profiling"
    done = subprocess.run([sys.executable, "-c", PROGRAM, profiling], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("statistics", [True, False])
def test_the_loops_of_statistics_are_loaded_where_they_are_needed(gpu, monkeypatch, statistics):
    loaded = []
    monkeypatch.setattr(threads, "load_statistics", lambda: loaded.append(True))
    backends, _ = choose("0")
    with threads.Threads(gpuanom.Settings(statistics=statistics), backends, 1, print):
        assert loaded == [True] * statistics
    backends, _ = choose("cpu")
    with threads.Threads(gpuanom.Settings(), backends, 1, print):
        assert loaded == [True] * statistics


def test_every_loop_of_the_statistics_of_an_exposure_is_loaded(gpu, monkeypatch, tmp_path):
    """After `loops_ahead` has loaded, an exposure loads no further loop of the statistics."""
    from gpuanom.measuring import loops_ahead
    from gpuanom.native import native

    loops_ahead._load()
    for loop in native.made:
        if loop._compiled is None and loop.module.startswith("gpuanom.statistics"):
            monkeypatch.setattr(loop, "compile", lambda loop=loop: pytest.fail(loop.module))
    nights.night(tmp_path / "in", exposures=1, ccds=2, odd=None)
    night = gpuanom.score(tmp_path / "in", tmp_path / "out", device="0")
    assert not night.failed
