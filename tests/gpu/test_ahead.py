"""A GPU that is prepared in a thread: whoever chooses a device waits for the thread, and hears what is wrong."""

from __future__ import annotations

import threading

import pytest

from gpuanom.backends import ahead
from gpuanom.backends.choice import choose
from gpuanom.errors import DeviceError


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
    from gpuanom.fits import byteorder, descriptors

    loaded = []
    monkeypatch.setattr(descriptors.read_places, "load", lambda: loaded.append("places"))
    monkeypatch.setattr(byteorder.total, "load", lambda: loaded.append("total"))
    loops._load()
    assert loaded == ["places", "total"]
    monkeypatch.setattr(byteorder.total, "load", lambda: 1 / 0)
    loops._load()  # the first use of the loop would say what is wrong
