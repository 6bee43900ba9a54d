"""A small night, the tables of an undisturbed run over it, and a scheduler with two workers."""

from __future__ import annotations

import pytest

import gpuanom
from tests import nights
from tests.cluster.farm import Farm

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300)


class Said(gpuanom.Events):
    """Events that remember every message and every measured exposure."""

    def __init__(self):
        self.lines, self.measured = [], []
        super().__init__(say=self.lines.append, done=lambda e, _m, _s: self.measured.append(e.exposure))


@pytest.fixture(scope="session")
def night(tmp_path_factory):
    """A folder of seven exposures; the last exposure is cut off in its second CCD."""
    folder = tmp_path_factory.mktemp("cluster") / "night"
    nights.night(folder, exposures=6, ccds=2, bands=("g", "r"), odd=3)
    whole = nights.write(folder, 7, band="g")
    whole.write_bytes(whole.read_bytes()[:-30000])
    for path in folder.iterdir():
        path.chmod(0o444)
    return folder


@pytest.fixture(scope="session")
def undisturbed(night, tmp_path_factory):
    """The tables of a run without a cluster."""
    out = tmp_path_factory.mktemp("undisturbed")
    gpuanom.score(night, out, settings=QUICK, device="cpu", threads=1)
    return nights.tables(out)


# Schedulers and workers use the processor as long as they live, so that they end with the tests of this folder.
@pytest.fixture(scope="package")
def _two(tmp_path_factory):
    farm = Farm(tmp_path_factory.mktemp("farm"))
    try:
        for _ in range(2):
            farm.worker("--memory-limit", "2GiB")  # PyTorch's build with CUDA takes 0.8 GiB when it is imported
        yield farm
    finally:
        farm.close()


@pytest.fixture
def farm(_two):
    """A scheduler with two workers, each under a nanny, shared by several tests: the workers survive each of them."""
    yield _two
    _two.clean()


@pytest.fixture(scope="package")
def _none(tmp_path_factory):
    farm = Farm(tmp_path_factory.mktemp("own"))
    try:
        yield farm
    finally:
        farm.close()


@pytest.fixture
def own_farm(_none):
    """A scheduler without workers: the test starts its own, which end with the test."""
    yield _none
    _none.dismiss()
    _none.clean()


@pytest.fixture
def mortal_farm(tmp_path):
    """The same, with a scheduler that the test may kill."""
    farm = Farm(tmp_path / "farm")
    try:
        yield farm
    finally:
        farm.close()


@pytest.fixture
def score(night, tmp_path, monkeypatch):
    """Score the night on the workers of a farm."""

    def run(farm, out=tmp_path / "out", **options):
        said = Said()
        if farm.awaits_faults():
            # An exposure that waits at a busy worker is moved to an idle one, and the busy worker may have begun it in
            # the meantime. The fault would then befall a call whose answer nobody takes, and nothing would tell of it.
            monkeypatch.setattr("gpuanom.cluster.dispatch.to_move", lambda _usable: [])
        options = {
            "settings": QUICK,
            "device": "cpu",
            "scheduler": farm.file,
            "timeout": 60.0,
            "events": said,
            **options,
        }
        return gpuanom.score(options.pop("paths", night), out, **options), said

    return run
