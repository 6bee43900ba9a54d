"""The CCDs of a mosaic without a camera rule are brought to common axes by their world coordinates."""

import math

import numpy as np
import pytest
from astropy.io import fits

from gpuanom.cameras.rules import CameraRule
from gpuanom.fits import discover, open_ccds
from gpuanom.fits.ccds.axes import Mosaic, axes_of_file
from gpuanom.fits.ccds.saturation import saturation, saturations
from gpuanom.fits.ccds.wcs import sky_axes
from gpuanom.fits.headers.hdus import FileHeaders
from gpuanom.fits.headers.scanned import CompressedImageHeader, ScannedHeader
from gpuanom.fits.headers.values import Cards
from gpuanom.natural_order import natural_key
from gpuanom.records import CcdOnDisk, Turn

RULE = CameraRule(name="any", turn="mosaic")
BASE = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0}
UP = np.array([[-9e-5, 0.0], [0.0, 9e-5]])


def rotation(degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s], [s, c]])


QUARTER, HALF, MIRROR = rotation(90), rotation(180), np.diag([1.0, -1.0])
MOUNTS = {
    Turn.NONE: np.eye(2),
    Turn.QUARTER: QUARTER,
    Turn.MIRRORED: MIRROR,
    Turn.MIRRORED_QUARTER: QUARTER @ MIRROR,
}


def cards(matrix, form="CD", **others):
    """A header with a matrix from pixels to the sky, written in one of the forms."""
    names = ("1_1", "1_2", "2_1", "2_2")
    if form == "CD":
        matrix_cards = {f"CD{n}": float(v) for n, v in zip(names, matrix.ravel(), strict=True)}
    elif form == "PC":
        matrix_cards = {f"PC{n}": float(v) / 9e-5 for n, v in zip(names, matrix.ravel(), strict=True)}
        matrix_cards |= {"CDELT1": 9e-5, "CDELT2": 9e-5}
    else:  # a rotation of a mirrored or unmirrored frame
        sign = 1.0 if np.linalg.det(matrix) > 0 else -1.0
        angle = math.degrees(math.atan2(matrix[1, 0] * sign, matrix[0, 0] * sign))
        matrix_cards = {"CDELT1": 9e-5 * sign, "CDELT2": 9e-5, form: angle}
    return Cards(fits.Header(BASE | matrix_cards | others))


def drawn_file(rng, n):
    """Headers of a file's images, each with a WCS of its own, and a rule for them."""
    kinds = [("RA---TAN", "DEC--TAN"), ("DEC--TPV", "RA---TPV"), ("GLON-TAN", "GLAT-TAN"), ("X", "Y")]
    of_file, pole, images = kinds[rng.integers(len(kinds))], rng.choice([0.0, 80.0, 89.9]), []
    for _ in range(n):
        matrix = 7e-5 * rotation(rng.choice([0, 90, 45, 210])) @ np.diag([1.0, rng.choice([-1, 1])])
        matrix = (matrix + rng.normal(0, 1e-7, (2, 2))) * (rng.random() > 0.02)
        point = rng.uniform(0, 360), rng.uniform(pole, 89.95)
        values = [*zip(("CD1_1", "CD1_2", "CD2_1", "CD2_2"), matrix.ravel(), strict=True)]
        values += zip(("CRVAL1", "CRVAL2"), point if of_file[0][0] != "D" else point[::-1], strict=True)
        texts = [f"{key:8}= {value!r:>20}" for key, value in ((key, float(value)) for key, value in values)]
        odd = rng.random()
        if odd < 0.02:
            texts[rng.integers(len(texts))] = "CRVAL1  = 'nobody knows'"
        ctypes = kinds[0] if 0.02 < odd < 0.04 else of_file
        texts += [f"CTYPE{axis}  = '{kind}'" for axis, kind in enumerate(ctypes, 1)]
        text = "".join(card.ljust(80) for card in (*texts, f"SATURATE= {rng.uniform(1, 9)}", "END"))
        images.append(ScannedHeader(text.encode()))
    if rng.random() < 0.5:
        images = [CompressedImageHeader(image) for image in images]
    rule = CameraRule(
        name="any", turn=rng.choice(["mosaic", "mosaic", "wcs", "none"]), quarter_ccds=("N2",) * (rng.random() < 0.1)
    )
    return rule, FileHeaders(ScannedHeader(b"SIMPLE  = T".ljust(80) + b"END".ljust(80)), *images)


def test_the_axes_of_a_whole_file_are_those_of_its_ccds_one_by_one():
    """In the file they come from columns of numbers."""
    rng = np.random.default_rng(1)
    n_turned = n_from_columns = 0
    for _ in range(400):
        rule, headers = drawn_file(rng, int(rng.integers(1, 14)))
        names = tuple(f"N{n}" for n in rng.permutation(len(headers.of_images)))
        ccds = list(zip(names, headers.cards(), strict=True))
        mosaic = Mosaic.of(rule, ccds)
        one_by_one = [mosaic.axes(*ccd) for ccd in ccds]
        assert axes_of_file(rule, names, headers) == one_by_one
        assert [a.turn for a in one_by_one] == naive_turns(rule, ccds) or rule.turn != "mosaic"
        n_turned += any(a.turn for a in one_by_one)
        n_from_columns += headers.are_same("CTYPE1") and headers.numbers("CRVAL2") is not None
        assert saturations(rule, headers) == [saturation(rule, cards) for _, cards in ccds]
    assert n_turned > 100
    assert n_from_columns > 200


def naive_turns(rule, ccds):
    """The turns of the CCDs, by plain arithmetic with the numbers of one CCD after the other."""
    first = min((name for name, cards in ccds if sky_axes(cards)), key=natural_key, default=None)
    if first is None:
        return [Turn.NONE] * len(ccds)
    cards_of = dict(ccds)
    r, found = np.reshape(sky_axes(cards_of[first]), (2, 2)), []
    for _, cards in ccds:
        if sky_axes(cards) is None:
            found.append(Turn.NONE)
            continue
        points = [_reference_point(c) for c in (cards, cards_of[first])]
        turned = np.eye(2)
        if all(isinstance(value, float) for point in points for value in point):
            (ra, dec), (ra0, dec0) = points
            along = math.remainder(ra - ra0, 360)
            turned = rotation(along * math.sin(math.radians((dec + dec0) / 2)))
        m = np.linalg.inv(r) @ turned @ np.reshape(sky_axes(cards), (2, 2))
        quarter = abs(m[0, 1]) + abs(m[1, 0]) > abs(m[0, 0]) + abs(m[1, 1])
        found.append(Turn(int(quarter) + 2 * int(np.linalg.det(m) < 0)))
    return found


def _reference_point(cards):
    point = [cards.get("CRVAL1"), cards.get("CRVAL2")]
    return point[::-1] if cards.get("CTYPE1").startswith("DEC") else point


def turns(*ccds):
    mosaic = Mosaic.of(RULE, ccds)
    return [mosaic.axes(name, header).turn for name, header in ccds]


@pytest.mark.parametrize("form", ["CD", "PC", "CROTA2", "CROTA1"])
@pytest.mark.parametrize("rotator", [0, 30, 45, 101, 180, 275])
@pytest.mark.parametrize(("wanted", "mount"), MOUNTS.items(), ids=lambda v: getattr(v, "name", ""))
def test_a_ccd_lies_beside_the_first_whatever_the_rotator_does(form, rotator, wanted, mount):
    sky = rotation(rotator) @ UP
    assert turns(("1", cards(sky, form)), ("2", cards(sky @ mount, form))) == [Turn.NONE, wanted]
    assert turns(("1", cards(sky, form)), ("2", cards(sky @ mount @ HALF, form))) == [Turn.NONE, wanted]


def test_the_turn_is_that_of_orientations():
    """An orientation along one direction of the sky comes out alike from all CCDs."""
    direction = np.array([3e-5, 7e-5])
    found = []
    for mount in MOUNTS.values():
        matrix = rotation(33) @ UP @ mount
        mosaic = Mosaic.of(RULE, [("1", cards(rotation(33) @ UP)), ("2", cards(matrix))])
        x, y = np.linalg.solve(matrix, direction)
        theta, turn = math.atan2(y, x), mosaic.axes("2", cards(matrix)).turn
        theta = -theta if turn & Turn.MIRRORED else theta
        theta += math.pi / 2 if turn & Turn.QUARTER else 0.0
        found.append(theta % math.pi)
    np.testing.assert_allclose(found, found[0], rtol=1e-12)


def test_small_differences_turn_nothing():
    assert turns(("1", cards(UP)), ("2", cards(rotation(3) @ UP)), ("3", cards(rotation(-44) @ UP))) == [Turn.NONE] * 3


@pytest.mark.parametrize("declination", [85.0, 89.9, -89.9])
def test_near_a_pole_north_is_another_direction_for_each_ccd(declination):
    """Each CCD has its own reference point, on either side of the pole; even so the CCDs are found to lie alike."""
    side = math.copysign(1.0, declination)
    for step in (40.0, 90.0, 170.0):
        # Along the parallel, east and north turn by the difference in longitude (times nearly 1 here).
        turned = rotation(-step * math.sin(math.radians(declination))) @ UP
        first, second = cards(UP, CRVAL2=declination), cards(turned, CRVAL1=10.0 + step, CRVAL2=declination)
        assert turns(("1", first), ("2", second)) == [Turn.NONE, Turn.NONE], side


def test_the_first_name_counts_in_natural_order_and_not_the_order_of_the_file():
    ccds = [("ccd10", cards(UP @ QUARTER)), ("ccd2", cards(UP)), ("ccd1", Cards(fits.Header()))]
    mosaic = Mosaic.of(RULE, ccds)
    assert mosaic.first == "ccd2"
    assert Mosaic.of(RULE, ccds[::-1]).first == "ccd2"
    assert mosaic.axes(*ccds[0]).turn is Turn.QUARTER
    assert "ccd2" in mosaic.axes(*ccds[0]).why


def test_a_ccd_without_wcs_beside_turned_ones_is_remarked_upon():
    none = Cards(fits.Header())
    mosaic = Mosaic.of(RULE, [("1", cards(UP)), ("2", cards(UP @ QUARTER)), ("3", none)])
    assert mosaic.axes("3", none).turn is Turn.NONE
    assert "no celestial WCS" in mosaic.axes("3", none).remark
    straight = Mosaic.of(RULE, [("1", cards(UP)), ("3", none)])
    assert not straight.axes("3", none).remark
    assert not Mosaic.of(RULE, [("3", none)]).axes("3", none).remark


def test_other_rules_do_not_look_beside():
    mosaic = Mosaic.of(CameraRule(name="r"), [("1", cards(UP)), ("2", cards(UP @ QUARTER))])
    assert mosaic.axes("2", cards(UP @ QUARTER)).turn is Turn.NONE


def _header(matrix, **others):
    matrix_cards = {f"CD{i}_{j}": float(matrix[i - 1, j - 1]) for i in (1, 2) for j in (1, 2)}
    return fits.Header(BASE | matrix_cards | others)


def test_in_one_file_and_in_a_file_for_each_ccd(tmp_path, settings):
    """The turns are the same in both cases, whichever file comes first."""
    image = np.ones((70, 80), np.float32)
    mounts = {"B": UP @ QUARTER, "A": UP, "C": UP @ MIRROR}
    hdus = [fits.ImageHDU(image, _header(m), name=name) for name, m in mounts.items()]
    about = {"INSTRUME": "NEW", "EXPNUM": 1}
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(about)), *hdus]).writeto(tmp_path / "all.fits")
    apart = tmp_path / "apart"
    apart.mkdir()
    for i, (name, m) in enumerate(mounts.items()):
        header = _header(m, EXTNAME=name, **about)
        fits.PrimaryHDU(image, header).writeto(apart / f"f{i}.fits")
    for given in (tmp_path / "all.fits", apart):
        (exposure,) = discover([given], settings).exposures
        items = [item for item in open_ccds(exposure, settings) if isinstance(item, CcdOnDisk)]
        found = {item.name: item.load().turn for item in items}
        assert found == {"A": Turn.NONE, "B": Turn.QUARTER, "C": Turn.MIRRORED}
        assert all(len(item.why) == 2 for item in items)
