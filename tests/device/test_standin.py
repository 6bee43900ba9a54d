"""The stand-in is strict where CuPy is lenient, and late where a real device may be late."""

# ruff: noqa: ARG005 - every function of a table takes the same arguments

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tests import device
from tests.device import demo, environment

I4 = np.int32


@pytest.fixture
def cp():
    import cupy

    return cupy


@pytest.fixture
def scale(cp):
    return demo.module("demo.cu").get_function("scale")


@pytest.fixture
def pair(cp):
    return cp.asarray(np.ones(64, np.float32)), cp.empty(64, cp.float32)


# ---- host and device arrays do not mix ----


@pytest.mark.parametrize(
    "mix",
    [
        lambda cp, d, h: np.asarray(d),
        lambda cp, d, h: d + h,
        lambda cp, d, h: h + d,
        lambda cp, d, h: np.add(h, d),
        lambda cp, d, h: cp.add(d, h),
        lambda cp, d, h: np.concatenate([h, d]),
        lambda cp, d, h: cp.where(h > 0, d, d),
        lambda cp, d, h: d.__setitem__(slice(None), h),
        lambda cp, d, h: h.__setitem__(slice(None), d),
        lambda cp, d, h: cp.sqrt(d, out=h),
        lambda cp, d, h: d.__iadd__(h),
    ],
)
def test_host_and_device_arrays_do_not_mix(cp, mix):
    device, host = cp.ones(3), np.ones(3)
    with pytest.raises(TypeError):
        mix(cp, device, host)


def test_arithmetic_stays_on_the_device(cp):
    a = cp.asarray(np.arange(12.0).reshape(3, 4))
    result = (2 * a + 1).sum(axis=1)
    assert isinstance(result, cp.ndarray)
    assert result.get().tolist() == [16.0, 48.0, 80.0]
    assert isinstance(a.max(), cp.ndarray)
    assert float(a.max()) == 11
    assert cp.nonzero(a > 9)[1].get().tolist() == [2, 3]
    assert a[1:, ::2].get().tolist() == [[4.0, 6.0], [8.0, 10.0]]
    a[0] = 7
    assert a.get()[0].tolist() == [7.0] * 4
    view = a.reshape(-1)[4:8]
    view.fill(0)
    assert float(a[1].sum()) == 0, "a reshaped contiguous array is a view"
    assert cp.asnumpy(a).flags.owndata


# ---- arguments of a launch ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda cp, a, b: (2.0, a, b, I4(64)), "float for 'float factor'"),
        (lambda cp, a, b: (np.float64(2), a, b, I4(64)), "float64 for 'float factor'"),
        (lambda cp, a, b: (np.float32(2), a, b, 64), "int for 'int n'"),
        (lambda cp, a, b: (np.float32(2), a, b, np.uint32(64)), "uint32 for 'int n'"),
        (lambda cp, a, b: (np.float32(2), a, b, np.int64(64)), "int64 for 'int n'"),
        (lambda cp, a, b: (np.float32(2), a, b), "3 arguments"),
        (lambda cp, a, b: (np.float32(2), a.astype(cp.float64), b, I4(64)), "float64 for 'const float"),
        (lambda cp, a, b: (np.float32(2), a.view(cp.int32), b, I4(64)), "int32 for 'const float"),
        (lambda cp, a, b: (np.float32(2), a[::2], b, I4(32)), "C-contiguous"),
        (lambda cp, a, b: (np.float32(2), a.reshape(8, 8).T, b, I4(64)), "C-contiguous"),
        (lambda cp, a, b: (np.float32(2), np.ones(64, np.float32), b, I4(64)), "array of the host"),
        (lambda cp, a, b: (a, a, b, I4(64)), "array for the scalar"),
        (lambda cp, a, b: (np.float32(2), I4(0), b, I4(64)), "int32 for the pointer"),
        (lambda cp, a, b: (np.float32(2), None, b, I4(64)), "not marked OPTIONAL"),
        (lambda cp, a, b: (np.float32(2), b, b, I4(64)), "overlap"),
        (lambda cp, a, b: (np.float32(2), b[:40], b[32:], I4(32)), "overlap"),
    ],
)
def test_arguments_that_do_not_fit_the_signature(cp, scale, pair, arguments, message):
    with pytest.raises(TypeError, match=message):
        scale((1,), (64,), arguments(cp, *pair))


@pytest.mark.parametrize(
    ("grid", "block", "shared"),
    [
        ((0,), (64,), 0),
        ((1,), (0,), 0),
        ((1,), (1025,), 0),
        ((1,), (64, 32), 0),
        ((1, 65536), (64,), 0),
        ((1,), (1, 1, 65), 0),
        ((1,), (64,), (48 << 10) + 1),
    ],
)
def test_launches_outside_the_limits(cp, scale, pair, grid, block, shared):
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="INVALID_VALUE"):
        scale(grid, block, (np.float32(2), *pair, I4(64)), shared_mem=shared)


@pytest.mark.parametrize(("grid", "block"), [(1, (64,)), ((1,), 64), ((1.0,), (64,)), ((), (64,))])
def test_geometry_is_a_tuple_of_integers(scale, pair, grid, block):
    with pytest.raises(TypeError):
        scale(grid, block, (np.float32(2), *pair, I4(64)))


def test_launch_bounds_are_a_limit(cp):
    kernel = demo.module("demo.cu").get_function("sum_of_64")
    assert kernel.max_threads_per_block == 64
    with pytest.raises(cp.cuda.driver.CUDADriverError):
        kernel((1,), (128,), (cp.ones(128), cp.empty(1), I4(128)))


def test_more_shared_memory_on_request(cp):
    kernel = demo.module("demo.cu").get_function("histogram")
    kernel.max_dynamic_shared_size_bytes = 64 << 10
    bin, counts = cp.zeros(1, cp.int32), cp.zeros(15000, cp.uint64)
    kernel((1,), (32,), (bin, counts, I4(15000), I4(1)), shared_mem=60000)
    assert int(counts[0]) == 1
    with pytest.raises(cp.cuda.driver.CUDADriverError):
        kernel.max_dynamic_shared_size_bytes = 1 << 20


# ---- memory ----


def test_memory_starts_as_nan(cp):
    assert np.isnan(cp.empty(5).get()).all()
    assert cp.empty(5, cp.int32).get().tolist() == [-1] * 5


def test_an_empty_array_has_no_address(cp):
    empty = cp.empty((0, 3), cp.float32)
    assert (empty.data.ptr, empty.shape, empty.get().shape) == (0, (0, 3), (0, 3))


def test_freed_memory_is_not_used_again_at_once(cp):
    addresses = {cp.empty(1000).data.ptr for _ in range(50)}
    assert len(addresses) == 50


def test_out_of_memory_and_what_the_pool_says(cp, monkeypatch):
    from cpudevice import settings

    pool = cp.get_default_memory_pool()
    pool.free_all_blocks()
    used = pool.used_bytes()
    monkeypatch.setattr(settings, "memory", used + (1 << 20))
    free, total = cp.cuda.runtime.memGetInfo()
    assert (free, total) == (1 << 20, settings.memory)
    with pytest.raises(cp.cuda.memory.OutOfMemoryError):
        cp.empty((1 << 20) + 1, cp.uint8)
    kept = cp.empty(1 << 19, cp.uint8)
    assert pool.used_bytes() == used + (1 << 19)
    del kept
    assert pool.used_bytes() == used
    assert cp.cuda.Device().mem_info[0] == 1 << 19, "the pool keeps what arrays gave back"
    cp.empty(1 << 20, cp.uint8)  # the pool frees the kept memory when another size needs the room
    pool.free_all_blocks()
    assert cp.cuda.Device().mem_info[0] == 1 << 20


def test_two_devices_do_not_share_arrays(cp, scale, pair, monkeypatch):
    from cpudevice import settings

    with pytest.raises(cp.cuda.runtime.CUDARuntimeError):
        cp.cuda.Device(1).use()
    monkeypatch.setattr(settings, "devices", 2)
    with cp.cuda.Device(1):
        other = cp.empty(64, cp.float32)
        assert other.device.id == 1
        with pytest.raises(ValueError, match="device 0"):
            scale((1,), (64,), (np.float32(2), pair[0], other, I4(64)))
        with pytest.raises(ValueError, match="device 0"):
            other + pair[0]
    assert cp.cuda.Device().id == 0


def test_no_device(cp, monkeypatch):
    from cpudevice import settings

    monkeypatch.setattr(settings, "devices", 0)
    assert not cp.is_available()
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="NoDevice"):
        cp.cuda.runtime.getDeviceCount()


# ---- streams run as late as possible ----


@pytest.fixture
def pinned():
    import cupyx

    return cupyx.empty_pinned


def test_a_copy_arrives_with_the_synchronisation(cp, scale, pinned):
    stream = cp.cuda.Stream(non_blocking=True)
    source, home = pinned(64, np.float32), pinned(64, np.float32)
    source[:] = 3
    device, out = cp.empty(64, cp.float32), cp.empty(64, cp.float32)
    with stream:
        device.set(source)
        scale((1,), (64,), (np.float32(2), device, out, I4(64)))
        out.get(out=home, blocking=False)
    assert np.isnan(home).all()
    assert not stream.done
    stream.synchronize()
    assert home.tolist() == [6.0] * 64


def test_a_pinned_buffer_filled_again_too_early(cp, pinned):
    source, device = pinned(4, np.float32), cp.empty(4, cp.float32)
    with cp.cuda.Stream(non_blocking=True) as stream:
        source[:] = 1
        device.set(source)
        source[:] = 2  # the upload has not been waited for
        stream.synchronize()
        assert device.get().tolist() == [2.0] * 4


def test_an_event_that_nobody_waits_for(cp, pinned):
    """Data of one stream are used in another stream: without the event they have not arrived, with it they have."""
    first, second = cp.cuda.Stream(non_blocking=True), cp.cuda.Stream(non_blocking=True)
    source = pinned(4, np.float32)
    source[:] = 1
    for waits in (False, True):
        device = cp.empty(4, cp.float32)
        with first:
            device.set(source)
            event = first.record()
        with second:
            if waits:
                second.wait_event(event)
            total = float((device + 1).sum())
        assert total == 8 if waits else np.isnan(total)
        assert event.done == waits


def test_the_default_stream_waits_for_blocking_ones(cp, pinned):
    source = pinned(4, np.float32)
    source[:] = 1
    for non_blocking in (False, True):
        device = cp.empty(4, cp.float32)
        with cp.cuda.Stream(non_blocking=non_blocking):
            device.set(source)
        assert np.isnan(device.get()).all() == non_blocking


def test_asynchronous_copies_need_pinned_memory(cp, pair):
    with pytest.raises(RuntimeError, match="not pinned"):
        pair[0].get(out=np.empty(64, np.float32), blocking=False)


def test_pageable_memory_is_taken_at_once(cp):
    host, device = np.ones(4, np.float32), cp.empty(4, cp.float32)
    with cp.cuda.Stream(non_blocking=True):
        device.set(host)
        uploaded = cp.asarray(host)
        host[:] = 2
        assert device.get().tolist() == uploaded.get().tolist() == [1.0] * 4


def test_an_error_comes_late_and_names_the_launch(cp, scale, pair):
    from tests.device.mistakes import MISTAKES

    module = demo.module("mistakes.cu")
    module.get_function(MISTAKES[0].name)((1,), (128,), (cp.empty(100, cp.float32), I4(1)))
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="illegal memory access") as caught:
        cp.cuda.Device().synchronize()
    assert "test_standin.py" in caught.value.__notes__[0]
    scale((1,), (64,), (np.float32(2), *pair, I4(64)))
    assert pair[1].get().tolist() == [2.0] * 64


def test_elapsed_time(cp):
    start, end = cp.cuda.Event(), cp.cuda.Event()
    start.record()
    end.record()
    with pytest.raises(RuntimeError):
        cp.cuda.get_elapsed_time(start, end)
    end.synchronize()
    assert cp.cuda.get_elapsed_time(start, end) >= 0


# ---- installing and removing the stand-in ----


def test_put_away_and_back(cp):

    device.uninstall()
    assert "cupy" not in sys.modules
    device.install()
    import cupy

    assert cupy is cp


def test_refuses_when_the_real_one_is_there(cp):

    device.uninstall()
    try:
        sys.modules["cupy"] = type(sys)("cupy")
        with pytest.raises(RuntimeError, match="imported already"):
            device.install()
    finally:
        del sys.modules["cupy"]
        device.install()


def test_found_by_another_process():
    done = subprocess.run(
        [sys.executable, "-c", "import cupy, cpudevice; print(cpudevice.settings.orders, cupy.is_available())"],
        env=environment(orders="forward,reverse,9"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "(0, 1, 9) True\n"


def test_steps_run_in_every_order_and_whole_nights_in_one(monkeypatch):
    from cpudevice import settings

    assert settings.orders == settings.default_orders
    monkeypatch.delenv("GPUANOM_DEVICE_ORDERS", raising=False)
    try:
        device.in_every_order(False)
        assert settings.orders == (0,)
        assert environment()["GPUANOM_DEVICE_ORDERS"] == "forward"
        assert environment(orders="reverse")["GPUANOM_DEVICE_ORDERS"] == "reverse"
        monkeypatch.setenv("GPUANOM_DEVICE_ORDERS", "5")
        device.in_every_order(False)
        assert settings.orders == settings.default_orders
    finally:
        device.in_every_order(True)
