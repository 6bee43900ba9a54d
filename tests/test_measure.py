"""One exposure through all steps, and the API for arrays."""

from __future__ import annotations

import numpy as np
import pytest

import gpuanom
from gpuanom.records import BACKGROUND, SOURCE, CcdFailure, Turn
from gpuanom.settings import Settings
from tests import nights, sky


def test_counts_and_statuses(backend):
    from gpuanom.measuring.exposure import measure_ccds

    image = nights.image(3)
    ccds = [
        gpuanom.Ccd("10", image, saturation=1100.0),
        gpuanom.Ccd("9", np.full((100, 100), 7.0, np.float32)),
        gpuanom.Ccd("2", np.full((100, 100), np.nan, np.float32)),
        gpuanom.Ccd("1", np.zeros((63, 500), np.float32)),
        CcdFailure("8", "corrupt", "file.fits[8]: broken"),
    ]
    measured = measure_ccds("e", ccds, Settings(), backend)
    assert [c.name for c in measured] == ["1", "2", "8", "9", "10"]
    assert [c.status for c in measured] == ["too_small", "too_few_pixels", "corrupt", "constant", "ok"]
    for c in measured[:-1]:
        assert c.reason
        assert not c.counts.any()
        assert np.isnan(c.sky)
    good = measured[-1]
    assert good.n_sources == good.counts[SOURCE].sum() + good.n_without_orientation
    assert good.n_gradients == 10_000 >= good.counts[BACKGROUND].sum()
    assert good.saturated_fraction == np.count_nonzero(image >= np.float32(1100.0)) / image.size
    assert good.masked_fraction == 0
    # The sky of the scene is 1000 with noise 8: the fit of 800 points is accurate to about 8 sqrt(6/800) at the centre.
    assert abs(good.sky - 1000) < 3
    assert abs(good.sigma - 8) < 0.5


def test_every_kind_of_array_is_the_same_image(backend):
    plain = np.round(nights.image(4)).astype(np.int64)
    few = {"gradient_points": 300, "sigma_points": 500, "background_points": 300}
    expected = gpuanom.measure([plain], few).ccds[0]
    assert expected.n_sources > 0
    for kind in (">i4", "<i8", "uint16", "float32", ">f4", "float64", ">f8"):
        for array in (plain.astype(kind), np.asfortranarray(plain.astype(kind)), plain.astype(kind)[::-1][::-1]):
            array.setflags(write=False)
            got = gpuanom.measure([array], few).ccds[0]
            assert np.array_equal(got.counts, expected.counts)
            assert got.sigma == expected.sigma


@pytest.mark.parametrize(
    "bad", [np.zeros(5), np.zeros((2, 3, 4)), np.zeros((0, 0)), np.array([["a"]]), np.zeros((70, 70), complex)]
)
def test_what_is_no_image_is_refused_in_one_line(bad):
    if bad.ndim == 2 and bad.size == 0:
        assert gpuanom.measure([bad]).ccds[0].status == "too_small"
        return
    with pytest.raises(gpuanom.InputError, match="CCD 1: ") as caught:
        gpuanom.measure([bad])
    assert "\n" not in str(caught.value)


def test_two_ccds_of_one_name_are_refused():
    ccd = gpuanom.Ccd("a", nights.image(1))
    with pytest.raises(gpuanom.InputError, match="two CCDs are named 'a'"):
        gpuanom.measure([ccd, ccd])


def test_quarter_turned_ccd_gives_focal_plane_angles(backend):
    # Stars elongated along 20 degrees, and the same sky on a CCD mounted a quarter turn clockwise (its picture is
    # turned back by -90 degrees, so that adding Turn.QUARTER restores the angles).
    image = sky.make(512, 512, sky.stars(40, seed=5, degrees=20.0, ratio=0.4, margin=32), noise=2.0, seed=5)
    # In the picture of rot90 rows count downwards: this is -90 degrees here.
    turned = np.ascontiguousarray(np.rot90(image, k=1))
    plain = gpuanom.measure([gpuanom.Ccd("a", image)]).ccds[0]
    back = gpuanom.measure([gpuanom.Ccd("a", turned, turn=Turn.QUARTER)]).ccds[0]

    def angle(ccd):
        return np.degrees(0.5 * np.arctan2(ccd.sine[1], ccd.cosine[1]))

    # The mean isophotal angle of 40 bright stars scatters by well under 3 degrees.
    assert abs(angle(plain) - 20) < 3
    assert abs(angle(back) - 20) < 3


def test_groups_of_several_ccds_measure_the_same(backend, monkeypatch):
    ccds = [gpuanom.Ccd(str(i), nights.image(i)) for i in range(5)]
    one_by_one = gpuanom.measure(ccds).ccds
    monkeypatch.setattr(type(backend), "group_size", lambda *_: 3)
    together = gpuanom.measure(ccds).ccds
    for a, b in zip(one_by_one, together, strict=True):
        assert np.array_equal(a.counts, b.counts)
        assert (a.sigma, a.sky, a.n_sources) == (b.sigma, b.sky, b.n_sources)


def test_order_of_ccds_changes_nothing():
    ccds = [gpuanom.Ccd(str(i), nights.image(i)) for i in range(4)]
    forward, backward = gpuanom.measure(ccds).ccds, gpuanom.measure(ccds[::-1]).ccds
    for a, b in zip(forward, backward, strict=True):
        assert a.name == b.name
        assert np.array_equal(a.counts, b.counts)


def test_rank_puts_the_elongated_exposure_first():
    measured = [
        gpuanom.measure(
            [
                sky.make(
                    512, 512, sky.stars(40, seed=i, degrees=30.0 if i == 4 else None, ratio=0.5, margin=32), noise=5.0
                )
            ],
            exposure=f"e{i}",
        )
        for i in range(8)
    ]
    tables = gpuanom.rank(measured)
    assert tables.exposures["exposure"][0] == "e4"
    assert tables.exposures["isophote_rank"][0] == 1
    # 40 stars along one axis: the pooled direction is known to a few degrees.
    assert abs(tables.exposures["isophote_angle"][0] - 30) < 5
    assert len(tables.ccds) == 8


def test_rank_refuses_what_cannot_be_compared():
    one = gpuanom.measure([nights.image(1)])
    with pytest.raises(gpuanom.InputError, match="two measurements are of exposure 'exposure'"):
        gpuanom.rank([one, one])
    for other in (Settings(bins=9), Settings(threshold=9.0), Settings(seed=2)):
        with pytest.raises(gpuanom.InputError, match="other settings"):
            gpuanom.rank([one], other)
    with pytest.raises(gpuanom.InputError, match=r"measure\(\[image\]\)"):
        gpuanom.measure(nights.image(1))


def test_focal_plane_axes_undo_the_turn():
    from gpuanom.measuring.ccd_record import focal_plane_axes

    north_up = (-1e-4, 0.0, 0.0, 1e-4)
    assert focal_plane_axes(north_up, Turn.NONE) == north_up
    for turn in Turn:
        # A direction in CCD axes, brought to the axes of the focal plane, must point to the same position on the sky.
        x, y = 0.6, 0.8
        fx, fy = (x, -y) if turn & Turn.MIRRORED else (x, y)
        if turn & Turn.QUARTER:
            fx, fy = -fy, fx
        a = focal_plane_axes(north_up, turn)
        assert np.allclose((a[0] * fx + a[1] * fy, a[2] * fx + a[3] * fy), (-1e-4 * x, 1e-4 * y))


def test_masks_of_records_are_taken_or_refused_never_misread():
    image = np.array(nights.image(3))
    half = np.zeros(image.shape, dtype=bool)
    half[:, : image.shape[1] // 2] = True
    by_bits = gpuanom.measure([gpuanom.Ccd("a", image, half * np.uint8(7))]).ccds[0]
    by_booleans = gpuanom.measure([gpuanom.Ccd("a", image, half)]).ccds[0]
    assert np.array_equal(by_bits.counts, by_booleans.counts)
    assert by_booleans.masked_fraction == 0.5
    for bad in (half[:-1], np.zeros((400, 400), bool), half * 9, half * 1.0):
        with pytest.raises(gpuanom.InputError, match="CCD a: "):
            gpuanom.measure([gpuanom.Ccd("a", image, bad)])
    for wrong in (image[None], image.astype(complex)):
        with pytest.raises(gpuanom.InputError, match="CCD a: "):
            gpuanom.measure([gpuanom.Ccd("a", wrong)])
    by_numpy = gpuanom.measure([np.ma.array(image, mask=half)]).ccds[0]
    assert by_numpy.masked_fraction == 0.5
    swapped = gpuanom.measure([gpuanom.Ccd("a", image.astype(">f8"))]).ccds[0]
    assert np.array_equal(swapped.counts, gpuanom.measure([gpuanom.Ccd("a", image)]).ccds[0].counts)
