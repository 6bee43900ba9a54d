"""Small FITS files on disk, intact and damaged, and the headers of real cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits

from gpuanom.fits import discover, read_ccds
from gpuanom.records import Ccd, CcdFailure
from gpuanom.settings import Settings


class _Yaml(yaml.SafeLoader):
    """Reads the tagged headers as plain lists or mappings."""


def _plain(loader, suffix, node):
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


_Yaml.add_multi_constructor("lsst", _plain)
_Yaml.add_multi_constructor("!", _plain)


def image(ny=70, nx=80, seed=0):
    return np.random.default_rng(seed).normal(1000, 10, (ny, nx)).astype(np.float32)


@pytest.fixture
def settings():
    return Settings()


@pytest.fixture
def write(tmp_path):
    """Write a FITS file: cards of the primary header, then (data, cards) of each extension."""

    def writer(name, *extensions, data=None, **cards):
        hdus = fits.HDUList([fits.PrimaryHDU(data, fits.Header(cards))])
        for extension, header in extensions:
            hdus.append(fits.ImageHDU(extension, fits.Header(header)))
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        hdus.writeto(path)
        return path

    return writer


@pytest.fixture
def instcal(write):
    """An InstCal image of two CCDs with its mask file; arguments override the defaults."""

    def maker(name="c4d_190402_050618_ooi_g_v1.fits", mask=True, plane=None, **cards):
        cards = {
            "INSTRUME": "DECam", "PROCTYPE": "InstCal", "PRODTYPE": "image", "EXPNUM": 845291, "OBSTYPE": "object",
            "FILTER": "g DECam SDSS c0001", "PLVER": "V4.1", "DATE-OBS": "2019-04-02T05:06:18.3", "EXPTIME": 120.0,
        } | cards  # fmt: skip
        heads = [{"EXTNAME": "S29", "SATURATE": 42000.0}, {"EXTNAME": "N4", "SATURATE": 41000.0}]
        path = write(name, *((image(seed=n), head) for n, head in enumerate(heads)), **cards)
        if mask:
            if plane is None:
                plane = np.zeros((70, 80), np.int32)
                plane[3, 4] = 1
            write(name.replace("ooi", "ood"), *((plane, head) for head in heads), **cards)
        return path

    return maker


@pytest.fixture
def one(settings):
    """The only exposure of some inputs, of which none may fail."""

    def finder(*paths, settings=settings):
        found = discover(paths, settings)
        assert found.failures == ()
        (exposure,) = found.exposures
        return exposure

    return finder


@pytest.fixture
def read(settings, one):
    """The CCDs and failures of the only exposure of some inputs, by name."""

    def reader(*paths, settings=settings):
        items = list(read_ccds(one(*paths, settings=settings), settings))
        assert all(isinstance(i, Ccd | CcdFailure) for i in items)
        assert len({i.name for i in items}) == len(items)
        return {i.name: i for i in items}

    return reader


@pytest.fixture
def real_header(real_data):
    """The cards of a real header in `headers/`, as (primary, extension)."""

    def loader(name):
        cards = yaml.load((real_data / "headers" / f"{name}.yaml").read_text(), Loader=_Yaml)
        if isinstance(cards, list):
            cards = {card[0]: card[2] for card in cards}
        header = fits.Header()
        for key, value in cards.items():
            if key.startswith(("NAXIS", "ZNAXIS")) or key in ("COMMENT", "HISTORY", "SIMPLE", "XTENSION", "BITPIX"):
                continue
            if isinstance(value, str | int | float | bool) and len(key) <= 8 and len(str(value)) < 60:
                header[key] = value
        return header

    return loader


@pytest.fixture
def all_fits():
    """Every FITS file in a folder and its sub-folders."""

    def lister(folder: Path):
        return sorted(p for p in folder.rglob("*") if ".fit" in p.name.lower() and p.is_file())

    return lister
