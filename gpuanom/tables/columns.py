"""The columns of the tables: name, kind, unit and meaning. A test compares docs/tables.md with these lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Column(NamedTuple):
    """One column of a table; `kind` is text, int, rank (0 means none) or float."""

    name: str
    kind: str
    unit: str
    description: str


_SCORE = (
    ("kl", "float", "", "KL divergence from the reference (eq. 1)"),
    ("floor", "float", "", "KL divergence that counting noise alone gives"),
    ("z", "float", "", "KL divergence above that floor, in standard deviations of counting noise"),
    ("p", "float", "", "probability that counting noise alone gives so high a KL divergence"),
    ("rank", "rank", "", "rank by KL divergence in the dataset, 1 is the most anomalous"),
    ("deviation", "float", "", "(ln KL - median) / (1.4826 MAD) over the dataset"),
    ("angle", "float", "deg", "preferred direction from the focal plane's +x toward +y"),
    ("alignment", "float", "", "alignment, from 0 (isotropic) to 1 (all parallel)"),
)
_LOCAL = (
    ("local_alignment", "float", "", "alignment within a typical CCD, corrected for counting noise"),
    ("local_z", "float", "", "alignment within single CCDs above counting noise, in standard deviations"),
    ("local_p", "float", "", "probability that counting noise alone aligns single CCDs so much"),
    ("local_deviation", "float", "", "(ln of the alignment statistic - median) / (1.4826 MAD) over the dataset"),
)


_OF_THE_PAPER = {"source_kl": ", the paper's score", "background_kl": ", the paper's score"}


def _columns_of(kind: str, quantity: str, columns: Sequence[tuple[str, str, str, str]]) -> list[Column]:
    """The columns of one kind of score, each described as those of a quantity."""
    return [
        Column(f"{kind}_{name}", type_, unit, f"{quantity}: {text}{_OF_THE_PAPER.get(f'{kind}_{name}', '')}")
        for name, type_, unit, text in columns
    ]


SOURCE_COLUMNS: tuple[Column, ...] = (
    Column("x", "int", "pixel", "column of the central pixel, counted from 0 (FITS counts from 1)"),
    Column("y", "int", "pixel", "row of the central pixel, counted from 0 (FITS counts from 1)"),
    Column("value", "float", "", "central pixel above the fitted background, in the image's unit"),
    Column("snr", "float", "", "value divided by the CCD's noise sigma"),
    Column("n_above", "int", "pixel", "usable pixels of the stamp above the setting above_threshold"),
    Column("orientation", "float", "deg", "of the stamp's moments, from +x toward +y of the CCD, (-90, 90]"),
    Column("isophote_orientation", "float", "deg", "of the isophotal moments, from +x toward +y of the CCD, (-90, 90]"),
    Column("n_isophote", "int", "pixel", "connected pixels inside the isophote, the central pixel among them"),
)
"""The columns of `gpuanom.sources`: one row a source (METHOD.md 2, 3 and 3b)."""

EXPOSURE_COLUMNS: tuple[Column, ...] = (
    Column("exposure", "text", "", "id of the exposure"),
    Column("camera", "text", "", "camera; with the band it names the dataset"),
    Column("band", "text", "", "band"),
    Column("date_obs", "text", "", "start of the exposure"),
    Column("exptime", "float", "s", "exposure time"),
    Column("file", "text", "", "image file (the first one of several)"),
    Column("n_ccd", "int", "", "number of CCDs found"),
    Column("n_ccd_used", "int", "", "number of CCDs measured"),
    Column("n_sources", "int", "", "number of sources found"),
    Column("n_without_orientation", "int", "", "number of sources without an orientation"),
    *_columns_of("source", "source orientations", _SCORE),
    *_columns_of("source", "source orientations", _LOCAL),
    Column("source_position_angle", "float", "deg", "source_angle on the sky, east of north"),
    Column("n_isophote", "int", "", "number of sources with an isophotal orientation"),
    *_columns_of("isophote", "isophotal orientations", _SCORE),
    *_columns_of("isophote", "isophotal orientations", _LOCAL),
    Column("isophote_position_angle", "float", "deg", "isophote_angle on the sky, east of north"),
    Column("n_gradients", "int", "", "number of usable gradient points"),
    *_columns_of("background", "background gradients", _SCORE),
    *_columns_of("flat_background", "background gradients without the fitted slope", _SCORE),
    Column("worst_ccd", "text", "", "CCD with the highest background_z"),
    Column("status", "text", "", "ok, or in one word what is wrong"),
    Column("note", "text", "", "remarks on the exposure and reasons why CCDs are missing"),
)

VERDICT_COLUMNS: tuple[Column, ...] = (
    Column("verdict", "text", "", "bad, check or ok; empty where the exposure could not be judged"),
    Column("cause", "text", "", "what is wrong, in words, or why there is no verdict"),
    Column("evidence", "float", "", "L, -ln of the probability that chance alone makes an exposure as unusual"),
    Column("score", "text", "", "name of the score or statistic that stands out most"),
    Column("deviation", "float", "", "how far that score is from what is expected, in robust standard deviations"),
    Column("z", "float", "", "z of that score, empty where it has none"),
)
"""Columns of exposures, after `band`, where a night has verdicts."""

AUTOENCODER_COLUMNS: tuple[Column, ...] = (
    Column("n_stamps", "int", "", "number of stamps that the autoencoder reconstructed"),
    Column("autoencoder_mse", "float", "", "mean squared error of the reconstructed stamps (eq. 9)"),
    Column("autoencoder_rank", "rank", "", "rank by autoencoder_mse in the dataset, 1 is the most anomalous"),
    Column("autoencoder_deviation", "float", "", "(ln autoencoder_mse - median) / (1.4826 MAD) over the dataset"),
)
"""Columns of exposures, before `worst_ccd`, in a night that was scored with an autoencoder."""

CLASSIFIER_COLUMNS: tuple[Column, ...] = (
    Column("classifier_probability", "float", "", "probability to be anomalous, by a classifier trained with labels"),
)
"""Columns of exposures, before `worst_ccd`, in a night that was scored with a classifier."""

CCD_COLUMNS: tuple[Column, ...] = (
    Column("exposure", "text", "", "id of the exposure"),
    Column("camera", "text", "", "camera"),
    Column("ccd", "text", "", "id of the CCD"),
    Column("status", "text", "", "ok, or in one word what is wrong"),
    Column("sky", "float", "", "fitted background at the CCD's centre, in the image's unit"),
    Column("sigma", "float", "", "noise, in the image's unit"),
    Column("n_sources", "int", "", "number of sources found"),
    Column("n_without_orientation", "int", "", "number of sources without an orientation"),
    Column("n_isophote", "int", "", "number of sources with an isophotal orientation"),
    Column("masked_fraction", "float", "", "fraction of the pixels that are masked or not finite"),
    Column("saturated_fraction", "float", "", "fraction of the pixels at or above the saturation level"),
    Column("n_gradients", "int", "", "number of usable gradient points"),
    Column("background_kl", "float", "", "background gradients: KL divergence from the reference (eq. 1)"),
    Column(
        "background_z",
        "float",
        "",
        "background gradients: KL divergence above its floor, in standard deviations of counting noise",
    ),
    Column("background_angle", "float", "deg", "background gradients: preferred direction"),
    Column(
        "background_alignment", "float", "", "background gradients: alignment, from 0 (isotropic) to 1 (all parallel)"
    ),
    Column("source_angle", "float", "deg", "source orientations: preferred direction"),
    Column("source_alignment", "float", "", "source orientations: alignment, 0 (isotropic) to 1 (all parallel)"),
    Column("reason", "text", "", "what is wrong, in one line"),
)

CCD_AUTOENCODER_COLUMNS: tuple[Column, ...] = AUTOENCODER_COLUMNS[:2]
"""Columns of CCDs, before `reason`, in a night that was scored with an autoencoder."""


CCD_VERDICT_COLUMNS: tuple[Column, ...] = (
    Column("verdict", "text", "", "bad, check or ok; empty where the exposure could not be judged"),
    Column("cause", "text", "", "what is wrong with the CCD, in words"),
    Column("evidence", "float", "", "L of the CCD among the CCDs of its dataset, for what is on this CCD alone"),
)
"""Columns of CCDs, after `ccd`, where a night has verdicts."""
