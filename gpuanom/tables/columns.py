"""The columns of the tables: name, kind, unit and meaning. docs/tables.md is written from here."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """One column of a table; `kind` is text, int, rank (0 means none) or float."""

    name: str
    kind: str
    unit: str
    description: str


def _score_columns(kind: str, what: str) -> list[Column]:
    return [
        Column(f"{kind}_kl", "float", "", f"{what}: KL divergence from the reference (eq. 1), the paper's score"),
        Column(f"{kind}_floor", "float", "", f"{what}: the KL that counting noise alone gives"),
        Column(f"{kind}_z", "float", "", f"{what}: KL above its noise, in standard deviations of counting noise"),
        Column(f"{kind}_p", "float", "", f"{what}: probability of such a KL by counting noise alone"),
        Column(f"{kind}_rank", "rank", "", f"{what}: rank in its dataset by KL, 1 is the most anomalous"),
        Column(f"{kind}_deviation", "float", "", f"{what}: (ln KL - median) / (1.4826 MAD) over the dataset"),
        Column(f"{kind}_angle", "float", "deg", f"{what}: preferred direction from the focal plane's +x toward +y"),
        Column(f"{kind}_alignment", "float", "", f"{what}: 0 (isotropic) to 1 (all aligned)"),
    ]


def _local_columns(kind: str, what: str) -> list[Column]:
    return [
        Column(
            f"{kind}_local_alignment", "float", "", f"{what}: alignment of a typical CCD on its own, less its noise"
        ),
        Column(f"{kind}_local_z", "float", "", f"{what}: alignment CCD by CCD above counting noise"),
        Column(f"{kind}_local_p", "float", "", f"{what}: probability of such alignments by counting noise alone"),
        Column(f"{kind}_local_deviation", "float", "", f"{what}: how far local alignment is from the dataset's"),
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
    Column("exposure", "text", "", "exposure id"),
    Column("camera", "text", "", "camera; with the band it names the dataset"),
    Column("band", "text", "", "band"),
    Column("date_obs", "text", "", "start of the exposure"),
    Column("exptime", "float", "s", "exposure time"),
    Column("file", "text", "", "image file (the first one of several)"),
    Column("n_ccd", "int", "", "CCDs found"),
    Column("n_ccd_used", "int", "", "CCDs measured"),
    Column("n_sources", "int", "", "sources"),
    Column("n_without_orientation", "int", "", "sources without an orientation"),
    *_score_columns("source", "source orientations"),
    *_local_columns("source", "source orientations"),
    Column("source_position_angle", "float", "deg", "source_angle on the sky, east of north"),
    Column("n_isophote", "int", "", "sources with an isophotal orientation"),
    *_score_columns("isophote", "isophotal orientations"),
    *_local_columns("isophote", "isophotal orientations"),
    Column("isophote_position_angle", "float", "deg", "isophote_angle on the sky, east of north"),
    Column("n_gradients", "int", "", "usable gradient points"),
    *_score_columns("background", "background gradients"),
    *_score_columns("flat_background", "background gradients less the fitted slope"),
    Column("worst_ccd", "text", "", "CCD with the highest background_z"),
    Column("status", "text", "", "ok, or what is wrong in one word"),
    Column("note", "text", "", "what should be known of this exposure"),
)

AUTOENCODER_COLUMNS: tuple[Column, ...] = (
    Column("n_stamps", "int", "", "stamps that went through the autoencoder"),
    Column("autoencoder_mse", "float", "", "mean squared error of the reconstructed stamps (eq. 9)"),
    Column("autoencoder_rank", "rank", "", "rank in its dataset by autoencoder_mse, 1 is the most anomalous"),
    Column("autoencoder_deviation", "float", "", "(ln autoencoder_mse - median) / (1.4826 MAD) over the dataset"),
)
"""Of exposures, before `worst_ccd`, where the night holds what an autoencoder made of its stamps."""

CCD_COLUMNS: tuple[Column, ...] = (
    Column("exposure", "text", "", "exposure id"),
    Column("camera", "text", "", "camera"),
    Column("ccd", "text", "", "CCD id"),
    Column("status", "text", "", "ok, or what is wrong in one word"),
    Column("sky", "float", "", "fitted background at the CCD's centre, in the image's unit"),
    Column("sigma", "float", "", "noise, in the image's unit"),
    Column("n_sources", "int", "", "sources"),
    Column("n_without_orientation", "int", "", "sources without an orientation"),
    Column("n_isophote", "int", "", "sources with an isophotal orientation"),
    Column("masked_fraction", "float", "", "share of pixels that are masked or not finite"),
    Column("saturated_fraction", "float", "", "share of pixels at or above the saturation level"),
    Column("n_gradients", "int", "", "usable gradient points"),
    Column("background_kl", "float", "", "background gradients: KL divergence from the reference (eq. 1)"),
    Column("background_z", "float", "", "background gradients: KL above its noise"),
    Column("background_angle", "float", "deg", "background gradients: preferred direction"),
    Column("background_alignment", "float", "", "background gradients: 0 (isotropic) to 1 (all aligned)"),
    Column("source_angle", "float", "deg", "source orientations: preferred direction"),
    Column("source_alignment", "float", "", "source orientations: 0 (isotropic) to 1 (all aligned)"),
    Column("reason", "text", "", "what is wrong, in one line"),
)

CCD_AUTOENCODER_COLUMNS: tuple[Column, ...] = AUTOENCODER_COLUMNS[:2]
"""Of CCDs, before `reason`, in such a night."""


def with_autoencoder(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns of exposures, or of CCDs, with those of an autoencoder among them."""
    before, more = ("reason", CCD_AUTOENCODER_COLUMNS) if columns is CCD_COLUMNS else ("worst_ccd", AUTOENCODER_COLUMNS)
    at = next(i for i, column in enumerate(columns) if column.name == before)
    return (*columns[:at], *more, *columns[at:])
