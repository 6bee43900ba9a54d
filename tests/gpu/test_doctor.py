"""`gpuanom doctor` on all sorts of machines: its output and exit codes, and that it notices a wrong kernel."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpuanom import installing
from gpuanom.backends.choice import select
from gpuanom.backends.protocol import Backend
from gpuanom.cli import main
from gpuanom.cli.doctor import EXTRAS, FOR_GPUS, extra_of
from gpuanom.doctor import selftest
from gpuanom.doctor.findings import StepFinding
from tests import device
from tests.gpu.machine import CudaError, Machine, driver, raising

ROOT = Path(__file__).parents[2]


@pytest.fixture
def doctor(capfd):
    """Run the command; the exit code and the output. Standard error must be empty, and there must be no traceback."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["doctor", *arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in out
        assert err == ""
        return end.value.code, out

    return run


@pytest.fixture
def stand_in():
    """CuPy: the stand-in, or the real CuPy on a machine with a card."""
    with device.installed():
        import cupy

        yield cupy


@pytest.fixture
def machine(stand_in, monkeypatch):
    """A machine that the test describes; kernels are compiled and run by the CuPy that is really there."""
    return Machine(monkeypatch)


def line(out, name):
    """The only line of the output that contains the name."""
    found = [row for row in out.splitlines() if name in row]
    assert len(found) == 1, found
    return found[0]


# Machines without a GPU


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    for name in [name for name in list(sys.modules) if name.startswith("gpuanom.backends.gpu")]:
        monkeypatch.delitem(sys.modules, name)
    if hasattr(sys.modules["gpuanom"], "gpu"):
        monkeypatch.delattr(sys.modules["gpuanom"], "gpu")


def test_without_a_driver_nothing_is_said_of_cupy(doctor, no_cupy, monkeypatch):
    driver(monkeypatch)
    code, out = doctor()
    assert code == 0
    assert "cupy" not in out.lower()
    assert "cuda1" not in out
    assert line(out, "NVIDIA driver").startswith("-")
    assert "there is no NVIDIA driver (install it" in line(out, "NVIDIA driver")
    assert out.splitlines()[-1] == "all is well on the CPU; no GPU will be used"
    code, out = doctor("--device", "0")
    assert code == 1
    assert out.splitlines()[-1] == "GPU 0 cannot be used: see above"


@pytest.mark.parametrize(("cuda", "number"), [(12040, 12), (13000, 13)])
def test_without_cupy_beside_a_driver(doctor, no_cupy, monkeypatch, cuda, number):
    driver(monkeypatch, cuda=cuda, gpus=1, version="580.65.06")
    code, out = doctor()
    assert code == 0
    assert line(out, "CuPy").startswith("-")
    assert f"CuPy is not installed ({installing.install(f'cuda{number}')})" in " ".join(out.split())
    if "kvikio" not in out.partition("no kvikio")[0]:
        assert installing.install(f"direct{number}") in " ".join(out.split())


def test_with_a_cupy_that_cannot_be_loaded(doctor, monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libc is too old')")
    monkeypatch.syspath_prepend(tmp_path)
    # Beside a real card, other tests have loaded the real one.
    for name in list(sys.modules):
        if name.partition(".")[0] == "cupy" or name.startswith("gpuanom.backends.gpu"):
            monkeypatch.delitem(sys.modules, name)
    code, out = doctor()
    assert code == 1
    assert line(out, "CuPy").startswith("✗")
    assert "libc is too old (uninstall all cupy packages, then" in line(out, "CuPy")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import pyarrow.lib", "No module named 'pyarrow.lib'"),
        ("raise ValueError('numpy.dtype size changed')", "numpy.dtype size changed"),
        ("import os; os.kill(os.getpid(), 11)", "is ended by signal 11"),
    ],
)
def test_an_installed_part_that_cannot_be_loaded(doctor, no_cupy, monkeypatch, tmp_path, body, said):
    pytest.importorskip("pyarrow")
    (tmp_path / "pyarrow").mkdir()
    (tmp_path / "pyarrow" / "__init__.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    code, out = doctor("--device", "cpu")
    assert code == 1
    assert line(out, "parquet").startswith("✗")
    assert said in " ".join(out.split())
    assert "install --force-reinstall pyarrow" in " ".join(out.split())
    assert out.splitlines()[-1].startswith("an optional part does not work: see above")


def test_without_a_driver(doctor, machine):
    machine.without_driver()
    code, out = doctor()
    assert code == 0
    assert line(out, "NVIDIA driver").startswith("-")
    assert "install it" in line(out, "NVIDIA driver")
    assert doctor("--device", "0")[0] == 1
    # A missing compiler does not matter either.
    machine.answers(compiler=RuntimeError("libnvrtc.so.12"))
    code, out = doctor()
    assert code == 0
    assert line(out, "NVRTC").startswith("✗")


def test_with_a_driver_that_finds_no_gpu(doctor, machine):
    machine.answers(n_devices=0)
    code, out = doctor()
    assert code == 0
    assert "CUDA 12.9: the NVIDIA driver finds no GPU" in line(out, "NVIDIA driver")


# Machines with a GPU that does not work


def test_with_a_driver_for_an_older_cuda(doctor, machine):
    machine.answers(n_devices=CudaError("cudaErrorInsufficientDriver: driver version", 35))
    machine.answers(driver_supports=12020, built_for=13000)
    code, out = doctor()
    assert code == 1
    assert line(out, "NVIDIA driver").startswith("✗")
    assert "CuPy is built for CUDA 13.0" in line(out, "NVIDIA driver")
    assert out.splitlines()[-1].startswith("an installed part does not work")


def test_with_a_broken_driver(doctor, machine):
    machine.answers(n_devices=CudaError("cudaErrorUnknown: unknown", 999))
    code, out = doctor()
    assert code == 1
    assert "cudaErrorUnknown: unknown" in line(out, "NVIDIA driver")


def test_with_an_old_card(doctor, machine):
    machine.has_card(major=6, minor=1)
    code, out = doctor()
    assert code == 0
    assert "compute capability 6.1 is below 7.0 (use --device cpu)" in " ".join(out.split())
    assert "kernels on GPU" not in out
    assert doctor("--device", "0")[0] == 1


def test_with_a_card_that_does_not_answer(doctor, machine):
    machine.answers(memory=CudaError("cudaErrorDevicesUnavailable: busy", 46))
    code, out = doctor()
    assert code == 1
    assert "reserved for another process" in " ".join(out.split())


def test_without_a_compiler(doctor, machine):
    machine.answers(compiler=RuntimeError("CuPy failed to load libnvrtc.so.12"))
    code, out = doctor("--json")
    assert code == 1
    found = json.loads(out)["software"]
    (compiler,) = [finding for finding in found if finding["name"] == "NVRTC"]
    assert (compiler["state"], compiler["remedy"]) == ("broken", installing.install("cuda12"))


def test_with_a_compiler_that_leaves_out_cards_which_are_not_there(doctor, machine):
    """Seen on an H200 with CUDA 13: exit code 1, and the advice to uninstall the right CuPy."""
    machine.of_cuda_13()
    code, out = doctor()
    assert (code, out.splitlines()[-1]) == (0, "all is well: gpuanom score --device 0 runs on GPU 0")
    assert "✗" not in out
    assert "uninstall" not in out
    assert line(out, "NVRTC").split() == ["✓", "NVRTC", "13.0"]


@pytest.mark.parametrize("where", ["file/below", "read-only"])
def test_with_a_cache_that_cannot_be_written(doctor, stand_in, monkeypatch, tmp_path, where):
    from gpuanom.doctor import diagnosis

    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / where))
    if where == "read-only":  # root may write everywhere, so the refusal is simulated
        monkeypatch.setattr(diagnosis.tempfile, "TemporaryFile", raising(PermissionError(13, "Permission denied")))
    code, out = doctor()
    assert code == 1
    assert line(out, "kernel cache").startswith("✗")
    assert "CUPY_CACHE_DIR" in " ".join(out.split())


def test_the_cache_is_where_cupy_has_it(stand_in, monkeypatch, tmp_path):
    from gpuanom.doctor import diagnosis

    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    assert diagnosis.cache_folder().text == f"{tmp_path}, writable"
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "not" / "yet"))
    assert diagnosis.cache_folder().text == f"{tmp_path / 'not' / 'yet'}, will be made"
    assert not (tmp_path / "not").exists()
    monkeypatch.delenv("CUPY_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert diagnosis.cache_folder().text.startswith(f"{tmp_path}/.cupy/kernel_cache")
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    assert diagnosis.cache_folder().text.startswith("in memory")


def test_a_kernel_that_does_not_compile(doctor, stand_in, monkeypatch):
    from gpuanom.backends.gpu import kernel
    from gpuanom.errors import DeviceError

    compiled = kernel._compiled

    def failing(step, number):
        if step == "stamps":
            raise DeviceError("kernels/stamps.cu, line 7: identifier is undefined: oops")
        return compiled(step, number)

    monkeypatch.setattr(kernel, "_compiled", failing)
    code, out = doctor()
    assert code == 1
    rows = [row for row in out.splitlines() if "line 7: identifier is undefined" in row]
    assert len(rows) == len(kernel.signatures("stamps")) + 1  # the rows of its kernels, and the row of its self-test
    assert all(row.startswith("✗") for row in rows)
    assert out.splitlines()[-1].startswith("an installed part does not work")


def test_a_kernel_that_computes_something_else(doctor, stand_in, monkeypatch):
    """With one sign of the source changed this step fails, no other step does, and the command fails."""
    from gpuanom.backends.gpu import kernel

    source = kernel.source
    wrong = source("divergence").replace("log(", "-log(")
    assert wrong != source("divergence")
    monkeypatch.setattr(kernel, "source", lambda step: wrong if step == "divergence" else source(step))
    monkeypatch.setattr(kernel, "_modules", {})
    code, out = doctor("--device", "0")
    assert code == 1
    failed = [row for row in out.splitlines() if row.startswith("✗")]
    assert len(failed) == 2
    assert "fails its tests" in failed[0]
    assert "divergence" in failed[1]


def test_a_device_that_fails_in_the_middle(doctor, stand_in, monkeypatch):
    from gpuanom.backends.gpu import gradients

    error = CudaError("cudaErrorIllegalAddress: an illegal memory access", 700)
    monkeypatch.setattr(gradients, "gradients", raising(error))
    code, out = doctor()
    assert code == 1
    assert "cudaErrorIllegalAddress" in " ".join(out.split())
    (card,) = json.loads(doctor("--json")[1], parse_constant=pytest.fail)["devices"]
    assert not card["works"]
    assert [step["difference"] for step in card["steps"] if not step["passed"]] == [None]


def test_what_nobody_foresaw_is_a_line(doctor, machine):
    machine.answers(built_for=RuntimeError("something odd"))
    code, out = doctor()
    assert code == 1
    assert line(out, "something odd").startswith("✗  CuPy")


# Machines where everything works


def test_on_a_gpu_that_works(doctor, stand_in):
    from gpuanom.backends.gpu import kernel

    code, out = doctor()
    assert code == 0
    assert "✗" not in out
    for step in kernel.steps():
        for name in kernel.signatures(step):
            assert re.search(rf"^✓  {name} +{step}\.cu ", out, re.MULTILINE)
    assert out.splitlines()[-1] == "all is well: gpuanom score --device 0 runs on GPU 0"
    assert doctor("--device", "0")[0] == doctor("--device", "auto")[0] == 0


def test_json(doctor, stand_in):
    code, out = doctor("--json", "--device", "0")
    found = json.loads(out)
    assert (code, found["exit_code"]) == (0, 0)
    (card,) = found["devices"]
    assert device.is_off() or card["name"] == "CUDA on a CPU (test device)"
    assert card["memory"] >= card["free"] > 0
    assert {step["step"] for step in card["steps"]} == set(selftest._STEPS)
    assert all(step["passed"] and step["difference"] <= step["allowed"] for step in card["steps"])
    assert card["works"]
    assert {finding["name"] for finding in found["software"]} == {"CuPy", "NVIDIA driver", "NVRTC", "kernel cache"}


def test_several_gpus(doctor, stand_in, monkeypatch):
    from cpudevice import settings

    monkeypatch.setattr(settings, "devices", 2)
    assert "self-test of GPU 1" in doctor()[1]
    code, out = doctor("--device", "1,5")
    assert code == 1
    assert "self-test of GPU 0" not in out
    assert "no such GPU, of 2 counted from 0" in out
    assert out.splitlines()[-1] == "GPU 5 cannot be used: see above"


def test_the_cpu_alone(doctor):
    code, out = doctor("--device", "cpu")
    assert code == 0
    assert "CuPy" not in out


def test_wrong_usage(capfd):
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--device", "first"])
    assert end.value.code == 2
    assert "is no GPU's number" in capfd.readouterr().err


def test_a_terminal_without_unicode():
    device.require_compiler()
    env = {**device.environment(orders="forward"), "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-m", "gpuanom", "doctor"], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^ok +NVRTC", done.stdout, re.MULTILINE)


def test_no_output_of_a_pipe_that_closed():
    command = f"{sys.executable} -m gpuanom doctor --device cpu | head -n 1"
    done = subprocess.run(["bash", "-c", command], env=dict(os.environ), capture_output=True, text=True)
    assert done.stderr == ""


def test_extras_are_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {"cuda12", "cuda13", "test", "lint", "docs", "profiling"}
    for name, (package, _) in EXTRAS.items():
        of = {"cuda12", "cuda13"} if name == "nvtx" else {extra_of(name, 1000 * cuda) for cuda in (12, 13)}
        assert all(any(re.match(rf"{package}\b", wanted) for wanted in project[extra]) for extra in of)
        named |= of
    assert set(project) == named
    assert set(FOR_GPUS) < set(EXTRAS)


# The self-test itself


def test_every_step_is_tested():
    other = {"name", "takes_encoded", "working", "sharing", "lanes", "group_size", "too_many", "room"}
    other |= {"device_name", "share_memory", "limit_memory"}
    other |= {"to_device", "to_host"}
    assert set(selftest._STEPS) == {name for name in vars(Backend) if not name.startswith("_")} - other


def test_the_cpu_is_its_own_twin_on_a_sky_worth_testing():
    cpu = select("cpu")
    assert all(step.passed for step in selftest.check(cpu, cpu))
    sky = selftest._Sky(cpu, cpu)
    assert sky.background.usable.tolist() == [True, True, False]
    assert sky.sources.n_sources.min() == 0
    assert (sky.sources.n_sources[:2] > 3).all()
    assert (sky.sources.n_bad[:2] > 0).all()
    assert (sky.sources.n_saturated[:2] > 0).any()
    assert (sky.gradients.n_points[:2] == selftest.SETTINGS.gradient_points).all()


class Wrong:
    """The steps of the CPU, with the result of one step changed."""

    def __init__(self, step, change):
        self._cpu, self._step, self._change = select("cpu"), step, change

    def __getattr__(self, name):
        step = getattr(self._cpu, name)
        return step if name != self._step else lambda *args: self._change(step(*args))


def larger(name, by):
    return lambda record: replace(record, **{name: getattr(record, name) + by})


@pytest.mark.parametrize(
    ("step", "change", "what"),
    [
        ("prepare", lambda s: replace(s, bad=None), "pixels, masks"),
        ("background", larger("coefficients", 1e-8), "polynomial"),
        ("background", larger("sigma", 1e-8), "sigma"),
        ("background", larger("n_points", 1), "points, CCDs"),
        ("sources", larger("x", 1), "positions, counts"),
        ("sources", larger("moments", 1e-2), "moments"),
        ("sources", lambda s: replace(s, isophote_moments=s.isophote_moments * np.nan), "isophote moments"),
        ("gradients", larger("flat_dy", 1e-8), "gradients"),
        ("gradients", larger("n_points", -1), "points"),
        ("patterns", lambda p: (larger("map_sum", 1)(p[0]), *p[1:]), "sums, powers"),
        ("patterns", lambda p: (p[0], larger("row_sum", 1)(p[1]), p[2]), "sums, powers"),
        ("patterns", lambda p: (*p[:2], larger("bin_sum", 1)(p[2])), "sums, powers"),
        ("profiles", larger("row_jitter", 1e-15), "jitter, steps"),
        ("profiles", larger("column_steps", np.float32(1e-6)), "jitter, steps"),
        ("lines", lambda a: a * (1.0 + 1e-15), "heights, ends"),
        ("stamps", lambda a: a[:-1], "pixels"),
        ("shapes", larger("width", 1e-12), "moments, widths"),
        ("shapes", lambda s: replace(s, spoilt=1 - s.spoilt), "moments, widths"),
        ("repeats", larger("n_maxima", 1), "pairs"),
        ("repeats", lambda r: replace(r, pairs=r.pairs.T.reshape(r.pairs.shape)), "pairs"),
        ("orientation", lambda a: a + 1e-12, "angles"),
        ("gradient_orientation", np.abs, "angles"),
        ("histogram", larger("counts", 1), "counts"),
        ("histogram", larger("sine", 1e-6), "sums"),
        ("divergence", lambda a: a + 1e-12, "KL"),
    ],
)
def test_a_wrong_result_is_noticed(step, change, what):
    found = selftest.check(Wrong(step, change), select("cpu"))
    failed = [(f.step, f.what) for f in found if not f.passed]
    assert failed[0] == (step, what)
    # Every step needs the stack; stamps are cut and shapes are measured at the sources that the backend found, and
    # profiles and lines are found in the sums that the backend made.
    of_sources = {("stamps", "pixels"), ("shapes", "moments, widths")}
    of_patterns = {("profiles", "jitter, steps"), ("lines", "heights, ends")}
    assert step == "prepare" or set(failed[1:]) <= {"sources": of_sources, "patterns": of_patterns}.get(step, set())


def test_not_a_number_is_no_agreement():
    assert not StepFinding("step", "what", 1.0, "", float("nan")).passed
