"""The kernel benchmark runs to its end, keeps no result of a test device, and says so where there is no GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from tests import device, nights

PROFILING = Path(__file__).parents[2] / "profiling"
SMALL = ("--ccds", "2", "--shape", "130", "190", "--repeats", "1", "--points", "200")


def run(env, *arguments):
    return run_script(env, str(PROFILING / "bench_kernels.py"), *arguments)


def run_script(env, script, *arguments):
    path = os.pathsep.join(filter(None, [env.get("PYTHONPATH"), str(PROFILING.parent)]))
    return subprocess.run(
        [sys.executable, script, *arguments], env={**env, "PYTHONPATH": path}, capture_output=True, text=True
    )


def test_every_kernel_of_an_exposure_is_timed():
    device.require_compiler()
    results = sorted((PROFILING / "results").iterdir())
    done = run(device.environment(orders="forward"), *SMALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "A test device, which is a CPU: its times mean nothing." in done.stdout
    assert sorted((PROFILING / "results").iterdir()) == results
    rows = {row.split("|")[1].strip(): row for row in done.stdout.splitlines() if row.startswith("| ")}
    with device.installed():
        from gpuanom.backends.gpu import kernel
    files = {"prepare", "rice", "checksum"}  # these kernels work on the bytes of files
    names = {name for step in kernel.steps() if step not in files for name in kernel.signatures(step)}
    assert names <= set(rows)
    for name in ("background_fit", "sources_tiles", "moments_check", "gradients_first"):
        assert re.fullmatch(r"\| \w+ \| 1 \|( [\d.]+ \|){5}", rows[name])


@pytest.mark.proof
def test_one_exposure_for_a_profiler():
    device.require_compiler()
    done = run(device.environment(orders="forward"), *SMALL, "--once")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_a_gpu():
    device.require_compiler()
    done = run(device.environment(count="0"), *SMALL)
    assert done.returncode == 2
    assert re.fullmatch(r"no benchmark: no GPU can be used: .*\)\n", done.stderr)


@pytest.mark.parametrize("script", ["nsys.sh", "ncu.sh"])
def test_profilers_that_are_not_installed(script, tmp_path):
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "dirname"):
        (tmp_path / "bin" / tool).symlink_to(f"/usr/bin/{tool}")
    done = subprocess.run(
        ["/usr/bin/env", "bash", str(PROFILING / "nsight" / script)],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"{script}: {script.removesuffix('.sh')} is not installed")


@pytest.mark.proof
def test_a_night_beside_its_floor(tmp_path):
    """All figures are there; on the test device they mean nothing."""
    device.require_compiler()
    for number in range(1, 4):
        primary = fits.PrimaryHDU()
        primary.header.update(INSTRUME="BENCH", EXPNUM=number, FILTER="r", OBSTYPE="object")
        planes = [
            fits.CompImageHDU(nights.image(10 * number + i), name=f"N{i}", compression_type="RICE_1") for i in (1, 2)
        ]
        fits.HDUList([primary, *planes]).writeto(tmp_path / f"e{number}.fits.fz", checksum="datasum")
    arguments = [str(PROFILING / "bench_night.py"), "--night", str(tmp_path), "--exposures", "3"]
    done = run_script(device.environment(orders="forward"), *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [row.split("|")[1:3] for row in done.stdout.splitlines() if row.startswith("| ")][1:]
    assert len(rows) == 8
    assert all(float(milliseconds) > 0 for _, milliseconds in rows[1:])
