"""Which statistics decide a verdict, in which list, and what each is called when it stands out (METHOD.md 13).

A statistic whose column a night does not have is passed over: the verdict is made of what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gpuanom.statistics.spectrum import BANDS

LISTS: tuple[str, ...] = ("sources", "background", "shapes")
"""The lists that statistics are in: the largest evidence of each list counts, corrected for how many it holds."""

VECTOR_KINDS: tuple[str, ...] = ("source", "isophote", "flat_background")
"""Kinds of orientations whose mean vectors are judged (METHOD.md 12)."""

SOURCES_PER_STAR = "sources_per_star"
"""Sources of an exposure over its stars that were measured and one more. Hot pixels, cosmic rays that no mask names and
stars whose bright pixels were wrapped or cut off are sources without a star's shape."""

WORST, TYPICAL = "_worst_ccd", "_typical_ccd"
"""Ends of the names of statistics made of CCDs: the CCD that stands out most, and the median over the CCDs."""


@dataclass(frozen=True)
class JudgedStatistic:
    """A statistic that the verdict listens to.

    Attributes
    ----------
    name : str
        Name of the statistic; tables give it as `score` where the statistic stands out most.
    columns : tuple of str
        The numbers that it consists of; several make a vector, which counts by its distance from normal.
    list : str
        One of `LISTS`.
    above, below : str
        The cause in words, where the value is too large and where it is too small. Braces hold columns of the exposure
        or CCD whose values belong to the words, or ``ccd``, the CCD that stands out; what is between square brackets is
        left out where its value is missing.
    logarithm : bool
        Whether the value enters as its logarithm.
    two_sided : bool
        Whether a value that is too small is wrong too.
    covariate : str
        The condition of which the statistic is itself a measure: it is not regressed on that one.
    floor : float
        Smaller values count as this one before the logarithm is taken, in the unit of the column.
    offset : float
        What is added to values above 0, and stands for all others, before the logarithm is taken, in the unit of the
        column: values far below this one hardly differ, and yet are not equal.
    needs_sources : bool
        Whether the statistic says nothing of an exposure with few sources.
    of_ccds : bool
        Whether the statistic is measured for each CCD.
    precise : int
        How precisely the words name the cause: 0 where many causes raise the statistic, 2 where few others do, 3 where
        one alone does. A more precise cause is named although another statistic stands out more, as long as its own
        evidence is strong (`gpuanom.scoring.evidence.cause_choice`).
    of_orientations : bool
        Whether a satellite's trail, or the sources along it, may raise the statistic: the statistic says nothing of
        an exposure with a trail.
    of_all_stars : bool
        Whether the statistic is a robust one of all stars of an exposure, so that a pattern on one of its CCDs does not
        explain why the statistic stands out.
    """

    name: str
    columns: tuple[str, ...]
    list: str
    above: str
    below: str = ""
    logarithm: bool = True
    two_sided: bool = False
    covariate: str = ""
    floor: float = 0.0
    offset: float = 0.0
    needs_sources: bool = False
    of_ccds: bool = False
    of_orientations: bool = False
    precise: int = 1
    of_all_stars: bool = False

    @property
    def errors(self) -> tuple[str, ...]:
        """The columns that hold the errors of the numbers, where they were measured."""
        if self.name == "ellipticity_gradient":
            return ("e_gradient_error",) * len(self.columns)
        return tuple(f"{column}_error" for column in self.columns)


def _kl(kind: str, group: str, words: str) -> JudgedStatistic:
    return JudgedStatistic(
        f"{kind}_kl",
        (f"{kind}_kl",),
        group,
        words,
        needs_sources=group == "sources",
        of_orientations=True,
    )


def _stripes(band: int, of_ccds: bool = False) -> JudgedStatistic:
    name = f"stripe_power_{band}"
    on_ccd = "[ on {ccd}]" if of_ccds else ""
    words = f"stripes[ of {{stripe_period_{band}}} px][ along {{stripe_angle_{band}}} deg]{on_ccd}"
    return JudgedStatistic(name, (name,), "background", words, of_ccds=of_ccds)


def _vectors(kind: str) -> tuple[JudgedStatistic, ...]:
    group = "background" if kind == "flat_background" else "sources"
    constant = "stripes or waves" if group == "background" else "elongated or trailed"
    gradient = "waves" if group == "background" else "tilted"
    return (
        JudgedStatistic(
            f"{kind}_vector",
            (f"{kind}_vector_cos", f"{kind}_vector_sin"),
            group,
            f"{constant}[ along {{{kind}_angle}} deg]" if group == "sources" else constant,
            logarithm=False,
            needs_sources=group == "sources",
            of_orientations=True,
            precise=0,
        ),
        JudgedStatistic(
            f"{kind}_gradient",
            tuple(f"{kind}_gradient_{part}_{axis}" for part in ("cos", "sin") for axis in ("x", "y")),
            group,
            gradient,
            logarithm=False,
            needs_sources=group == "sources",
            of_orientations=True,
            precise=0,
        ),
    )


SOURCES: tuple[JudgedStatistic, ...] = (
    _kl("source", "sources", "elongated, trailed or repeated[ along {source_angle} deg]"),
    _kl("isophote", "sources", "elongated[ along {isophote_angle} deg]"),
    *_vectors("source"),
    *_vectors("isophote"),
    JudgedStatistic(
        "n_sources", ("n_sources",), "sources", "many sources", "few sources", two_sided=True, covariate="n_sources"
    ),
    # A number of sources that is as usual does not tell that a third of them are stars, and the rest hot pixels.
    JudgedStatistic(
        SOURCES_PER_STAR,
        (SOURCES_PER_STAR,),
        "sources",
        "few stars among the sources",
        needs_sources=True,
        of_orientations=True,
        precise=0,
    ),
    JudgedStatistic(
        "repeat_evidence",
        ("repeat_evidence",),
        "sources",
        "repeated images[ {repeat_separation} px apart]",
        floor=1.0,
        needs_sources=True,
        precise=2,
    ),
    JudgedStatistic("autoencoder", ("autoencoder_mse",), "sources", "sources of an unusual form", needs_sources=True),
    JudgedStatistic(
        "classifier",
        ("classifier_logit",),
        "sources",
        "like the exposures that were labelled prominent",
        logarithm=False,
        needs_sources=True,
        precise=0,
    ),
)
"""Statistics of an exposure's sources: orientations, numbers, repeated images."""

BACKGROUND: tuple[JudgedStatistic, ...] = (
    _kl("background", "background", "a slope, waves or stripes of the background"),
    _kl("flat_background", "background", "waves or stripes of the background"),
    *_vectors("flat_background"),
    JudgedStatistic(
        "sky", ("sky",), "background", "bright sky", "dark sky", two_sided=True, covariate="sky", precise=2
    ),
    *(_stripes(band) for band in range(BANDS)),
    JudgedStatistic(
        "crosstalk", ("crosstalk",), "background", "crosstalk", "crosstalk", logarithm=False, two_sided=True, precise=2
    ),
    # Chance masks more places at once where stars are donuts, so this names a cause only where nothing is stronger.
    JudgedStatistic("crosstalk_masked", ("crosstalk_masked",), "background", "crosstalk", logarithm=False, precise=0),
)
"""Statistics of an exposure's background."""

DRAWN_OUT, FLAT, WIDE_AND_FLAT = "elongated or doubled", "out of focus or coma", "donut or out of focus"
"""What the kurtosis of stars means: a line or two images raise it, whatever takes light out of the middle of a star
lowers it. A donut makes the stars wider besides."""

DEAD = "dead amplifier"
NOISE = "noise"
"""What a step between amplifiers means on a CCD whose sky is far darker than that of the others."""

SHAPES: tuple[JudgedStatistic, ...] = (
    JudgedStatistic(
        "fwhm",
        ("fwhm",),
        "shapes",
        "out of focus or poor seeing",
        covariate="fwhm",
        needs_sources=True,
        of_all_stars=True,
    ),
    # Drawn-out stars have another size and another kurtosis, too; stars that are out of focus are round.
    JudgedStatistic(
        "ellipticity",
        ("e1", "e2"),
        "shapes",
        "elongated[ along {ellipticity_angle} deg]",
        logarithm=False,
        needs_sources=True,
        precise=2,
        of_all_stars=True,
    ),
    JudgedStatistic(
        "ellipticity_gradient",
        ("e1_gradient_x", "e1_gradient_y", "e2_gradient_x", "e2_gradient_y"),
        "shapes",
        "tilted or coma",
        logarithm=False,
        needs_sources=True,
        precise=2,
        of_all_stars=True,
    ),
    JudgedStatistic(
        "kurtosis", ("kurtosis",), "shapes", DRAWN_OUT, FLAT, two_sided=True, needs_sources=True, of_all_stars=True
    ),
)
"""Statistics of the shapes of an exposure's stars."""

OF_EXPOSURES: tuple[JudgedStatistic, ...] = SOURCES + BACKGROUND + SHAPES
"""Statistics that an exposure has as a whole."""


def _ccd(name: str, group: str, above: str, below: str = "", **options: object) -> JudgedStatistic:
    return JudgedStatistic(name, (name,), group, above, below, of_ccds=True, **options)  # type: ignore[arg-type]


OF_CCDS: tuple[JudgedStatistic, ...] = (
    _ccd("background_kl", "background", "a slope, waves or stripes[ on {ccd}]", precise=0),
    _ccd("flat_background_kl", "background", "waves or stripes[ on {ccd}]", precise=0),
    _ccd("n_sources", "sources", "many sources[ on {ccd}]", "few sources[ on {ccd}]", two_sided=True, floor=10.0),
    # A sky that is brighter on one CCD than on the others is scattered light, whatever edges that light has.
    _ccd(
        "sky", "background", "glow or bright sky[ on {ccd}]", "shadow or dark sky[ on {ccd}]", two_sided=True, precise=2
    ),
    # Whatever makes the sky uneven raises its scatter.
    _ccd("sigma", "background", f"{NOISE}[ on {{ccd}}]", f"{DEAD}[ on {{ccd}}]", two_sided=True, precise=0),
    *(_stripes(band, of_ccds=True) for band in range(BANDS)),
    _ccd("row_jitter", "background", "row jitter"),
    _ccd("column_jitter", "background", "column jitter"),
    _ccd("row_step", "background", "amplifier step[ on {ccd}]", precise=3),
    _ccd("column_step", "background", "amplifier step[ on {ccd}]", precise=3),
    _ccd("masked_share", "background", "a large bright area[ on {ccd}]", floor=1e-3),
    _ccd("masked_patch", "background", "ring or ghost, or a bright star[ on {ccd}]", floor=1e-3),
    _ccd("map_rms", "background", "uneven background[ on {ccd}]", precise=0),
    # Less than a tenth of the noise is no glow: its logarithm would tell of differences of nothing. As a floor, a tenth
    # would make most CCDs of many nights equal, so that nothing told how far from these the others may be by chance.
    _ccd("glow", "background", "glow[ on {ccd}]", offset=0.1),
    _ccd("edge", "background", "ring or ghost[ on {ccd}]"),
    _ccd("crosstalk", "background", "crosstalk", "crosstalk", logarithm=False, two_sided=True),
    _ccd("fwhm", "shapes", "out of focus[ on {ccd}]", needs_sources=True),
    _ccd("kurtosis", "shapes", f"{DRAWN_OUT}[ on {{ccd}}]", f"{FLAT}[ on {{ccd}}]", two_sided=True, needs_sources=True),
    *(
        _ccd(
            f"{kind}_off",
            "background" if kind == "flat_background" else "sources",
            "waves or stripes[ on {ccd}]" if kind == "flat_background" else "elongated or trailed[ on {ccd}]",
            needs_sources=kind != "flat_background",
            precise=0,
        )
        for kind in VECTOR_KINDS
    ),
    _ccd("ellipticity_off", "shapes", "elongated[ on {ccd}]", needs_sources=True),
)
"""Statistics that every CCD has. The CCD that stands out most speaks for the exposure; so does the median of the CCDs,
where the exposure has no such statistic as a whole."""


def _of_the_worst_ccd(j: JudgedStatistic) -> JudgedStatistic:
    name = j.name + WORST
    return replace(j, name=name, columns=(name,), logarithm=False, two_sided=False)


def _of_a_typical_ccd(j: JudgedStatistic) -> JudgedStatistic:
    name = j.name + TYPICAL
    return replace(
        j,
        name=name,
        columns=(name,),
        logarithm=False,
        # Rings and ghosts lie on some CCDs alone.
        above="uneven background" if j.name == "edge" else j.above.replace("[ on {ccd}]", ""),
        # Less noise on one CCD is that of a part without light; on all of them it is that of fewer photons.
        below="dark sky" if j.name == "sigma" else j.below.replace("[ on {ccd}]", ""),
        of_ccds=False,
        # What all CCDs have in common, such as larger steps under a bright sky, comes from elsewhere.
        precise=0 if j.name == "edge" else min(j.precise, 1),
    )


_NAMES = {j.name for j in OF_EXPOSURES}

EVERY: tuple[JudgedStatistic, ...] = (
    *OF_EXPOSURES,
    *map(_of_the_worst_ccd, OF_CCDS),
    *(_of_a_typical_ccd(j) for j in OF_CCDS if j.name not in _NAMES and not j.name.endswith("_off")),
)
"""All statistics that an exposure can have: its own, and those that are made of its CCDs."""
