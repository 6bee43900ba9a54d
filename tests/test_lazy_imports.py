"""What a command imports before it is needed: libraries that take long to import must not delay a run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from astropy.io import fits

from gpuanom.cli import _NAMES
from tests import nights

# Each takes at least a fiftieth of a second to import on a fast machine, and some take a third.
HEAVY = (
    *("matplotlib", "pyarrow", "dask", "distributed", "torch", "safetensors", "cupy", "PIL", "galsim", "bokeh"),
    *("astropy", "scipy.ndimage", "scipy.special", "scipy.fft", "scipy.linalg", "scipy.sparse", "scipy.optimize"),
    *("numpy.f2py", "rich"),
)
NEVER = ("matplotlib", "pyarrow", "dask", "distributed", "torch", "safetensors", "cupy", "galsim", "numba")
WORK = ("numpy", "numba", "scipy", "gpuanom.fits", "gpuanom.measuring", "gpuanom.cluster.job")


def _answer(program, *arguments):
    """What a program prints as JSON in its last line."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


# Choices and defaults of the others' options stand in modules that need NumPy, and tables of astropy.
QUICK = ("score", "reference", "merge", "forget", "explain", "settings", "label", "simulate", "completion")
NEEDS_NUMPY = ("watch",)
NEED_TABLES = ("report", "history", "show", "tables", "evaluate", "export", "train", "inject", "doctor")


def test_help_is_shown_without_what_the_commands_work_with():
    """One process shows the help of command after command, those with the least imports first."""
    program = """
import contextlib, io, json, sys
from gpuanom.cli import main
loaded = []
for command in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main([command, "--help"])
    assert out.getvalue().startswith(f"Usage: gpuanom {command}"), out.getvalue()
    loaded.append([command, sorted(sys.modules)])
print(json.dumps(loaded))
"""
    commands = [*QUICK, *NEEDS_NUMPY, *NEED_TABLES]
    assert set(commands) == set(_NAMES)
    may_not = [*[{*HEAVY, *WORK}] * len(QUICK), *[set(HEAVY)] * len(NEEDS_NUMPY), *[set(NEVER)] * len(NEED_TABLES)]
    for (command, loaded), heavy in zip(_answer(program, *commands), may_not, strict=True):
        assert not heavy & set(loaded), command


@pytest.mark.parametrize("packed", [False, True])
def test_the_first_exposure_is_measured_before_the_tables_are_imported(tmp_path, packed):
    """Images as they are, and compressed by RICE with the sums that are checked."""
    (path,) = nights.night(tmp_path / "in", exposures=1, odd=None)
    if packed:
        with fits.open(path) as plain:
            images = [fits.CompImageHDU(hdu.data, hdu.header, compression_type="RICE_1") for hdu in plain[1:]]
            fits.HDUList([plain[0].copy(), *images]).writeto(tmp_path / "packed.fits.fz", checksum=True)
        path.unlink()
        (tmp_path / "packed.fits.fz").rename(tmp_path / "in" / "packed.fits.fz")
    program = """
import json, os, sys
from gpuanom.cli import main
from gpuanom.store import store
def add(self, measurement):
    print(json.dumps(sorted(sys.modules)), flush=True)
    os._exit(0)
store.Store.add = add
main(["score", sys.argv[1], "-o", sys.argv[2], "--device", "cpu", "--threads", "1"])
"""
    assert not set(HEAVY) & set(_answer(program, tmp_path / "in", tmp_path / "out"))
