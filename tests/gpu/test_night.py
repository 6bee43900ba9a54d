"""The CUDA backend from end to end, on the test device: measurements and tables are those of the CPU."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import gpuanom
from gpuanom.backends.choice import choose, select
from gpuanom.records import Turn
from tests import device, nights
from tests.commands import run

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300, simulations=200)


def test_exposure_is_measured_as_on_the_cpu(monkeypatch):
    """There are several CCDs in a stack, of two shapes: one with a mask, one turned, one constant, one with NaN."""
    masked = np.zeros(nights.SHAPE, dtype=bool)
    masked[40:80, 60:70] = True
    spoilt = np.array(nights.image(4))
    spoilt[10:20] = np.nan
    ccds = [
        gpuanom.Ccd("a", nights.image(1), saturation=1100.0),
        gpuanom.Ccd("b", nights.image(2), masked),
        gpuanom.Ccd("c", np.full(nights.SHAPE, 5.0, np.float32)),
        gpuanom.Ccd("d", nights.image(3, shape=(130, 100)), turn=Turn.QUARTER),
        gpuanom.Ccd("e", spoilt),
    ]
    expected = gpuanom.measure(ccds, QUICK, "cpu")
    with device.installed():
        backend = select("0")
        monkeypatch.setattr(type(backend), "group_size", lambda *_: 3)
        got = gpuanom.measure(ccds, QUICK, "0")
    for a, b in zip(got.ccds, expected.ccds, strict=True):
        assert (a.name, a.status, a.reason) == (b.name, b.status, b.reason)
        assert np.array_equal(a.counts, b.counts)
        for name in ("n_points", "n_sigma_points", "n_sources", "n_without_orientation", "n_isophote", "n_gradients"):
            assert getattr(a, name) == getattr(b, name)
        assert (a.masked_fraction, a.saturated_fraction) == pytest.approx(
            (b.masked_fraction, b.saturated_fraction), abs=0, nan_ok=True
        )
        # The parity of the protocol: sums of float64 in another order, 1e-12 of their scale.
        assert np.allclose([a.sky, a.sigma], [b.sky, b.sigma], rtol=1e-12, equal_nan=True)
        assert np.allclose(a.cosine, b.cosine, atol=1e-12 * 300)


def test_tables_of_a_night_are_the_cpus_to_the_printed_digits(tmp_path, capfd):
    nights.night(tmp_path / "in", exposures=5, ccds=1, odd=2)
    flags = ["--points", "300", "--sigma-points", "500", "--background-points", "300", "--threads", "1"]
    with device.installed():
        for name in ("cpu", "0"):
            code, _, told = run(capfd, "score", tmp_path / "in", "-o", tmp_path / name, *flags, "--device", name)
            assert code == 0
            assert ("device: gpu 0" in told) == (name == "0")
    assert nights.tables(tmp_path / "cpu") == nights.tables(tmp_path / "0")


def test_auto_takes_the_gpu_that_is_there():
    with device.installed():
        backends, about = choose("auto")
    assert [backend.name for backend in backends] == ["gpu"]
    assert about.startswith("gpu 0")


@pytest.mark.parametrize(
    ("name", "message"),
    [("7", "no such GPU"), ("-1", "unknown device"), ("gpu", "unknown device"), ("", "unknown device")],
)
def test_devices_that_are_not_there(name, message):
    with device.installed(), pytest.raises(gpuanom.DeviceError, match=message):
        select(name)


def test_without_cupy_auto_is_the_cpu_and_a_number_names_the_remedy():
    code = (
        "import sys; sys.modules['cupy'] = None\n"
        "from gpuanom import nvidia\n"
        "nvidia.driver_cuda, nvidia.n_gpus = lambda: 12040, lambda: 1\n"
        "from gpuanom.backends.choice import choose, select\n"
        "print(choose('auto')[0][0].name, '|', choose('auto')[1])\n"
        "try: select('0')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cpu | cpu, because device '0': CuPy")
    assert "DeviceError device '0': CuPy" in done.stdout
    assert "[cuda12]" in done.stdout
