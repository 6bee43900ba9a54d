"""Every kernel is compiled by the real NVRTC for every generation of cards, which needs no card.

The compiler runs in a separate process, so that the real CuPy and the stand-in of tests/device never meet. NVRTC is
called through CuPy's binding, with the options that CuPy adds by itself.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests import device

PYTHON = os.environ.get("GPUANOM_CUPY_PYTHON", sys.executable)
REMEDY = "needs the real CuPy and NVRTC: pip install cupy-cuda12x nvidia-cuda-nvrtc-cu12"

# V100; T4; A100; A40 and RTX 30; L40 and RTX 40; H100 and H200; B200; RTX 50.
ARCHITECTURES = (70, 75, 80, 86, 89, 90, 100, 120)
DROPPED_BY_CUDA_13 = {70}
OLDEST_AND_NEWEST = (70, 90, 120)


@dataclass(frozen=True)
class Limit:
    """The resources that a kernel may use: a change beyond these costs occupancy, and should be noticed and chosen."""

    threads: int
    registers: int
    shared: int = 0  # static shared memory, in bytes

    @property
    def blocks(self) -> int:
        """Blocks for which a multiprocessor has registers; each warp gets its registers in units of 256."""
        per_warp = -(-32 * self.registers // 256) * 256
        return 65536 // (per_warp * self.threads // 32)


# The largest use on any architecture, rounded up to a multiple of the 8 in which registers are given out.
LIMITS = {
    "background_fit": Limit(512, 128, 2096),  # one block for each CCD: occupancy does not limit this kernel
    "checksum_add": Limit(256, 48, 256),
    "checksum_compare": Limit(256, 32),
    "divergence": Limit(256, 56),
    "gradients_first": Limit(256, 64, 256),  # 32 warps, each with 10 memory requests under way
    "gradients_rest": Limit(512, 128, 64),  # one block for each CCD
    "histogram_count": Limit(256, 48),
    "histogram_finish": Limit(256, 48),
    "moments_check": Limit(256, 128, 36316),
    "orientation_gradients": Limit(256, 32),
    "orientation_moments": Limit(256, 40),
    "patterns_add": Limit(128, 128, 320),  # 32 pixels of a thread are under way
    "spectrum_add": Limit(256, 128, 48704),  # the transforms of a thread stay in its registers
    "spectrum_fold": Limit(96, 32),
    "residual_mask": Limit(256, 40),
    "residual_steps": Limit(128, 80, 576),
    "lines_choose": Limit(256, 80, 312),
    "contrasts_find": Limit(256, 80, 25216),
    "lines_follow": Limit(256, 64, 140),
    "contrasts_level": Limit(256, 64, 2112),
    "points_draw": Limit(256, 48, 8192),
    "profiles_jitter": Limit(512, 64, 5336),  # one block for each profile
    "profiles_steps": Limit(256, 64),
    "prepare_pixels": Limit(256, 24),
    "rice": Limit(128, 64, 19456),
    "repeats_list": Limit(1024, 64, 8332),
    "repeats_maxima": Limit(128, 72, 3032),
    "repeats_pairs": Limit(256, 32, 8192),
    "shapes_choose": Limit(1024, 56, 12480),
    "shapes_measure": Limit(256, 80, 8192),
    "shapes_width": Limit(128, 48, 2100),
    "sources_list": Limit(1024, 48, 128),
    "sources_tiles": Limit(256, 72, 25440),  # 64 registers on sm_80 and sm_90
    "stamps_cut": Limit(256, 64, 1024),
}

COMPILER = """
import json, sys
try:
    from cupy.cuda import nvrtc
    version = nvrtc.getVersion()
except Exception as error:
    print(json.dumps({"missing": f"{type(error).__name__}: {error}"}))
    sys.exit()
known = nvrtc.getSupportedArchs()
print(json.dumps({"version": version}), flush=True)
for line in sys.stdin:
    job, logs, sizes = json.loads(line), {}, {}
    for architecture in job["architectures"]:
        if architecture not in known:
            continue
        program = nvrtc.createProgram(job["source"], job["name"], [], [])
        try:
            nvrtc.compileProgram(program, [*job["options"], f"--gpu-architecture=sm_{architecture}"])
            sizes[architecture] = len(nvrtc.getCUBIN(program))
            logs[architecture] = nvrtc.getProgramLog(program)
        except nvrtc.NVRTCError as error:
            logs[architecture] = f"error: {error}\\n{nvrtc.getProgramLog(program)}"
    print(json.dumps({"logs": logs, "sizes": sizes}), flush=True)
"""


def loader():
    """gpuanom.backends.gpu.kernel, with the CuPy of this process: it is asked for sources only."""
    # The stand-in is removed at once, since the device "auto" must be the CPU in other tests.
    with device.installed():
        from gpuanom.backends.gpu import kernel
    return kernel


@pytest.fixture(scope="module")
def compiler():
    """A process with the real CuPy, which takes a second to import and then compiles one step after the other."""
    # With -I, neither PYTHONPATH nor the working directory can offer the stand-in.
    with subprocess.Popen(
        [PYTHON, "-I", "-c", COMPILER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        said = answer(process)
        if "missing" in said:
            pytest.skip(f"{REMEDY} ({said['missing']})")
        process.version = tuple(said["version"])
        yield process
        process.stdin.close()


def answer(process):
    """The next line of the compiler's process."""
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return json.loads(line)


def compiled(compiler, step, architectures):
    """The log of a step, and the size of the code, for each of the architectures that the compiler knows."""
    kernel = loader()
    job = {
        "source": kernel.source(step),
        "name": f"{step}.cu",
        "options": [*kernel.OPTIONS, "-ftz=true", "--ptxas-options=-v"],
        "architectures": architectures,
    }
    compiler.stdin.write(json.dumps(job) + "\n")
    compiler.stdin.flush()
    said = answer(compiler)
    return {int(k): v for k, v in said["logs"].items()}, said["sizes"]


USED = re.compile(r"Used (?P<registers>\d+) registers")
SHARED = re.compile(r"(?P<bytes>\d+) bytes smem")
SPILLS = re.compile(r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill")


def usage(log):
    """The registers, static shared bytes and spilled bytes of each kernel in a log."""
    found, name, spilled = {}, "", 0
    for line in log.splitlines():
        if entry := re.search(r"Compiling entry function '(\w+)'", line):
            name, spilled = entry[1], 0
        elif spills := SPILLS.search(line):
            spilled += int(spills["stores"]) + int(spills["loads"])
        if used := USED.search(line):
            shared = SHARED.search(line)
            found[name] = (int(used["registers"]), int(shared["bytes"]) if shared else 0, spilled)
    return found


def pytest_generate_tests(metafunc):
    if "step" in metafunc.fixturenames:
        metafunc.parametrize("step", loader().steps())


@pytest.mark.parametrize(
    "architectures", [OLDEST_AND_NEWEST, pytest.param(ARCHITECTURES, marks=pytest.mark.proof)], ids=("some", "all")
)
def test_compiles_for_every_architecture_within_its_limits(compiler, step, architectures):
    logs, sizes = compiled(compiler, step, architectures)
    missing = set(architectures) - set(logs)
    assert not missing or (compiler.version >= (13, 0) and missing == DROPPED_BY_CUDA_13)
    for architecture, log in logs.items():
        assert "error" not in log, f"sm_{architecture}: {log}"
        assert sizes[str(architecture)] > 0
        warnings = [line for line in log.splitlines() if "warning" in line and "Architectures prior to" not in line]
        assert not warnings, f"sm_{architecture}: {warnings}"
    names = set(loader().signatures(step))
    over = []
    for architecture, log in logs.items():
        found = usage(log)
        assert set(found) == names
        for name, (registers, shared, spilled) in found.items():
            limit = LIMITS[name]
            if spilled or registers > limit.registers or shared > limit.shared:
                over.append(f"{name}, sm_{architecture}: {registers} registers, {shared} shared, {spilled} spilled")
    assert not over, "\n".join(over)


def test_every_kernel_has_limits_that_a_block_fits():
    names = {name for step in loader().steps() for name in loader().signatures(step)}
    assert names == set(LIMITS)
    for name, limit in LIMITS.items():
        assert limit.blocks >= 1, name
        # Compute kernels keep at least a quarter of the 64 warps of a multiprocessor busy; kernels with one block for
        # each CCD need not.
        if name not in ("background_fit", "gradients_rest"):
            assert limit.blocks * limit.threads >= 512, name


def test_the_log_of_a_kernel_that_spills_is_read():
    log = """ptxas info    : Compiling entry function 'greedy' for 'sm_80'
ptxas info    : Function properties for greedy
ptxas         .     40 bytes stack frame, 94 bytes spill stores, 156 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 40 bytes cumulative stack size, 464 bytes smem, 8 bytes cmem[2]
ptxas info    : Compiling entry function 'modest' for 'sm_80'
ptxas info    : Function properties for modest
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 25 registers, used 0 barriers, 384 bytes cmem[0]
"""
    assert usage(log) == {"greedy": (40, 464, 250), "modest": (25, 0, 0)}
