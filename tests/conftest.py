"""Fixtures for every test: a backend, the real images, and Hypothesis with fixed examples."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import gpuanom
from gpuanom.backends.choice import choose, select
from gpuanom.errors import DeviceError
from tests import device

NEEDS_A_CARD = "needs a real GPU: pytest --require-gpu"

# Derandomised: every machine tries the same examples, so that no failure is a matter of luck. There is no deadline,
# since a shared machine stalls. There are few examples, since each is a whole image.
CHECKS = [
    HealthCheck.too_slow,
    HealthCheck.function_scoped_fixture,  # a backend keeps nothing from one example that could change the next
]
settings.register_profile("gpuanom", deadline=None, derandomize=True, max_examples=25, suppress_health_check=CHECKS)
# GPUANOM_HYPOTHESIS=search looks for new failures by hand, for as long as that takes ...
settings.register_profile("search", deadline=None, max_examples=1000, suppress_health_check=CHECKS, print_blob=True)
# ... and the sanitizers need only a few examples, since they do not look at results.
settings.register_profile("few", parent=settings.get_profile("gpuanom"), max_examples=3)
settings.load_profile(os.environ.get("GPUANOM_HYPOTHESIS", "gpuanom"))


def pytest_addoption(parser):
    parser.addoption(
        "--require-gpu",
        action="store_true",
        help="run the CUDA backend on a real card, with the real CuPy, in place of the test device; fail without one",
    )
    parser.addoption(
        "--proofs",
        action="store_true",
        help="run the slow proofs too, of which the usual run takes a part: more cases of the same tests",
    )
    parser.addoption(
        "--every", type=int, default=1, metavar="N", help="of the cases of each test, run the first one and every Nth"
    )


def compile_loops(config):
    """Compile all loops before the first test, unless these sources are compiled already: commands report their
    compiling.
    """
    package = Path(gpuanom.__file__).parent
    # Without CuPy, the modules of the GPU backend cannot be imported.
    folders = set() if importlib.util.find_spec("cupy") else {"gpu"}
    sources = [
        path
        for path in package.rglob("*.py")
        if path.parent.name not in folders and "from gpuanom.native import" in path.read_text(encoding="utf-8")
    ]
    stamp = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()
    cache = getattr(config, "cache", None)
    if hasattr(config, "workerinput") or cache is None or cache.get("gpuanom/loops", "") == stamp:
        return
    modules = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in sorted(sources)]
    # As a command does on two cores: one process begins with the first loop, the other one with the last, and neither
    # waits for what the other one compiles.
    program = (
        f"import importlib\nfor name in {modules}: importlib.import_module(name)\n"
        "from gpuanom.native import native\n"
        "for loop in native.made[::STEP]: loop.compile_ahead()\n"
    )
    path = os.pathsep.join([str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    compilers = [
        subprocess.Popen([sys.executable, "-c", program.replace("STEP", step)], env={**os.environ, "PYTHONPATH": path})
        for step in ("1", "-1")
    ]
    failed = [compiler.wait() for compiler in compilers]
    assert not any(failed), "a loop does not compile"
    cache.set("gpuanom/loops", stamp)


def module_of(path):
    """The name of a test module, as pytest names it, and the folder in which this name is looked for."""
    top = path.parent
    while (top / "__init__.py").exists():
        top = top.parent
    return ".".join(path.relative_to(top).with_suffix("").parts), top


def import_in_turn(config):
    """Import the test modules, each process from another place of the list on.

    In a clean clone a module and the packages that it needs are compiled by the process that imports them first.
    Processes that all begin at one end compile everything at the same time, each for itself; like this each finds what
    the others have compiled.
    """
    modules = [module_of(path) for path in sorted(Path(__file__).parent.glob("**/test_*.py"))]
    worker = config.workerinput
    start = len(modules) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    for name, top in [*modules[start:], *modules[:start]]:
        if str(top) not in sys.path:
            sys.path.insert(0, str(top))
        # Collecting says what is wrong with a module that cannot be imported.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(name)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session):
    config = session.config
    if hasattr(config, "workerinput") and config.args == config.getini("testpaths"):
        import_in_turn(config)


def pytest_configure(config):
    # A job that a shell runs in the background ignores SIGINT, and so would the commands that the tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    compile_loops(config)
    config.addinivalue_line("markers", "card: only a real GPU can show it; skipped without --require-gpu")
    config.addinivalue_line(
        "markers", "proof(**parameters): a slow case more, left out without --proofs; where those parameters are given"
    )
    if not config.getoption("--require-gpu"):
        return
    # This runs in each worker of pytest-xdist too, since each worker is a process.
    try:
        _, config.gpu = choose("0")
        device.switch_off()
    except (DeviceError, RuntimeError) as error:
        raise pytest.UsageError(f"--require-gpu: {error}") from None


def pytest_xdist_auto_num_workers():
    """One process more than there are processors: many tests wait for another process, a browser or a clock."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_report_header(config):
    return f"--require-gpu: the tests run on {config.gpu}" if device.is_off() else None


def is_proof(item):
    """Whether a test is marked as a proof, for the parameters that it is called with."""
    called_with = item.callspec.params if hasattr(item, "callspec") else {}
    return any(
        all(called_with.get(name) == value for name, value in mark.kwargs.items())
        for mark in item.iter_markers("proof")
    )


def every_other(items, n):
    """The tests that are left out where each function is called with its first case and every nth."""
    seen = Counter()
    left_out = []
    for item in items:
        name = item.nodeid.partition("[")[0]
        if seen[name] % n:
            left_out.append(item)
        seen[name] += 1
    return left_out


def leave_out(config, items, left_out):
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = {item.nodeid for item in left_out}
        items[:] = [item for item in items if item.nodeid not in gone]


# After the options -k and -m have chosen: the first case of those that they leave is run.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if not config.getoption("--proofs"):
        leave_out(config, items, [item for item in items if is_proof(item)])
    leave_out(config, items, every_other(items, config.getoption("--every")))
    if not device.is_off():
        for item in items:
            if item.get_closest_marker("card"):
                item.add_marker(pytest.mark.skip(reason=NEEDS_A_CARD))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Every kernel is tested in several orders of threads by the tests of its step; elsewhere each launch runs once."""
    device.in_every_order(item.path.parent.name in ("steps", "device"))


@pytest.fixture(params=["cpu", "gpu"])
def backend(request):
    """Each backend in turn, since both share the tests of a step. CUDA runs on the test device, or on a real card."""
    if request.param == "cpu":
        yield select("cpu")
    else:
        with device.installed():
            yield select("0")


@pytest.fixture
def gpu(request):
    """The CUDA backend, on the test device or on a real card."""
    # The sanitizers and the mutants take the tests of steps by these words (DEFAULT of tests/device/sanitize.py).
    if request.path.parent.name == "steps":
        words = "gpu", "prepare", "rice"
        assert any(word in request.node.nodeid for word in words), f"sanitizers leave out tests without one of {words}"
    with device.installed():
        yield select("0")


@pytest.fixture(scope="session")
def real_data():
    """The folder of real images."""
    folder = os.environ.get("GPUANOM_REAL_DATA")
    if not folder:
        pytest.skip("GPUANOM_REAL_DATA is not set: no real images")
    return Path(folder)
