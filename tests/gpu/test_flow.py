"""Exposures on their way through a GPU: lanes, staging buffers, too little memory, and devices that fail."""

from __future__ import annotations

import gc
import logging
import re
import threading

import numpy as np
import pytest

import gpuanom
from gpuanom.measuring.exposure import measure_ccds
from gpuanom.records import CcdFailure, CcdOnDisk
from tests import device, nights
from tests.commands import run

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300, simulations=200)
PAPER = QUICK.replace(statistics=False)
"""Without the scratch of the statistics, a CCD needs little memory beside its pixels."""


@pytest.fixture
def stand_in():
    with device.installed():
        from cpudevice import settings

        before = (settings.memory, settings.devices)
        yield settings
        settings.memory, settings.devices = before


@pytest.fixture
def small(tmp_path):
    nights.night(tmp_path / "in", exposures=4, ccds=2, odd=2)
    return tmp_path


def same(a, b):
    """Whether two measurements of CCDs agree: equal counts, statuses and reasons."""
    return [(x.name, x.status, x.reason, x.counts.tolist()) for x in a] == [
        (x.name, x.status, x.reason, x.counts.tolist()) for x in b
    ]


def leave(stand_in, n_bytes):
    """Leave this much memory free on the device, beside the memory that other tests of this process still hold."""
    import cupy

    gc.collect()
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    stand_in.memory = pool.used_bytes() + n_bytes


# One synchronisation for a stack, and no memory left behind


def test_a_stack_waits_for_the_device_once(stand_in, monkeypatch):
    import cupy

    from gpuanom.backends.gpu import GpuBackend

    backend = GpuBackend(0)
    ccds = [gpuanom.Ccd(str(i), nights.image(i)) for i in range(3)]
    measure_ccds("e", ccds, QUICK, backend)  # makes the staging buffers and compiles the kernels
    waits = []
    monkeypatch.setattr(
        cupy.cuda.Stream,
        "synchronize",
        lambda self, whole=cupy.cuda.Stream.synchronize: (waits.append("stream"), whole(self)),
    )
    monkeypatch.setattr(cupy.cuda.Device, "synchronize", lambda _self: waits.append("device"))
    blocking = cupy.ndarray.get
    monkeypatch.setattr(
        cupy.ndarray,
        "get",
        lambda self, stream=None, order="C", out=None, blocking_=True, **k: (
            waits.append("get") if k.get("blocking", blocking_) else None,
            blocking(self, stream, order, out, **k),
        )[1],
    )
    measured = measure_ccds("e", ccds, QUICK, backend)
    assert waits == ["stream"]
    assert all(m.n_sources for m in measured)


def test_memory_does_not_grow_over_exposures(stand_in):
    import cupy
    from cpudevice import pinned_memory

    from gpuanom.backends.gpu import GpuBackend
    from gpuanom.backends.gpu.staging import SLOT_BYTES, SLOTS

    backend = GpuBackend(0)
    ccds = [gpuanom.Ccd(str(i), nights.image(i)) for i in range(2)]
    pool, used, pinned = cupy.get_default_memory_pool(), [], []

    def held():
        return sum(block.nbytes for block in pinned_memory._blocks.values())

    others = held()  # memory of other tests of this process
    for i in range(6):
        measure_ccds(f"e{i}", ccds, QUICK, backend)
        used.append(pool.used_bytes())
        pinned.append(held())
    assert used[1:] == used[:1] * 5
    assert pinned[2:] == pinned[1:2] * 4
    assert pinned[-1] - others <= SLOTS * SLOT_BYTES + 2**20


@pytest.mark.parametrize("n_bytes", [0, 1, 999, 1000, 1001, 4000, 12_345])
def test_staging_brings_every_byte_and_no_other(gpu, monkeypatch, n_bytes):
    """There are more parts than buffers, so that each buffer is filled again; the source is changed at once."""
    import cupy

    from gpuanom.backends.gpu import staging

    monkeypatch.setattr(staging, "SLOT_BYTES", 1000)
    host = np.random.default_rng(n_bytes).integers(0, 256, n_bytes + 1, dtype=np.uint8)[1:]  # not aligned
    wanted = host.copy()
    ring, stream = staging.Staging(), cupy.cuda.Stream(non_blocking=True)
    with stream:
        target = cupy.empty(n_bytes, np.uint8)
        ring.upload(host, target)
        host[:] = 0
        got = target.get()
    assert np.array_equal(got, wanted)


def test_staging_refuses_arrays_of_other_sizes(gpu):
    import cupy

    from gpuanom.backends.gpu.staging import Staging

    with pytest.raises(ValueError, match="10 bytes for an array of 12"):
        Staging().upload(np.zeros(10, np.uint8), cupy.empty(3, np.float32))


# Memory that is lent to readers


def test_lent_memory_is_kept_until_its_copy_is_done(gpu, monkeypatch):
    """It is given back when the device has read it and not before, and a bounded number is kept."""
    import cupy

    from gpuanom.backends.gpu import staging

    monkeypatch.setattr(staging, "MOST_UNDERWAY", 3)
    ring, stream, before = staging.Staging(), cupy.cuda.Stream(non_blocking=True), staging._n_lent
    wanted = np.random.default_rng(1).integers(0, 256, (9, 5000), dtype=np.uint8)
    with stream:
        target = cupy.empty(wanted.shape, np.uint8)
        for i, row in enumerate(wanted):
            room = staging.lent_room(row.size)
            assert room.lent
            room.memory[:] = row
            ring.upload(room.memory[1:], target[i, 1:], lent=True)
            del room
            assert 0 < len(ring._underway) <= 3 or stream.done
            assert staging._n_lent - before == len(ring._underway) * 8192
        got = target.get()
    assert np.array_equal(got[:, 1:], wanted[:, 1:])


def test_memory_is_lent_up_to_a_limit(gpu, monkeypatch):
    from gpuanom.backends.gpu import staging

    monkeypatch.setattr(staging, "MOST_LENT", staging._n_lent + 3 * 1024)
    rooms = [gpu.room(n) for n in (1000, 1024, 1025, 900, 10, 0)]
    assert [room.lent for room in rooms] == [True, True, False, True, False, False]
    assert [room.memory.size for room in rooms] == [1000, 1024, 1025, 900, 10, 0]
    del rooms
    assert gpu.room(3 * 1024 - 1024).lent


def test_numbers_of_tiles_are_kept_where_there_are_more_than_expected(gpu):
    from gpuanom.backends.gpu.rice import _Columns

    columns, wanted, before = _Columns(2, np.int64), np.arange(26).reshape(2, 13), 0
    for n, expected in ((3, 6), (6, 6), (7, 6), (13, 6)):
        columns.up_to(n, expected)[:, before:n] = wanted[:, before:n]
        before = n
        joined, lent = columns.joined(n)
        assert np.array_equal(joined, wanted[:, :n])
        assert joined.flags.c_contiguous
        assert lent == (n == 6)  # where the memory is full, nothing is copied
        assert np.array_equal(columns.up_to(n, expected)[:, :n], wanted[:, :n])


def test_memory_that_cannot_be_pinned_is_ordinary_memory(gpu, monkeypatch):
    from gpuanom.backends.gpu import pinned, staging

    def refuse(*_):
        raise MemoryError

    before = staging._n_lent
    monkeypatch.setattr(pinned, "empty", refuse)
    room = gpu.room(1000)
    assert (room.lent, room.memory.size, staging._n_lent) == (False, 1000, before)


# Memory that does not suffice


def test_groups_that_do_not_fit_are_halved(stand_in, caplog):
    from gpuanom.backends.gpu import GpuBackend

    ccds = [gpuanom.Ccd(str(i), nights.image(i)) for i in range(5)]
    expected = measure_ccds("e", ccds, PAPER, GpuBackend(0))
    backend = GpuBackend(0)
    assert backend.group_size(*nights.SHAPE) >= 5
    # Two of these CCDs fit and five do not: their images alone take 0.12 MB each.
    leave(stand_in, 700_000)
    with caplog.at_level(logging.WARNING, "gpuanom"):
        got = measure_ccds("e", ccds, PAPER, backend)
    assert same(got, expected)
    assert "out of memory with 5 CCDs of 192 x 160 pixels; going on with 2 at a time" in caplog.text
    assert backend.group_size(*nights.SHAPE) <= 2


def test_a_ccd_that_does_not_fit_alone_is_a_status(stand_in):

    from gpuanom.backends.gpu import GpuBackend

    backend = GpuBackend(0)
    backend.group_size(*nights.SHAPE)
    leave(stand_in, 50_000)
    (measured,) = measure_ccds("e", [gpuanom.Ccd("1", nights.image(1))], QUICK, backend)
    assert measured.status == "out_of_memory"
    assert "no memory for its 192 x 160 pixels" in measured.reason


def test_the_plan_follows_the_free_memory_and_is_told(stand_in, caplog):
    from gpuanom.backends.gpu import GpuBackend
    from gpuanom.backends.gpu.memory import BYTES_A_CCD, BYTES_A_PIXEL, LANES

    with caplog.at_level(logging.INFO, "gpuanom"):
        for memory, ny, nx in [(80 << 30, 4096, 2048), (8 << 30, 4096, 2048), (1 << 20, 4096, 2048)]:
            stand_in.memory = memory
            backend = GpuBackend(0)
            n = backend.group_size(ny, nx)
            assert n >= 1
            a_ccd = BYTES_A_PIXEL * ny * nx + BYTES_A_CCD
            # The plan leaves some memory free, for the pool and for other processes.
            assert n == 1 or LANES * n * a_ccd <= 0.9 * memory
            assert [lane.group_size(ny, nx) for lane in backend.lanes(4)] == [n, n]
    told = re.search(r"gpu 0 has (\d+) MiB free; a CCD of 2048 x 4096 pixels takes 97 MiB", caplog.text)
    # Of 80 GiB the tables are missing that earlier tests of this process have left on the device, for good.
    assert 81920 - 100 < int(told[1]) <= 81920


# Several devices, and devices that fail


@pytest.fixture
def score(capfd):
    """Score a folder by the command, in this process; what it told."""

    def scored(folder, output, *flags):
        flags = *flags, "--points", 300, "--sigma-points", 500, "--background-points", 300
        code, _, told = run(capfd, "score", folder, "-o", output, *flags)
        assert code == 0, told
        return told

    return scored


def test_two_devices_share_a_night_and_change_nothing(stand_in, small, score):
    stand_in.devices = 2
    told = score(small / "in", small / "two", "--device", "0,1", "-v")
    assert "device: gpu 0, " in told
    assert "; gpu 1, " in told
    assert "memory plan: gpu 0 has" in told
    score(small / "in", small / "cpu", "--device", "cpu", "--threads", "3")
    assert nights.tables(small / "two") == nights.tables(small / "cpu")


def test_every_device_is_given_work(stand_in, small, monkeypatch):
    """The first device that asks waits until the other one has asked; with one device it would wait for ever."""
    from gpuanom.backends.gpu import GpuBackend

    stand_in.devices = 2
    both, seen = threading.Barrier(2, timeout=60), set()

    def background(self, *arguments, whole=GpuBackend.background):
        if self.device.id not in seen:
            seen.add(self.device.id)
            both.wait()
        return whole(self, *arguments)

    monkeypatch.setattr(GpuBackend, "background", background)
    gpuanom.score(small / "in", settings=QUICK, device="0,1")
    assert seen == {0, 1}


def test_a_device_that_is_not_there_is_named(stand_in):
    with pytest.raises(gpuanom.DeviceError, match="device '1': no such GPU"):
        gpuanom.backends.choice.choose("0,1")
    with pytest.raises(gpuanom.DeviceError, match="unknown device '0,x'"):
        gpuanom.backends.choice.choose("0,x")


def test_a_device_that_fails_ends_the_run_and_loses_nothing(stand_in, small, monkeypatch):
    """After an illegal access a device refuses everything: the failure must not be put down to an exposure."""
    import cupy

    from gpuanom.backends.gpu import sources

    calls = []

    def failing(*arguments, whole=sources.sources):
        calls.append(1)
        if len(calls) > 2:
            raise cupy.cuda.runtime.CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access", 700)
        return whole(*arguments)

    monkeypatch.setattr(sources, "sources", failing)
    with pytest.raises(gpuanom.DeviceError, match=r"gpu 0 fails: cudaErrorIllegalAddress.*goes on where it stopped"):
        gpuanom.score(small / "in", small / "out", settings=QUICK, device="0", threads=1)
    monkeypatch.undo()
    resumed = gpuanom.score(small / "in", small / "out", settings=QUICK, device="0")
    assert not resumed.failed
    gpuanom.score(small / "in", small / "cpu", settings=QUICK, device="cpu")
    assert nights.tables(small / "out") == nights.tables(small / "cpu")


# CCDs on disk


def test_ccds_on_disk_are_read_once_and_in_order(backend):
    """A CCD that cannot be read leaves no gap in the stack, and no other CCD gets its pixels or its points."""
    images = {str(i): nights.image(i) for i in range(4)}
    reads = []

    def on_disk(name):
        def load(*, encoded=False, out=None, room=None):
            reads.append(name)
            if name == "1":
                return CcdFailure(name, "corrupt", "file.fits[1]: broken")
            if out is not None and not encoded:
                out[...] = images[name]
                return gpuanom.Ccd(name, out)
            return gpuanom.Ccd(name, images[name])

        return CcdOnDisk(name, nights.SHAPE, load)

    got = measure_ccds("e", [on_disk(name) for name in images], QUICK, backend)
    assert reads == list(images)
    expected = measure_ccds(
        "e",
        [
            CcdFailure(n, "corrupt", "file.fits[1]: broken") if n == "1" else gpuanom.Ccd(n, image)
            for n, image in images.items()
        ],
        QUICK,
        gpuanom.backends.choice.select("cpu"),  # one CCD at a time, so that no CCD can be mistaken for another
    )
    assert same(got, expected)


def test_a_group_of_which_nothing_can_be_read(backend):
    broken = CcdOnDisk("1", nights.SHAPE, lambda **_: CcdFailure("1", "corrupt", "file.fits[1]: broken"))
    (measured,) = measure_ccds("e", [broken], QUICK, backend)
    assert (measured.status, measured.reason) == ("corrupt", "file.fits[1]: broken")


def test_a_ccd_too_large_for_the_device_costs_nothing_but_itself(stand_in, monkeypatch):
    """Such a CCD once ended the run: its pixels cannot be counted in 32 bits (a lower limit is set here).

    It is refused before any step sees it: a pixel that is counted wrongly may lie outside of the device's memory.
    """
    from gpuanom.backends.gpu import background, rice

    ny, nx = nights.SHAPE
    monkeypatch.setattr(rice, "MOST_PIXELS", ny * nx)
    fit, fitted = background.FIT, []
    monkeypatch.setattr(background, "FIT", lambda *a, **k: (fitted.append(a[2].shape), fit(*a, **k)))
    ccds = [gpuanom.Ccd("1", nights.image(1)), gpuanom.Ccd("2", nights.image(2, shape=(ny + 1, nx)))]
    ccds += [gpuanom.Ccd("3", nights.image(3))]
    measured = measure_ccds("e", ccds, QUICK, gpuanom.backends.choice.select("0"))
    assert [m.status for m in measured] == ["ok", "too_large", "ok"]
    assert "--device cpu" in measured[1].reason
    assert "CCD 2" in measured[1].reason
    assert {shape[1:] for shape in fitted} == {nights.SHAPE}
    expected = measure_ccds("e", [ccds[0], ccds[2]], QUICK, gpuanom.backends.choice.select("cpu"))
    assert same([measured[0], measured[2]], expected)


# What lanes share, and what each lane has for itself


def test_a_ccd_that_fits_only_alone_waits_for_the_other_lane(stand_in):
    """One lane holds the memory until the other one has asked in vain; in the end both CCDs must be measured."""
    import cupy

    from gpuanom.backends.gpu import GpuBackend

    backend = GpuBackend(0)
    backend.group_size(*nights.SHAPE)
    lanes, failed, held = backend.lanes(1), threading.Event(), []
    ccd = gpuanom.Ccd("1", nights.image(1))
    expected = measure_ccds("e", [ccd], PAPER, backend)
    leave(stand_in, 450_000)  # room for one CCD, but not beside the memory that the other lane holds

    def hog():
        with lanes[1].sharing(False), lanes[1].working():
            held.append(cupy.empty(300_000, np.uint8))
            holding.set()
            assert failed.wait(60)
            held.clear()

    holding, thread = threading.Event(), threading.Thread(target=hog)
    whole = backend.too_many
    backend.too_many = lambda *a: (whole(*a), failed.set())
    thread.start()
    holding.wait(60)
    got = measure_ccds("e", [ccd], PAPER, backend)
    thread.join()
    assert failed.is_set(), "it was not short of memory: the test tests nothing"
    assert same(got, expected)


def test_what_lacked_memory_is_measured_by_the_next_run(stand_in, small):
    before = stand_in.memory
    leave(stand_in, 60_000)
    first = gpuanom.score(small / "in", small / "out", settings=QUICK, device="0")
    assert set(first.tables.ccds["status"]) == {"out_of_memory"}
    stand_in.memory = before
    assert not gpuanom.score(small / "in", small / "out", settings=QUICK, device="0").failed
    gpuanom.score(small / "in", small / "cpu", settings=QUICK, device="cpu")
    assert nights.tables(small / "out") == nights.tables(small / "cpu")


def test_each_device_has_its_own_plan(stand_in, small, monkeypatch):
    from gpuanom.backends.gpu import GpuBackend
    from gpuanom.backends.gpu.memory import MemoryPlan

    stand_in.devices = 2
    monkeypatch.setattr(MemoryPlan, "most", lambda self, *_: 1 if self._device.id else 2)
    seen = {0: set(), 1: set()}
    both = threading.Barrier(2, timeout=60)

    def prepare(self, ccds, most, whole=GpuBackend.prepare):
        if not seen[self.device.id]:
            seen[self.device.id].add(most)
            both.wait()
        seen[self.device.id].add(most)
        return whole(self, ccds, most)

    monkeypatch.setattr(GpuBackend, "prepare", prepare)
    gpuanom.score(small / "in", settings=QUICK, device="0,1")
    assert seen == {0: {2}, 1: {1}}


def test_lanes_share_their_devices_plan_and_no_thread_shares_a_lane(stand_in, small, monkeypatch):
    from gpuanom.backends.gpu import GpuBackend

    backend = GpuBackend(0)
    lanes = backend.lanes(3)
    assert lanes[0] is backend
    assert len({id(lane.stream) for lane in lanes}) == len({id(lane.staging) for lane in lanes}) == len(lanes) == 2
    assert {id(lane.plan) for lane in lanes} == {id(backend.plan)}
    lanes[1].group_size(*nights.SHAPE)
    lanes[1].too_many(4, *nights.SHAPE)
    assert backend.group_size(*nights.SHAPE) == 2

    inside, twice, done = set(), [], []

    def background(self, *arguments, whole=GpuBackend.background):
        if id(self) in inside:
            twice.append(self)
        slow = not inside and not done
        inside.add(id(self))
        done.append(1)
        try:
            if slow:
                # Meanwhile the other thread takes one lane after the other, but never this lane.
                threading.Event().wait(1.0)
            return whole(self, *arguments)
        finally:
            inside.discard(id(self))

    monkeypatch.setattr(GpuBackend, "background", background)
    gpuanom.score(small / "in", settings=QUICK, device="0")
    assert not twice
    assert len(gpuanom.backends.choice.choose("0,0")[0]) == 1


def test_a_ring_of_buffers_waits_only_when_it_has_gone_round(stand_in, monkeypatch):
    """As many uploads as there are buffers need not wait; the next upload waits for the first one only."""
    import cupy

    from gpuanom.backends.gpu import staging

    waited = []
    whole = cupy.cuda.Event.synchronize
    monkeypatch.setattr(cupy.cuda.Event, "synchronize", lambda self: (waited.append(self.done), whole(self))[1])
    ring, stream = staging.Staging(), cupy.cuda.Stream(non_blocking=True)
    with stream:
        targets = [cupy.empty(100, np.uint8) for _ in range(staging.SLOTS + 1)]
        for target in targets[:-1]:
            ring.upload(np.ones(100, np.uint8), target)
        assert staging.SLOTS >= 2
        assert all(waited)  # these events were never recorded
        ring.upload(np.ones(100, np.uint8), targets[-1])
    assert waited[-1] is False
    assert [event.done for event in ring._events].count(False) == staging.SLOTS - 1 + 1


# Which device is used, and why


def test_auto_says_which_device_it_takes_and_why(stand_in, small, score):
    assert "device: gpu 0" in score(small / "in", small / "a", "--device", "auto")
    stand_in.devices = 0
    assert "device: cpu, because" in score(small / "in", small / "b")
    assert "device:" not in score(small / "in", small / "c", "--device", "cpu")


def test_ties_are_broken_by_what_is_printed(stand_in, tmp_path, score):
    """Both exposures of a dataset are equally far from their median: the last bit must not decide their order."""
    nights.night(tmp_path / "in", exposures=8, ccds=1, bands=("r", "g", "i", "z"))
    for name in ("cpu", "0"):
        score(tmp_path / "in", tmp_path / name, "--device", name)
    assert nights.tables(tmp_path / "cpu") == nights.tables(tmp_path / "0")


class Card:
    """A card with so many GiB of free memory, and nothing else."""

    id = 0

    def __init__(self, gib):
        self.mem_info = (gib * 2**30, gib * 2**30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize(
    ("gib", "most", "n"), [(8, 4, 1), (24, 4, 1), (40, 4, 2), (80, 4, 4), (140, 4, 4), (140, 1, 1)]
)
def test_processes_share_the_memory_of_a_card(gib, most, n):
    with device.installed():
        import cupy

        from gpuanom.backends.gpu.memory import LANES, SHARE, MemoryPlan

        cupy.get_default_memory_pool().free_all_blocks()  # what other tests left counts as free
        alone, first, other = (MemoryPlan(Card(gib)) for _ in range(3))
        assert first.most(2046, 4094) == alone.most(2046, 4094)
        found, n_bytes = first.share(most)
        assert found == n
        assert n * n_bytes <= SHARE * gib * 2**30
        other.limit(n_bytes)
        assert first.most(2046, 4094) == other.most(2046, 4094) <= alone.most(2046, 4094)
        if n > 1:  # each process takes an exposure of 61 DECam CCDs in each lane
            assert first.most(2046, 4094) >= 61
            assert LANES * alone.most(2046, 4094) >= LANES * 61
