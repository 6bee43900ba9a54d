"""Errors of stamps: eq. 9 to rounding, independent of the batch, the same on both backends; bad stamps are left out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import gpuanom
from gpuanom.autoencoder.scoring import ROWS, Scorer
from gpuanom.autoencoder.tensors import require_shared
from gpuanom.backends.choice import select
from gpuanom.errors import DeviceError
from gpuanom.measuring.exposure import measure_ccds
from gpuanom.records import Ccd
from tests import device, sky
from tests.autoencoder import made

# Sums of 4096 float64 terms in another order.
ROUNDING = 1e-12


@pytest.fixture
def scorer():
    with Scorer(made.model(seed=2)) as found:
        yield found


def field(seed, *, n=12, shape=(400, 420), double=None):
    """A CCD of stars, or of double stars."""
    layers = []
    rng = np.random.default_rng(seed)
    for i in range(n):
        y, x = 50 + 100 * (i // 4) + rng.uniform(-9, 9), 50 + 100 * (i % 4) + rng.uniform(-9, 9)
        height = rng.uniform(500, 2000)
        layers.append(sky.gaussian(y, x, height))
        if double:
            layers.append(sky.gaussian(y + double, x, 0.9 * height))
    return sky.make(*shape, *layers, noise=8.0, seed=seed)


def ccds(*seeds, **options):
    return [Ccd(f"N{seed}", field(seed, **options)) for seed in seeds]


def measured(given, backend, scorer):
    return measure_ccds("e", given, made.QUICK, backend, scorer)


def test_errors_are_the_methods(scorer):
    stamps = made.star_stamps(40, seed=3)
    expected, features = made.reconstructed(scorer.model.weights, stamps)
    errors, latent = scorer.errors(np.array(stamps).reshape(-1, 64, 64), select("cpu"), ROWS["cpu"])
    np.testing.assert_allclose(errors, np.square(expected - stamps).mean(axis=1), rtol=ROUNDING)
    np.testing.assert_allclose(latent, features, rtol=0, atol=ROUNDING)


def test_a_measurement_carries_them(scorer):
    given = ccds(1, 2)
    got, plain = measured(given, select("cpu"), scorer), measured(given, select("cpu"), None)
    for a, b in zip(got, plain, strict=True):
        assert b.reconstruction is None
        assert np.array_equal(a.counts, b.counts)
        assert a.reconstruction.n_stamps == a.n_sources >= 10
        assert a.reconstruction.latent.shape == (2, 32)
        # The sum of squares is at least the square of the sum divided by the number of terms.
        total, squares = a.reconstruction.latent
        assert np.all(squares * a.n_sources >= total**2 * (1 - ROUNDING))


def test_stamps_alone_give_the_same_and_no_histograms(scorer):
    given = ccds(1, 2)
    whole = measured(given, select("cpu"), scorer)
    alone = measured(given, select("cpu"), Scorer(scorer.model, stamps_only=True))
    for a, b in zip(alone, whole, strict=True):
        assert a.reconstruction.error == b.reconstruction.error
        assert np.array_equal(a.reconstruction.latent, b.reconstruction.latent)
        assert (a.status, a.n_sources) == (b.status, b.n_sources)
        assert not a.counts.any()
        assert a.n_gradients == 0


def test_a_stamps_error_does_not_depend_on_what_is_beside_it(scorer):
    stamps = np.array(made.star_stamps(130, seed=4)).reshape(-1, 64, 64)
    rows, backend = ROWS["cpu"], select("cpu")
    whole = [scorer.errors(stamps[i : i + rows], backend, rows) for i in range(0, 130, rows)]
    errors = np.concatenate([e for e, _ in whole])
    # Equal bits: a stamp at the same position in a batch of the same shape, whatever stamps fill the other positions.
    for n in (1, 5, 63):
        given, _ = scorer.errors(stamps[:n], backend, rows)
        assert np.array_equal(given, errors[:n])
    torch.set_num_threads(2)
    once, _ = measured(ccds(1, 2), backend, scorer)
    assert torch.get_num_threads() == 1
    assert once.reconstruction.error == measured(ccds(1), backend, scorer)[0].reconstruction.error


def test_both_backends_agree(scorer):
    given = ccds(1, 2, 3)
    expected = measured(given, select("cpu"), scorer)
    with device.installed():
        got = measured(given, select("0"), scorer)
        alone = measured(given, select("0"), Scorer(scorer.model, stamps_only=True))
    for a, b, c in zip(got, expected, alone, strict=True):
        assert a.reconstruction.n_stamps == b.reconstruction.n_stamps
        # Stamps are float32, and their backgrounds agree to 1e-12: rarely a pixel differs by 6e-8 of the centre.
        assert a.reconstruction.error == pytest.approx(b.reconstruction.error, rel=1e-9)
        np.testing.assert_allclose(a.reconstruction.latent, b.reconstruction.latent, rtol=1e-6, atol=1e-6)
        assert c.reconstruction.error == a.reconstruction.error


def test_in_batches_smaller_than_a_ccd_the_device_gives_the_same(scorer, monkeypatch):
    given = ccds(1, 2)
    with device.installed():
        whole = measured(given, select("0"), scorer)
        monkeypatch.setitem(ROWS, "gpu", 5)
        parts = measured(given, select("0"), scorer)
    for a, b in zip(whole, parts, strict=True):
        assert a.reconstruction.n_stamps == b.reconstruction.n_stamps > 5
        assert a.reconstruction.error == pytest.approx(b.reconstruction.error, rel=ROUNDING)


def test_stamps_that_are_not_finite_are_left_out(scorer, monkeypatch):
    backend = select("cpu")
    (before,) = measured(ccds(1), backend, scorer)
    cut = type(backend).stamps

    def spoiling(self, *arguments):
        stamps = cut(self, *arguments)
        stamps[2, 3, 3] = np.nan
        stamps[5, 60, 1] = np.inf
        return stamps

    monkeypatch.setattr(type(backend), "stamps", spoiling)
    (after,) = measured(ccds(1), backend, scorer)
    assert after.reconstruction.n_stamps == before.reconstruction.n_stamps - 2
    assert 0 < after.reconstruction.error < before.reconstruction.error
    assert np.isfinite(after.reconstruction.latent).all()


def test_no_sources_no_error(scorer):
    given = [Ccd("blank", sky.make(200, 200, noise=8.0))]
    (blank,) = measure_ccds("e", given, made.QUICK.replace(threshold=50.0), select("cpu"), scorer)
    assert (blank.n_sources, blank.reconstruction.n_stamps, blank.reconstruction.error) == (0, 0, 0.0)
    (constant,) = measured([Ccd("flat", sky.make(200, 200))], select("cpu"), scorer)
    assert constant.status == "constant"
    assert constant.reconstruction is None


def test_too_little_memory_on_the_device_halves_the_stack(gpu, scorer, monkeypatch):
    if not torch.cuda.is_available():
        called = []

        class Full(Scorer):
            def __call__(self, names, *arguments):
                called.append(len(names))
                if len(names) > 1:
                    raise MemoryError
                return super().__call__(names, *arguments)

        monkeypatch.setattr(type(gpu), "group_size", lambda *_: 4)
        got = measured(ccds(1, 2, 3, 4), gpu, Full(scorer.model))
        assert called == [4, 2, 1, 1, 2, 1, 1]
        assert all(c.reconstruction.n_stamps for c in got)


def test_a_pytorch_that_cannot_use_the_gpu_is_named(monkeypatch):
    class OnCuda:
        def __dlpack_device__(self):
            return 2, 3

    backend = select("cpu")
    require_shared(backend)
    monkeypatch.setattr(type(backend), "to_device", lambda *_: OnCuda())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"gpu 3: this PyTorch .* cannot use it \(install PyTorch's CUDA build"):
        require_shared(backend)


def test_a_scorer_can_be_sent_to_another_process(scorer):
    measured(ccds(1), select("cpu"), scorer)
    sent = pickle.loads(pickle.dumps(scorer))
    assert sent.fingerprint == scorer.fingerprint
    (a,), (b,) = measured(ccds(1), select("cpu"), sent), measured(ccds(1), select("cpu"), scorer)
    assert a.reconstruction.error == b.reconstruction.error


def test_the_number_of_threads_is_left_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Scorer(made.model()) as scorer:
            measured(ccds(1), select("cpu"), scorer)
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_gpuanom_itself_needs_no_pytorch():
    import subprocess
    import sys

    code = "import gpuanom, gpuanom.cli, sys; sys.exit('torch' in sys.modules or 'safetensors' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert gpuanom.__version__
