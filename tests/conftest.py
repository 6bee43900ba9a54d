"""What every test can ask for: a backend, the real images, a steady Hypothesis."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gpuanom.backend import select
from tests import device

# Derandomised: the same examples everywhere, so that a failure is never a matter of luck. No deadline: a shared
# machine stalls. Few examples: each is a whole image.
CHECKS = [
    HealthCheck.too_slow,
    HealthCheck.function_scoped_fixture,  # a backend holds nothing that one example could leave to the next
]
settings.register_profile("gpuanom", deadline=None, derandomize=True, max_examples=25, suppress_health_check=CHECKS)
# GPUANOM_HYPOTHESIS=search looks for new failures by hand, for as long as that takes.
settings.register_profile("search", deadline=None, max_examples=1000, suppress_health_check=CHECKS, print_blob=True)
settings.load_profile(os.environ.get("GPUANOM_HYPOTHESIS", "gpuanom"))


@pytest.fixture(params=["cpu", "gpu"])
def backend(request):
    """Each backend in turn, the CUDA one on the test device: the tests of a step are the same for both."""
    if request.param == "cpu":
        yield select("cpu")
    else:
        with device.installed():
            yield select("0")


@pytest.fixture(scope="session")
def real_data():
    """The folder of real images."""
    folder = os.environ.get("GPUANOM_REAL_DATA")
    if not folder:
        pytest.skip("GPUANOM_REAL_DATA is not set: no real images")
    return Path(folder)
