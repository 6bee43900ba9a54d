"""Small nights, scored once for all tests of surveys, which leave them as they are."""

from __future__ import annotations

import pytest

from tests import nights
from tests.surveys.common import NIGHTS, SETTINGS, score


@pytest.fixture(scope="package")
def base(tmp_path_factory):
    """Three nights, the second with an exposure of the first and a file that is no image."""
    base = tmp_path_factory.mktemp("base")
    for name, numbers in (("n1", (1, 2)), ("n2", (3, 4)), ("n3", (5,))):
        for number in numbers:
            nights.write(base / name, number, ccds=1)
    (base / "n2" / "bad.fits").write_text("no FITS")
    for name, more in NIGHTS:
        score([base / name, *(base / file for file in more)], base / f"o_{name}")
    return base


@pytest.fixture(scope="package")
def with_statistics(base):
    """Two of these nights, scored with the statistics of METHOD.md Part II."""
    for name, more in NIGHTS[:2]:
        score([base / name, *(base / file for file in more)], base / f"s_{name}", SETTINGS)
    return base


@pytest.fixture(scope="package")
def versions(base):
    """One exposure in three versions of the processing, in nights of one exposure more each."""
    for i, version in enumerate(("V4.8", "V4.9", "V10.1")):
        name = f"v{i}"
        nights.write(base / name, 7, ccds=1, PROCTYPE="InstCal", PLVER=version, degrees=10.0 * i)
        nights.write(base / name, 20 + i, ccds=1)
        score(base / name, base / f"o_{name}")
    return base
