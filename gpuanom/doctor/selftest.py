"""Every step of a backend on a small artificial sky, compared with the CPU within the parity that the step declares."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from gpuanom.backends.protocol import Backend
from gpuanom.doctor.findings import StepFinding
from gpuanom.errors import printable
from gpuanom.fits import discover, open_ccds
from gpuanom.fits.headers.astropy_warnings import ignore_astropy_warnings
from gpuanom.measuring.points import Step, draw_points
from gpuanom.records import Background, Ccd, CcdOnDisk, CcdStack, Doubles, FloatImage, Gradients, Sources, Turn, Unfit
from gpuanom.settings import Settings

SHAPE = (301, 389)
"""Shape of the CCDs: no multiple of a tile or a warp, so that the kernels' edges are tested too."""
SETTINGS = Settings(background_points=300, sigma_points=600, gradient_points=400, draws=2)

# Results of a step: name, allowed difference, unit, and the difference found.
Results = Iterator[tuple[str, float, str, float]]


def check(backend: Backend, twin: Backend) -> tuple[StepFinding, ...]:
    """Compare every step of two backends.

    Parameters
    ----------
    backend : Backend
        The backend to be tested.
    twin : Backend
        The backend that is trusted, with NumPy arrays: the CPU.

    Returns
    -------
    tuple of StepFinding
        In the order of the steps. An error in a step becomes a finding, never an exception. Each
        step takes the twin's results of the steps before, so that a wrong step fails alone; only
        the pixels, and the sources of `stamps`, come from the tested backend.
    """
    sky = _Sky(backend, twin)
    found: list[StepFinding] = []
    for step, results in _STEPS.items():
        try:
            found += [StepFinding(step, *result) for result in results(sky)]
        except Exception as error:  # from the compiler, the device or gpuanom itself
            text = f"{type(error).__name__}: {printable(str(error))}"
            found.append(StepFinding(step, "", 0.0, "", float("inf"), text))
    return tuple(found)


class _Sky:
    """Three CCDs (one masked, one with NaN, one without noise), the points, and the twin's results of each step."""

    def __init__(self, backend: Backend, twin: Backend) -> None:
        self.backend, self.twin = backend, twin
        self.ccds = [_ccd(0), _ccd(1), Ccd("2", np.full(SHAPE, 7.0, np.float32))]
        self.names = [ccd.name for ccd in self.ccds]
        n = len(self.ccds)
        self.stack = twin.prepare(self.ccds, n)
        self.fit, self.noise, self.points = self.drawn("background"), self.drawn("sigma"), self.drawn("gradients")
        self.turns = np.array([Turn.NONE, Turn.MIRRORED_QUARTER, Turn.QUARTER], np.int64)
        self.background: Background = twin.background(self.stack, self.fit, self.noise, SETTINGS)
        self.sources: Sources = twin.sources(self.stack, self.background, SETTINGS)
        self.gradients: Gradients = twin.gradients(self.stack, self.points, self.background, SETTINGS)
        self.angles: Doubles = twin.gradient_orientation(self.gradients.dx, self.gradients.dy)
        self.level = float(np.median(np.abs(self.ccds[0].image)))  # type: ignore[arg-type]

    def drawn(self, step: Step) -> npt.NDArray[np.int32]:
        """The points of every CCD for one step, (n_ccd, n_draws, 2)."""
        return self.twin.to_host(draw_points(["test"] * len(self.names), self.names, step, *SHAPE, SETTINGS, self.twin))

    def on_device(self) -> tuple[CcdStack, Background]:
        """Return the CCDs and the twin's background on the tested backend's device."""
        fields = vars(self.background).items()
        background = Background(**{name: self.backend.to_device(array) for name, array in fields})
        return self.backend.prepare(self.ccds, len(self.ccds)), background

    def with_sources(self) -> tuple[CcdStack, Background, Sources]:
        """Return the same with the sources that the tested backend finds there."""
        stack, background = self.on_device()
        return stack, background, self.backend.sources(stack, background, SETTINGS)

    def on_host(self, array: Any) -> npt.NDArray[Any]:
        """Return an array of the tested backend on the host."""
        return self.backend.to_host((array,))[0]  # type: ignore[no-any-return]


def _ccd(number: int) -> Ccd:
    ny, nx = SHAPE
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:ny, :nx].astype(float)
    image = 1000.0 + 0.2 * x - 0.3 * y + rng.normal(0.0, 8.0, SHAPE)
    for _ in range(12):
        y0, x0, height, angle = rng.uniform(20, ny - 20), rng.uniform(20, nx - 20), rng.uniform(200, 2000), 1.0
        along, across = _turned(y - y0, x - x0, angle + number)
        image += height * np.exp(-((along / 3.0) ** 2) - (across / 2.0) ** 2)
    bad = None
    if number == 0:
        bad = np.zeros(SHAPE, np.uint8)
        bad[30:50, 60:64] = Unfit.BACKGROUND | Unfit.SOURCES | Unfit.GRADIENTS
    else:
        image[70:72, 90:140] = np.nan
    return Ccd(str(number), np.ascontiguousarray(image, np.float32), bad, saturation=2500.0)


def _turned(y: Doubles, x: Doubles, angle: float) -> tuple[Doubles, Doubles]:
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


# Differences


def _difference(*pairs: tuple[Any, Any]) -> float:
    """Return the largest difference within several pairs of arrays; 0 where each pair has equal values."""
    return max(_largest(actual, expected, 1.0) for actual, expected in pairs)


def _largest(actual: Any, expected: Any, scale: Any) -> float:
    """Return the largest difference of two arrays in units of a scale; infinite if shapes or missing values differ."""
    if actual is None or expected is None:
        return 0.0 if actual is expected else float("inf")
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        return float("inf")
    wide = np.float64 if "f" in actual.dtype.kind + expected.dtype.kind else np.int64
    actual, expected = actual.astype(wide), expected.astype(wide)
    if not np.array_equal(np.isfinite(actual), np.isfinite(expected)):
        return float("inf")
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.where((actual == expected) | ~np.isfinite(actual), 0.0, np.abs(actual - expected) / scale)
    return float(off.max(initial=0.0))


def _units(actual: Any, expected: Any) -> float:
    """Return the largest difference in units in the last place."""
    return _largest(actual, expected, np.spacing(np.abs(expected)))


# The steps


def _prepare(sky: _Sky) -> Results:
    found = sky.backend.to_host(sky.on_device()[0])
    pairs = ((found.images, sky.stack.images), (found.bad, sky.stack.bad), (found.saturation, sky.stack.saturation))
    yield "pixels, masks", 0.0, "", _difference(*pairs)
    if not sky.backend.takes_encoded:
        return
    with tempfile.TemporaryDirectory(prefix="gpuanom-") as folder:
        path = Path(folder) / "test.fits"
        _write(path, np.nan_to_num(np.asarray(sky.ccds[1].image), nan=500.0))
        (exposure,) = discover([path], SETTINGS).exposures
        on_disk = [ccd for ccd in open_ccds(exposure, SETTINGS) if isinstance(ccd, CcdOnDisk)]
        decoded, stored = ([ccd.load(encoded=encoded) for ccd in on_disk] for encoded in (False, True))
    expected = np.stack([np.asarray(ccd.image) for ccd in decoded if isinstance(ccd, Ccd)])
    stack = sky.backend.prepare((ccd for ccd in stored if isinstance(ccd, Ccd)), len(stored))
    images, damaged = sky.backend.to_host((stack.images, stack.damaged))
    none_damaged = np.full(len(stored), -1)
    yield "files' own bytes, decoded", 0.0, "", _difference((images, expected), (damaged, none_damaged))


def _write(path: Path, image: FloatImage) -> None:
    """Write a file with an image of every form that a GPU decodes."""
    whole = np.round(image)
    rice: dict[str, Any] = {"compression_type": "RICE_1"}
    hdus = [
        fits.ImageHDU(image),
        fits.ImageHDU(whole.astype(np.int16)),
        fits.ImageHDU(whole.astype(np.int32)),
        fits.CompImageHDU(whole.astype(np.int16), **rice),
        fits.CompImageHDU(whole.astype(np.int32), **rice),
        fits.CompImageHDU(image, quantize_method=1, dither_seed=1, **rice),
        fits.CompImageHDU(image, quantize_method=2, dither_seed=10000, tile_shape=(50, 100), **rice),
    ]
    for number, hdu in enumerate(hdus, 1):
        hdu.header["EXTNAME"] = f"N{number}"
    with ignore_astropy_warnings():
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)


def _points(sky: _Sky) -> Results:
    steps: tuple[Step, ...] = ("sigma", "gradients")
    drawn = [draw_points(["test"] * len(sky.names), sky.names, step, *SHAPE, SETTINGS, sky.backend) for step in steps]
    yield "places", 0.0, "", _difference(*zip(sky.backend.to_host(drawn), (sky.noise, sky.points), strict=True))


def _background(sky: _Sky) -> Results:
    stack, _ = sky.on_device()
    found = sky.backend.to_host(sky.backend.background(stack, sky.fit, sky.noise, SETTINGS))
    expected = sky.background
    names = ("n_points", "n_sigma_points", "usable")
    yield "points, CCDs", 0.0, "", _difference(*_pairs(found, expected, names))
    yield "polynomial", 1e-12, "of the sky", _largest(found.coefficients, expected.coefficients, sky.level)
    # Sigma comes from differences of pixels and polynomial, so three errors of the polynomial are
    # added to its own.
    yield "sigma", 4e-12, "of the sky", _largest(found.sigma, expected.sigma, sky.level)


def _sources(sky: _Sky) -> Results:
    found = sky.backend.to_host(sky.backend.sources(*sky.on_device(), SETTINGS))
    expected = sky.sources
    names = ("ccd", "y", "x", "value", "n_above", "n_isophote", "n_sources", "n_bad", "n_saturated")
    yield "positions, counts", 0.0, "", _difference(*_pairs(found, expected, names))
    for name in ("moments", "isophote_moments"):
        sums = getattr(expected, name)
        # All terms of Q20 and Q02 are positive; those of Q11 may not be, but |xy| is at most half
        # of x^2 + y^2.
        scale = np.stack([sums[:, 0], sums[:, 1], (sums[:, 0] + sums[:, 1]) / 2], axis=1)
        yield name.replace("_", " "), 1e-12, "of their terms", _largest(getattr(found, name), sums, scale)


def _gradients(sky: _Sky) -> Results:
    stack, background = sky.on_device()
    found = sky.backend.to_host(sky.backend.gradients(stack, sky.points, background, SETTINGS))
    expected = sky.gradients
    yield "points", 0.0, "", _difference(*_pairs(found, expected, ("ccd", "n_points")))
    pairs = _pairs(found, expected, ("dx", "dy", "flat_dx", "flat_dy"))
    yield "gradients", 1e-12, "of the sky", max(_largest(*pair, sky.level) for pair in pairs)


def _patterns(sky: _Sky) -> Results:
    found = sky.backend.to_host(sky.backend.patterns(*sky.on_device(), SETTINGS))
    expected = sky.twin.patterns(sky.stack, sky.background, SETTINGS)
    pairs = [pair for both in zip(found, expected, strict=True) for pair in _pairs(*both, tuple(vars(both[1])))]
    yield "sums, powers", 0.0, "", _difference(*pairs)


def _profiles(sky: _Sky) -> Results:
    _, sums, _ = sky.backend.patterns(*sky.on_device(), SETTINGS)
    found = sky.backend.to_host(sky.backend.profiles(sums))
    expected = sky.twin.profiles(sky.twin.patterns(sky.stack, sky.background, SETTINGS)[1])
    yield "jitter, steps", 0.0, "", _difference(*_pairs(found, expected, tuple(vars(expected))))


def _lines(sky: _Sky) -> Results:
    _, _, bins = sky.backend.patterns(*sky.on_device(), SETTINGS)
    found = sky.on_host(sky.backend.lines(bins))
    expected = sky.twin.lines(sky.twin.patterns(sky.stack, sky.background, SETTINGS)[2])
    yield "heights, ends", 0.0, "", _difference((found, expected))


def _stamps(sky: _Sky) -> Results:
    found = sky.on_host(sky.backend.stamps(*sky.with_sources(), SETTINGS))
    yield "pixels", 0.0, "", _difference((found, sky.twin.stamps(sky.stack, sky.background, sky.sources, SETTINGS)))


def _shapes(sky: _Sky) -> Results:
    found = sky.backend.to_host(sky.backend.shapes(*sky.with_sources(), SETTINGS))
    expected = sky.twin.shapes(sky.stack, sky.background, sky.sources, SETTINGS)
    yield "moments, widths", 0.0, "", _difference(*_pairs(found, expected, ("centre", "moments", "spoilt", "width")))


def _repeats(sky: _Sky) -> Results:
    # The CCDs alternate between two exposures, of which pairs are counted apart.
    exposures = np.arange(len(sky.turns), dtype=np.int64) % 2
    found = sky.backend.to_host(sky.backend.repeats(*sky.with_sources(), sky.turns, exposures, SETTINGS))
    expected = sky.twin.repeats(sky.stack, sky.background, sky.sources, sky.turns, exposures, SETTINGS)
    yield "pairs", 0.0, "", _difference(*_pairs(found, expected, ("pairs", "n_maxima")))


def _orientation(sky: _Sky) -> Results:
    moments = np.concatenate([sky.sources.moments, sky.sources.isophote_moments])
    found = sky.on_host(sky.backend.orientation(sky.backend.to_device(moments)))
    yield "angles", 4.0, "ulp", _units(found, sky.twin.orientation(moments))


def _gradient_orientation(sky: _Sky) -> Results:
    to_device = sky.backend.to_device
    found = sky.on_host(sky.backend.gradient_orientation(to_device(sky.gradients.dx), to_device(sky.gradients.dy)))
    yield "angles", 4.0, "ulp", _units(found, sky.angles)


def _histogram(sky: _Sky) -> Results:
    ccd, bins = sky.gradients.ccd, SETTINGS.bins
    to_device = sky.backend.to_device
    found = sky.backend.to_host(sky.backend.histogram(to_device(sky.angles), to_device(ccd), sky.turns, bins))
    expected = sky.twin.histogram(sky.angles, ccd, sky.turns, bins)
    yield "counts", 0.0, "", _difference((found.counts, expected.counts))
    n = max(1, len(sky.angles))
    pairs = _pairs(found, expected, ("cosine", "sine"))
    yield "sums", 1e-12, "of their number", max(_largest(*pair, n) for pair in pairs)


def _divergence(sky: _Sky) -> Results:
    counts = sky.twin.histogram(sky.angles, sky.gradients.ccd, sky.turns, SETTINGS.bins).counts
    reference = (counts.sum(axis=0) + 1.0) / (counts.sum() + SETTINGS.bins)
    to_device = sky.backend.to_device
    found = sky.on_host(sky.backend.divergence(to_device(counts), to_device(reference)))
    scale = max(1.0, float(np.abs(np.log(reference)).max()))
    yield "KL", 1e-14, "of its terms", _largest(found, sky.twin.divergence(counts, reference), scale)


def _pairs(found: Any, expected: Any, names: tuple[str, ...]) -> list[tuple[Any, Any]]:
    return [(getattr(found, name), getattr(expected, name)) for name in names]


_STEPS: dict[str, Callable[[_Sky], Results]] = {
    "prepare": _prepare,
    "points": _points,
    "background": _background,
    "sources": _sources,
    "gradients": _gradients,
    "patterns": _patterns,
    "profiles": _profiles,
    "lines": _lines,
    "stamps": _stamps,
    "shapes": _shapes,
    "repeats": _repeats,
    "orientation": _orientation,
    "gradient_orientation": _gradient_orientation,
    "histogram": _histogram,
    "divergence": _divergence,
}
