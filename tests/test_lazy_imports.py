"""What a command imports before it is needed: libraries that take long to import must not delay a run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from astropy.io import fits

from tests import nights

# Each takes at least a fiftieth of a second to import on a fast machine, and some take a third.
HEAVY = (
    *("matplotlib", "pyarrow", "dask", "distributed", "torch", "safetensors", "cupy", "PIL", "galsim", "bokeh"),
    *("astropy", "scipy.ndimage", "scipy.special", "scipy.fft", "scipy.linalg", "scipy.sparse", "scipy.optimize"),
    *("numpy.f2py", "rich"),
)
NOT_FOR_HELP = (*HEAVY, "numpy", "numba", "scipy", "gpuanom.fits", "gpuanom.measuring", "gpuanom.cluster.job")


def _loaded(program, *arguments):
    """The modules that a program has loaded, which it prints as JSON in its last line."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_of_a_command_needs_click_alone():
    program = """
import atexit, json, sys
from gpuanom.cli import main
atexit.register(lambda: print(json.dumps(sorted(sys.modules))))
main([sys.argv[1], "--help"])
"""
    assert not _loaded(program, "score") & set(NOT_FOR_HELP)


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
    assert not _loaded(program, tmp_path / "in", tmp_path / "out") & set(HEAVY)
