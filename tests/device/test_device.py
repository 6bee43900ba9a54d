"""Correct kernels run correctly in every order and under every sanitizer, and their accesses are counted."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.conftest import every_other
from tests.device import demo, sanitize


@pytest.fixture(scope="module")
def kernels():
    from tests.device import installed

    with installed():
        return demo.module("demo.cu")


@pytest.mark.parametrize("case", demo.DEMOS, ids=lambda case: case.__name__)
def test_demo(case, kernels):
    case(kernels.get_function(case.__name__))


def test_demos_under_all_orders(kernels, monkeypatch):
    from cpudevice import settings

    monkeypatch.setattr(settings, "orders", (0, 1, 2, 3))
    for case in demo.DEMOS:
        case(kernels.get_function(case.__name__))


@pytest.mark.proof  # the sanitizers run every kernel of gpuanom in the usual gate
@pytest.mark.parametrize("flavour", ["address", "thread"])
def test_demos_have_no_finding_under_a_sanitizer(flavour, sanitizer):
    done = sanitizer(flavour, ["-m", "tests.device.demo"], orders="forward")
    assert done.returncode == 0, done.stderr
    assert f"{len(demo.DEMOS)} demos" in done.stdout


def test_loads_and_stores_are_counted(kernels):
    import cupy
    from cpudevice import counting

    n = 1000
    values, out = cupy.asarray(np.ones(n, np.float32)), cupy.empty(n, cupy.float32)
    with counting() as launches:
        kernels.get_function("scale")((8,), (128,), (np.float32(2), values, out, np.int32(n)))
        cupy.cuda.Device().synchronize()
    (launch,) = launches
    assert launch.kernel == "scale"
    assert (launch.loads, launch.load_bytes, launch.stores, launch.store_bytes) == (n, 4 * n, n, 4 * n)
    assert launch.atomics == 0
    # 125 sectors are read and 125 written. An array begins at a multiple of 16 bytes, not of 32, so that the 128 bytes
    # of a warp lie in four sectors or in five.
    assert 250 <= launch.sectors_touched <= 252
    assert launch.sectors_touched <= launch.sectors_requested <= 2 * (4 * 31 + 1) + 2 * 32


def test_sectors_of_a_tiled_read(kernels):
    """A warp reads a row of a tile: its 128 bytes lie in four sectors, or in five where the image begins inside a
    sector.
    """
    import cupy
    from cpudevice import counting

    image = cupy.asarray(np.zeros((2, 64, 64), np.float32))
    out = cupy.empty((2, 2, 2), cupy.float32)
    with counting() as launches:
        kernels.get_function("tile_max")((2, 2, 2), (32, 32), (image, out, np.int32(64), np.int32(64)))
        cupy.cuda.Device().synchronize()
    (launch,) = launches
    assert launch.load_bytes == image.nbytes
    assert launch.store_bytes == out.nbytes
    assert image.nbytes // 32 <= launch.sectors_touched <= launch.sectors_requested <= 5 * image.nbytes // 128 + 16


def test_atomics_are_counted_as_such(kernels):
    import cupy
    from cpudevice import counting

    n = 300
    bin, counts = cupy.asarray(np.arange(n, dtype=np.int32) % 7), cupy.zeros(7, cupy.uint64)
    with counting() as launches:
        kernels.get_function("histogram")((3,), (128,), (bin, counts, np.int32(7), np.int32(n)), shared_mem=28)
        cupy.cuda.Device().synchronize()
    (launch,) = launches
    assert (launch.loads, launch.stores) == (n, 0)
    assert (launch.atomics, launch.atomic_bytes) == (21, 8 * 21)


def test_compiled_once(tmp_path, monkeypatch):
    """A second process or test finds what the first one compiled; another source or flavour is compiled to another
    file.
    """
    from cpudevice import build, settings

    monkeypatch.setattr(settings, "cache", tmp_path)
    monkeypatch.setattr(build, "_runtime", build._runtime.__wrapped__)
    source = 'extern "C" __global__ void nothing() {}'
    first = build.library(source, "a.cu", (), "fast")
    made = first.stat().st_mtime_ns
    assert build.library(source, "a.cu", (), "fast") == first
    assert first.stat().st_mtime_ns == made
    assert build.library(source + " ", "a.cu", (), "fast") != first
    assert build.library(source, "a.cu", ("-DX=1",), "fast") != first
    assert not list(tmp_path.glob("unfinished-*"))


def test_compile_errors_name_file_and_line():
    import cupy

    source = '#line 10 "broken.cu"\nextern "C" __global__ void broken(float* a)\n{\n    a[0] = missing;\n}\n'
    with pytest.raises(cupy.cuda.compiler.CompileException, match=r"broken\.cu\(12\): error: .*missing"):
        cupy.RawModule(code=source).compile()


def test_unknown_options_are_refused():
    import cupy

    with pytest.raises(ValueError, match="use_fast_math"):
        cupy.RawModule(code="", options=("--use_fast_math",))


@pytest.mark.parametrize(
    ("declared", "bound", "parameters"),
    [
        ('extern "C" __global__ void k(const float* a, int n) {}', "", ("const float* a", "int n")),
        ('extern "C" __global__ void __launch_bounds__(2 * (X), 3)\nk(\n  double* a)', "2 * (X), 3", ("double* a",)),
        ('/* __global__ void no(int) */ extern "C" __global__ void k() {} // __global__', "", ()),
        ('extern "C" __launch_bounds__(32) __global__ void k(void)', "", ()),
    ],
)
def test_declarations(declared, bound, parameters):
    from cpudevice.build import declarations

    (found,) = declarations(declared)
    assert (found.name, found.bound, found.parameters, found.is_extern) == ("k", bound, parameters, True)


def test_a_finding_hides_no_launch_that_runs_after_it(monkeypatch):
    """A sanitizer ends the process at a finding: the launches after it run in another process."""
    launches = [Path(f"{name}-1.pickle") for name in ("a", "b", "c", "d", "e")]

    def run(_flavour, arguments, **_settings):
        names = [Path(path).stem.partition("-")[0] for path in arguments[2:]]
        clean = next((i for i, name in enumerate(names) if name in "bde"), len(names))
        # A finding in "e" comes after its line: when the process ends.
        clean += clean < len(names) and names[clean] == "e"
        code = 66 if set(names) & set("bde") else 0
        return subprocess.CompletedProcess([], code, "".join(f"{name} digest\n" for name in names[:clean]), "found")

    monkeypatch.setattr(sanitize, "run", run)
    ends = list(sanitize._replayed("thread", launches))
    assert [launch for launch, _ in ends] == launches
    assert [bool(finding) for _, finding in ends] == [False, True, False, True, True]


def test_every_kernel_keeps_a_launch_and_the_longest_of_those_that_are_short_enough(monkeypatch):
    from cpudevice.recording import MOST_SECONDS, replaced_by
    from cpudevice.settings import settings

    monkeypatch.setattr(settings, "kept", 4)
    kept = []
    for number, part in enumerate((5, 9, 3, 0.2, 4, 0.1, 0.3, 0.4, 0.5, 0.05, 0.6, 2)):
        replaced = replaced_by(part * MOST_SECONDS, kept)
        if replaced is not None:
            kept = sorted(
                [*(entry for entry in kept if entry not in replaced), (part * MOST_SECONDS, Path(str(number)))]
            )
        assert kept
        assert len(kept) <= settings.kept
        if number == 2:
            assert [path.name for _, path in kept] == ["2"]  # the shortest of those that are too long
    assert [path.name for _, path in kept] == ["6", "7", "8", "10"]


def test_of_the_cases_of_a_test_every_nth_is_run():
    def case(name):
        return SimpleNamespace(nodeid=name)

    cases = [*(case(f"a.py::f[{i}]") for i in range(5)), case("a.py::g"), *(case(f"a.py::h[{i}]") for i in range(3))]
    left_out = {item.nodeid for item in every_other(cases, 3)}
    assert [item.nodeid for item in cases if item.nodeid not in left_out] == [
        "a.py::f[0]",
        "a.py::f[3]",
        "a.py::g",
        "a.py::h[0]",
    ]
    assert every_other(cases, 1) == []
