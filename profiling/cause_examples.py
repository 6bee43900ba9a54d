"""What is put into the exposures of docs/what-the-picture-means.md: one example for each cause of a verdict."""

from __future__ import annotations

import numpy as np
from cause_night import SIDE, Example

Images = list[np.ndarray]

_Y, _X = np.mgrid[:SIDE, :SIDE].astype(np.float64)


def read_noise(images: Images, rng: np.random.Generator) -> None:
    """One CCD is read out with a noise of 60 electrons."""
    images[2] += rng.normal(0.0, 60.0, (SIDE, SIDE))


def column_levels(images: Images, rng: np.random.Generator) -> None:
    """Each column of each CCD has a level of its own, with a scatter of 15 electrons."""
    for image in images:
        image += rng.normal(0.0, 15.0, SIDE)[None, :]


def darker_ccd(images: Images, _: np.random.Generator) -> None:
    """400 electrons are missing on one CCD."""
    images[1] -= 400.0


def slope(images: Images, _: np.random.Generator) -> None:
    """The light rises by 30% along x, on every CCD."""
    for image in images:
        image *= 1.0 + 0.3 * _X / SIDE


def slope_of_one(images: Images, _: np.random.Generator) -> None:
    """The light rises by 30% along x on one CCD, about an unchanged middle."""
    images[3] *= 1.0 + 0.3 * (_X / SIDE - 0.5)


def steep_slope_of_one(images: Images, _: np.random.Generator) -> None:
    """The light rises by 60% along x on one CCD, about an unchanged middle."""
    images[3] *= 1.0 + 0.6 * (_X / SIDE - 0.5)


def hot_pixels(images: Images, rng: np.random.Generator) -> None:
    """One pixel of 500 holds some thousand electrons more, on every CCD."""
    for image in images:
        hot = rng.random((SIDE, SIDE)) < 0.002
        image[hot] += rng.exponential(3000.0, np.count_nonzero(hot))


def _one(cause: str, number: int, words: str, about: str = "", *show: str) -> Example:
    """An anomaly of `gpuanom simulate`."""
    put_in = f"`{words}`{about and f': {about}'}."
    return Example(number, cause, put_in, anomaly=words, show=("plane", *show))


_LIST = (
    _one("elongated", 217, "elongation:0.25", "a shear of 0.25 is added to the PSF", "stamps"),
    _one("elongated or doubled", 416, "elongation:0.3%25", "on one CCD of the four", "stars"),
    _one("tilted or coma", 218, "tilt:0.3", "", "stars"),
    _one("repeated images", 224, "repeats:0.3", "30% of the light in a second image, 40 pixels away", "stamps"),
    _one("out of focus", 221, "donuts:16%25", "donuts of 16 pixels on one CCD of the four", "stars"),
    _one("out of focus or coma", 220, "donuts:4", "donuts of 4 pixels, less than the seeing", "stamps"),
    _one("donut or out of focus", 219, "donuts:16", "donuts of 16 pixels", "stamps"),
    Example(
        529,
        "out of focus or poor seeing",
        "Conditions: a seeing of 8 pixels, where 3.8 are usual, and half the usual density of sources.",
        conditions={"fwhm": 8.0, "density": 0.5},
        show=("plane", "stamps"),
    ),
    _one("few sources", 1100, "clouds:0.9", "clouds take 90% of the light"),
    Example(
        1101,
        "few stars among the sources",
        "Pixels: one of 500 holds some thousand electrons more, on every CCD, as hot pixels do that no mask names.",
        change=hot_pixels,
        show=("plane", "stamps"),
    ),
    _one("streak", 226, "streak:9", "nine times the noise of the sky at the crest"),
    Example(
        236, "a large bright area", "Conditions: 1.8 times the usual density of sources.", conditions={"density": 1.8}
    ),
    _one("stripes", 215, "stripes:0.3", "a period of 32 pixels", "map", "flat"),
    _one("waves", 212, "fringing:0.3", "", "map"),
    _one("waves or stripes", 2064, "treerings:0.2%25", "tree rings on one CCD of the four", "map"),
    _one("waves or stripes of the background", 2028, "fringing:0.18", "", "map", "flat"),
    Example(
        3035,
        "a slope, waves or stripes",
        "Pixels: the light rises by 60% along x on one CCD, about an unchanged middle.",
        change=steep_slope_of_one,
        show=("plane", "background"),
    ),
    Example(
        405,
        "a slope, waves or stripes of the background",
        "Pixels: the light rises by 30% along x, on every CCD.",
        change=slope,
        show=("plane", "background"),
    ),
    _one(
        "row jitter",
        222,
        "jitter:0.3",
        "each row has a level of its own, with a scatter of 0.3 times the noise of the sky",
        "map",
    ),
    Example(
        229,
        "column jitter",
        "Pixels: each column has a level of its own, with a scatter of 15 electrons.",
        change=column_levels,
        show=("plane", "map"),
    ),
    _one("crosstalk", 201, "crosstalk:0.01", "1% of the light"),
    _one("bright sky", 205, "moonlight:3", "the sky is four times as bright"),
    Example(
        241, "dark sky", "Conditions: a sky of 350 electrons, where 900 to 1600 are usual.", conditions={"sky": 350.0}
    ),
    _one("glow or bright sky", 206, "moonlight:1%25", "twice the sky on one CCD of the four"),
    Example(232, "shadow or dark sky", "Pixels: 400 electrons are missing on one CCD.", change=darker_ccd),
    Example(228, "noise", "Pixels: a further noise of 60 electrons on one CCD.", change=read_noise),
    _one("dead amplifier", 202, "dead:1", "half of one CCD without its light", "map"),
    _one(
        "amplifier step",
        211,
        "amplifier:3",
        "half of one CCD brighter by three times the noise of the sky",
        "map",
        "steps",
    ),
    _one("uneven background", 428, "stripes:0.5/300", "stripes so wide that the map sees them as patches", "map"),
    Example(
        3029,
        "glow",
        "Pixels: the light rises by 30% along x on one CCD, about an unchanged middle.",
        change=slope_of_one,
        show=("plane", "map"),
    ),
    _one("ring or ghost", 209, "ghost:3", "a disc with a hole, three times as bright as the noise of the sky", "map"),
)

EXAMPLES: dict[str, Example] = {example.cause: example for example in _LIST}
"""The examples, by the cause that the verdict is to name."""

HEADS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Stars and galaxies",
        "Whiskers, stamps and the map of the FWHM show what is wrong with the shapes of the sources.",
        (
            "elongated",
            "elongated or doubled",
            "elongated or trailed",
            "elongated, trailed or repeated",
            "tilted",
            "tilted or coma",
            "repeated images",
            "out of focus",
            "out of focus or coma",
            "out of focus or poor seeing",
            "donut or out of focus",
        ),
    ),
    (
        "The number and the form of the sources",
        "What is missing, what is too much, and what looks like nothing seen before.",
        (
            "few sources",
            "few stars among the sources",
            "many sources",
            "a large bright area",
            "ring or ghost, or a bright star",
            "sources of an unusual form",
            "like the exposures that were labelled prominent",
            "streak",
        ),
    ),
    (
        "Patterns of the background",
        "Patterns have a direction, and most have a period.",
        (
            "stripes",
            "stripes or waves",
            "waves",
            "waves or stripes",
            "waves or stripes of the background",
            "a slope, waves or stripes",
            "a slope, waves or stripes of the background",
            "row jitter",
            "column jitter",
            "crosstalk",
        ),
    ),
    (
        "Level and noise of the background",
        "The level of the sky, of one CCD or of half a CCD.",
        (
            "bright sky",
            "dark sky",
            "glow or bright sky",
            "shadow or dark sky",
            "noise",
            "dead amplifier",
            "amplifier step",
        ),
    ),
    (
        "Places in the background",
        "The map of the residual sky shows where.",
        ("uneven background", "glow", "ring or ghost"),
    ),
)
"""The parts of the page: heading, a sentence, causes."""

_SHAPES = (
    "In the simulated exposures that were tried, the stars' shapes stood out more, and *{}* was named. By the rules,"
    " this cause is left where too few stars have a shape that can be measured."
)
_PERIODS = (
    "In the simulated exposures that were tried, one period always stood out, and *stripes* was named. By the rules,"
    " this cause is left where no period is strong."
)
_MODEL = "It needs {}, and the nights of this page were scored without a model."

NOT_MADE: dict[str, str] = {
    "elongated or trailed": _SHAPES.format("elongated"),
    "elongated, trailed or repeated": _SHAPES.format("elongated* or *repeated images"),
    "tilted": _SHAPES.format("tilted or coma"),
    "many sources": (
        "In the simulated exposures that were tried, a crowded field covered more of the CCDs, too, and *a large bright"
        " area* was named."
    ),
    "sources of an unusual form": _MODEL.format("an [autoencoder](autoencoder.md)"),
    "like the exposures that were labelled prominent": _MODEL.format(
        "a classifier that was [trained with labels](autoencoder.md)"
    ),
    "stripes or waves": _PERIODS,
    "ring or ghost, or a bright star": (
        "In the simulated exposures that were tried, discs of 70 to 120 pixels radius on one CCD, *ring or ghost*,"
        " *crosstalk* and others were named. By the rules, this cause is left where one masked patch stands out most."
    ),
}
"""Why there is no example of a cause."""
