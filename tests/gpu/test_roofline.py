"""The memory requests of the kernels: profiling/roofline.py keeps its limits and agrees with the test device."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from tests import device

ROOFLINE = Path(__file__).parents[2] / "profiling" / "roofline.py"


def table():
    spec = importlib.util.spec_from_file_location("roofline", ROOFLINE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["roofline"] = module  # the dataclasses of the module look the module up
    spec.loader.exec_module(module)
    return module


def test_a_decam_exposure_keeps_within_the_bars():
    roofline = table()
    case = roofline.Case()
    assert (case.n_ccd, case.ny, case.nx, case.candidates) == (61, 2046, 4094, 800)
    stack = 4 * case.pixels / roofline.SECTOR
    costs = roofline.costs(case).values()
    assert sum(cost.pixels for cost in costs) <= roofline.BAR * stack
    assert sum(cost.other for cost in costs) <= roofline.OTHER_BAR * stack


def test_the_table_agrees_with_the_counters_of_the_test_device():
    device.require_compiler()
    if device.is_off():
        device.environment(flavour="counted")  # this call skips the test
    done = subprocess.run([sys.executable, str(ROOFLINE), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    # All kernels except those that fill arrays, which belong to CuPy.
    assert counted == [name for name in table().costs(table().Case()) if "(" not in name]


def test_the_statistics_read_the_image_once():
    device.require_compiler()
    if device.is_off():
        device.environment(flavour="counted")  # this call skips the test
    script = ROOFLINE.parent / "roofline_statistics.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    loaded = {name: float(stacks) for name, stacks, *_ in rows}
    with device.installed():
        from gpuanom.backends.gpu import kernel
    expected = {
        name
        for step in ("residual", "patterns", "spectrum", "profiles", "contrasts", "lines", "shapes", "repeats")
        for name in kernel.signatures(step)
    }
    assert set(loaded) == {*expected, "all"}
    # The map of bright places is read beside the image: a hundredth.
    assert loaded["residual_steps"] <= 1.02
    # Residuals of 16 bits are half of the image; pixels near the middle are read twice, for crosstalk.
    assert loaded["patterns_add"] <= 0.75
