"""Installs the stand-in around each test of the test device; fixtures for the sanitizers."""

from __future__ import annotations

import pytest

from tests import device
from tests.device import sanitize


@pytest.fixture(autouse=True)
def stand_in():
    if device.is_off():
        pytest.skip(device.ABOUT_IT)
    with device.installed():
        yield


@pytest.fixture(scope="session")
def sanitizer():
    """Runs Python under a sanitizer; skips where none can start (some containers forbid fixed addresses)."""
    able = {}

    def run(flavour, arguments, **settings):
        if flavour not in able:
            able[flavour] = sanitize.run(flavour, ["-c", "pass"])
        if able[flavour].returncode:
            pytest.skip(f"the {flavour} sanitizer does not start here: {able[flavour].stderr.strip()[:200]}")
        return sanitize.run(flavour, arguments, **settings)

    return run
