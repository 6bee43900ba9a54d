import dataclasses
import gzip
import multiprocessing
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import SettingsError
from gpuanom.fits import discover, read_ccds
from gpuanom.fits.discover import rule_of
from gpuanom.settings import Settings

SMALL = np.arange(20, dtype=np.float32).reshape(4, 5)


def names(found):
    return [(e.exposure, [f.name for f in e.files]) for e in found.exposures]


def failures(found):
    return {f.path.name: (f.status, f.reason) for f in found.failures}


def test_files_folders_globs_and_lists_find_the_same(write, tmp_path, settings, monkeypatch):
    for name in ("b/two.fits", "one.FITS", "b/c/three.fit"):
        write(name, data=SMALL)
    (tmp_path / "b" / ".hidden.fits").write_bytes(b"nothing")
    (tmp_path / "b" / "notes.txt").write_text("no image")
    (tmp_path / "list.txt").write_text("# a comment\none.FITS\n\n b/two.fits \nb/c/*.fit\n")
    wanted = [("one", ["one.FITS"]), ("three", ["three.fit"]), ("two", ["two.fits"])]
    monkeypatch.chdir(tmp_path)
    by_folder = discover([tmp_path], settings)
    assert names(by_folder) == wanted
    assert by_folder.failures == ()
    for inputs in (
        ["b", "one.FITS"],
        ["one.FITS", "b/two.fits", "b/c/three.fit"],
        ["@list.txt"],
        [f"@{tmp_path}/list.txt"],
        ["**/*.fit*", "*.FITS"],
        [tmp_path, "one.FITS", "b/../one.FITS", "@list.txt"],
    ):
        found = discover(inputs, settings)
        assert names(found) == wanted, inputs
        assert found.failures == ()


def test_order_does_not_depend_on_the_inputs(write, settings):
    paths = [write(f"ccd{n}.fits", data=SMALL, EXPNUM=7, EXTNAME=f"c{n}") for n in (10, 9, 2, 1)]
    paths += [write(f"other{n}.fits", data=SMALL, EXPNUM=n) for n in (100, 20)]
    forward, backward = discover(paths, settings), discover(paths[::-1], settings)
    np.testing.assert_equal(dataclasses.asdict(forward), dataclasses.asdict(backward))  # NaN equals NaN
    assert names(forward)[0] == ("7", ["ccd1.fits", "ccd2.fits", "ccd9.fits", "ccd10.fits"])
    assert [e.exposure for e in forward.exposures] == ["7", "20", "100"]


def test_exposures_are_by_camera_first(write, settings):
    paths = [write(f"{n}.fits", data=SMALL, EXPNUM=1, INSTRUME=camera) for n, camera in enumerate("BA")]
    assert [e.camera for e in discover(paths, settings).exposures] == ["A", "B"]


def test_a_file_with_magic_characters_in_its_name(write, settings):
    path = write("odd[1].fits", data=SMALL)
    assert names(discover([path], settings)) == [("odd[1]", ["odd[1].fits"])]


def test_a_link_to_a_file_counts_once(write, tmp_path, settings):
    path = write("a.fits", data=SMALL)
    (tmp_path / "b.fits").symlink_to(path)
    assert names(discover([tmp_path], settings)) == [("a", ["a.fits"])]


def test_inputs_that_name_nothing(tmp_path, settings):
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.txt").write_text("# only a comment\n")
    (tmp_path / "loop.txt").write_text("@loop.txt\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "self.fits").symlink_to(tmp_path / "self.fits")
    got = failures(
        discover(
            [tmp_path / n for n in ("gone.fits", "empty", "*.nothing", "self.fits")]
            + [f"@{tmp_path}/{n}.txt" for n in ("none", "loop", "binary", "gone")],
            settings,
        )
    )
    words = {
        "gone.fits": "does not exist", "empty": "no FITS file", "*.nothing": "no file matches", "none.txt": "no file",
        "loop.txt": "itself", "binary.txt": "not text", "gone.txt": "cannot be read", "self.fits": "cannot be read",
    }  # fmt: skip
    assert set(got) == set(words)
    for name, word in words.items():
        assert got[name][0] == "unreadable"
        assert word in got[name][1], name


def test_files_that_are_no_images(write, tmp_path, settings):
    good = write("good.fits", data=SMALL)
    raw = good.read_bytes()
    (tmp_path / "zero.fits").write_bytes(b"")
    (tmp_path / "text.fits").write_text("SIMPLE is not FITS" * 300)
    (tmp_path / "head.fits").write_bytes(raw[:1000])
    (tmp_path / "endless.fits").write_bytes(b"SIMPLE  =                    T".ljust(2880) * 4)
    (tmp_path / "axes.fits").write_bytes(
        raw.replace(b"NAXIS1  =                    5", b"NAXIS1  =                   -5")
    )
    (tmp_path / "broken.fits.gz").write_bytes(gzip.compress(raw)[:60])
    (tmp_path / "notgz.fits.gz").write_bytes(b"\x1f\x8b" + b"x" * 100)
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])]).writeto(
        tmp_path / "table.fits"
    )
    found = discover([tmp_path], settings)
    assert [e.exposure for e in found.exposures] == ["good"]
    assert {name: status for name, (status, _) in failures(found).items()} == {
        "zero.fits": "unreadable", "text.fits": "unreadable", "head.fits": "corrupt", "endless.fits": "corrupt",
        "axes.fits": "corrupt", "broken.fits.gz": "corrupt", "notgz.fits.gz": "corrupt", "table.fits": "no_image",
    }  # fmt: skip
    assert all("\n" not in reason and "(" in reason for _, reason in failures(found).values())


def test_a_second_header_that_is_cut_off(write, tmp_path, settings):
    raw = write("a.fits", (SMALL, {"EXTNAME": "c"})).read_bytes()
    (tmp_path / "a.fits").write_bytes(raw[:3000])
    assert failures(discover([tmp_path], settings))["a.fits"][0] == "corrupt"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_permissions(write, tmp_path, settings):
    path = write("a.fits", data=SMALL)
    path.chmod(0)
    assert "permission" in failures(discover([path], settings))["a.fits"][1]


def test_permissions_as_anyone(write, settings, monkeypatch):
    """The same without permission bits, which do not restrict root."""
    path = write("a.fits", data=SMALL)
    plain = Path.open

    def refuse(self, *args, **kwargs):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    assert failures(discover([path], settings))["a.fits"] == (
        "unreadable",
        "no permission to read it (change its permissions)",
    )


def test_gzipped_and_packed_files_are_exposures(write, tmp_path, settings):
    path = write("a.fits", data=SMALL, EXPNUM=1)
    (tmp_path / "b.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
    hdu = fits.CompImageHDU(np.ones((40, 50), np.float32), header=fits.Header({"EXPNUM": 3}), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "c.fits.fz")
    assert names(discover([tmp_path], settings)) == [("1", ["a.fits", "b.fits.gz"]), ("3", ["c.fits.fz"])]


def test_weights_and_masks_are_left_out_and_said(instcal, write, settings):
    path = instcal()
    write(path.name.replace("ooi", "oow"), data=SMALL)
    write("dq.fits", data=SMALL, PRODTYPE="dqmask")
    found = discover([path.parent], settings)
    assert [e.exposure for e in found.exposures] == ["845291"]
    assert {s.path.name for s in found.skipped} == {
        path.name.replace("ooi", "oow"),
        path.name.replace("ooi", "ood"),
        "dq.fits",
    }
    assert all("weight or mask" in s.reason for s in found.skipped)
    assert {s.kind for s in found.skipped} == {"a weight or mask file"}


def test_calibrations_and_stacks_are_left_out_and_said(write, tmp_path, settings):
    write("bias.fits", data=SMALL, OBSTYPE="zero")
    write("stack.fits", data=SMALL, PROCTYPE="Stacked")
    write("sky.fits", data=SMALL, OBSTYPE="object")
    found = discover([tmp_path], settings)
    assert [e.exposure for e in found.exposures] == ["sky"]
    assert [(s.path.name, s.reason, s.kind) for s in found.skipped] == [
        ("bias.fits", "not a sky exposure: OBSTYPE is 'zero'", "not a sky exposure (zero)"),
        ("stack.fits", "a stack: PROCTYPE is 'Stacked'", "a stack (stacked)"),
    ]


def test_the_mask_is_found_by_name(instcal, one):
    path = instcal()
    assert [m.name for m in one(path).masks] == [path.name.replace("ooi", "ood")]


def test_the_mask_may_be_packed_otherwise(instcal, one):
    path = instcal()
    mask = path.with_name(path.name.replace("ooi", "ood"))
    packed = mask.with_name(mask.name + ".gz")
    packed.write_bytes(gzip.compress(mask.read_bytes()))
    mask.unlink()
    assert one(path).masks == (packed,)


def test_a_missing_mask_is_said(instcal, one):
    exposure = one(instcal(mask=False))
    assert exposure.masks == (None,)
    assert any("no mask file" in remark for remark in exposure.remarks)


def test_no_mask_when_masks_are_off(instcal, one):
    exposure = one(instcal(), settings=Settings(mask=False))
    assert (exposure.masks, exposure.remarks) == ((None,), ())


@pytest.fixture
def three_versions(instcal):
    instcal("c4d_1_ooi_g_v1.fits", PLVER="V4.8.2")
    instcal("c4d_1_ooi_g_v2.fits", PLVER="V4.8.2a")
    return instcal("c4d_1_ooi_g_ls9.fits", PLVER="V4.10").parent


def test_the_newest_version_is_taken_and_the_others_said(three_versions, settings):
    found = discover([three_versions], settings)
    (exposure,) = found.exposures
    assert (exposure.exposure, [f.name for f in exposure.files]) == ("845291", ["c4d_1_ooi_g_ls9.fits"])
    assert len(exposure.remarks) == 2
    older = {s.path.name for s in found.skipped if s.kind == "an older version"}
    assert older == {"c4d_1_ooi_g_v1.fits", "c4d_1_ooi_g_v2.fits"}


def test_versions_can_be_kept_apart(three_versions):
    found = discover([three_versions], Settings(versions="apart"))
    assert [e.exposure for e in found.exposures] == ["845291-V4.8.2-v1", "845291-V4.8.2a-v2", "845291-V4.10-ls9"]
    assert all(len(e.files) == 1 for e in found.exposures)


def test_versions_of_one_plver_go_by_name(instcal, settings):
    folder = instcal("c4d_1_ooi_g_v9.fits").parent
    instcal("c4d_1_ooi_g_v10.fits")
    (exposure,) = discover([folder], settings).exposures
    assert exposure.files[0].name == "c4d_1_ooi_g_v10.fits"


def test_the_fingerprint_follows_the_files(instcal, one):
    path = instcal()
    mask = path.with_name(path.name.replace("ooi", "ood"))
    first = one(path).fingerprint
    assert one(path).fingerprint == first
    os.utime(path, ns=(0, 1))
    second = one(path).fingerprint
    os.utime(mask, ns=(0, 1))
    third = one(path).fingerprint
    mask.write_bytes(mask.read_bytes() + b"\0" * 2880)
    os.utime(mask, ns=(0, 1))
    fourth = one(path).fingerprint
    assert len({first, second, third, fourth}) == 4


def test_the_fingerprint_follows_datasum(write, one):
    found = []
    for datasum in ("1", "2"):
        path = write("a.fits", data=SMALL, DATASUM=datasum)
        os.utime(path, ns=(0, 1))
        found.append(one(path).fingerprint)
        path.unlink()
    assert found[0] != found[1]


def test_a_users_rule_comes_first_and_replaces_its_namesake(write, one):
    path = write("a.fits", data=SMALL, INSTRUME="DECam", PROCTYPE="RAW", EXPNUM=5, SHOT="s-7")
    rule = CameraRule(name="mine", match=(("INSTRUME", "decam"),), exposure=("SHOT",), camera="Mine")
    exposure = one(path, settings=Settings(cameras=(rule,)))
    assert (exposure.exposure, exposure.camera, exposure.rule) == ("s-7", "Mine", "mine")
    namesake = CameraRule(name="DECam raw", match=(("INSTRUME", "nothing"),))
    assert one(path, settings=Settings(cameras=(namesake,))).rule == "any"
    for_all = CameraRule(name="any", exposure=("SHOT",))
    assert one(path, settings=Settings(cameras=(for_all,))).rule == "DECam raw"
    with pytest.raises(SettingsError, match="mine"):
        rule_of(exposure, Settings())


def test_only_headers_are_read(write, tmp_path, settings):
    """A file that is cut off right after its headers is found: missing pixels are a matter for the reader."""
    raw = write("a.fits", (SMALL, {"EXTNAME": "c1"}), EXPNUM=4).read_bytes()
    (tmp_path / "a.fits").write_bytes(raw[: 2 * 2880])
    assert [e.exposure for e in discover([tmp_path], settings).exposures] == ["4"]


@pytest.mark.real
def test_every_real_file_is_an_exposure_or_said(real_data, settings, all_fits):
    found = discover([real_data], settings)
    used = {f for e in found.exposures for f in e.files}
    said = {s.path for s in found.skipped} | {f.path for f in found.failures}
    assert used | said == set(all_fits(real_data))
    assert not used & said
    assert found.failures == ()


@pytest.mark.real
def test_real_versions_are_not_mixed(real_data, settings):
    found = discover([real_data / "decam_cutouts"], settings)
    mixed = {e.exposure: [f.name for f in e.files] for e in found.exposures}["396388"]
    assert len(mixed) == 2
    assert all("_ls9" in name for name in mixed)
    assert all(mask and "_ood_" in mask.name for e in found.exposures for mask in e.masks)


@pytest.mark.real
def test_real_files_may_be_read_only(real_data, tmp_path, settings, all_fits):
    source = next(iter(all_fits(real_data / "vircam")))
    copy = tmp_path / source.name
    shutil.copy(source, copy)
    copy.chmod(0o444)
    assert len(discover([copy], settings).exposures) == 1


def test_header_values_of_odd_types(write, settings):
    path = write("a.fits", data=SMALL, EXPNUM=True, FILTER=3, INSTRUME=2.5, EXPTIME="long")
    with fits.open(path) as hdus:
        assert hdus[0].header["EXPNUM"] is True
    (exposure,) = discover([path], settings).exposures
    assert (exposure.exposure, exposure.band, exposure.camera) == ("True", "3", "2.5")
    assert np.isnan(exposure.exptime)


def test_a_folder_that_cannot_be_looked_into(write, tmp_path, settings):
    """Run as an ordinary user, whom permissions restrict: one line for each refused path; the good file is found."""
    good = write("good.fits", data=SMALL)
    for name in ("no", "no/sub", "list"):
        (tmp_path / name).mkdir()
    write("no/sub/a.fits", data=SMALL)
    write("list/a.fits", data=SMALL)
    inputs = [good, tmp_path / "no" / "sub", tmp_path / "no" / "sub" / "a.fits", tmp_path / "no" / "*.fits"]
    inputs += [tmp_path / "no", tmp_path / "*o", tmp_path / "list", f"@{tmp_path}/no/list.txt"]

    def child(pipe):
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            found = discover(inputs, settings)
            pipe.send(([e.exposure for e in found.exposures], {f.path: f.reason for f in found.failures}))
        except BaseException as error:
            pipe.send(repr(error))

    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o005)
    (tmp_path / "no").chmod(0)
    (tmp_path / "list").chmod(0o444)
    try:
        ours, theirs = multiprocessing.get_context("fork").Pipe()
        process = multiprocessing.get_context("fork").Process(target=child, args=(theirs,))
        process.start()
        assert ours.poll(60)
        got = ours.recv()
        process.join()
    finally:
        (tmp_path / "no").chmod(0o755)
        (tmp_path / "list").chmod(0o755)
    assert not isinstance(got, str), got
    exposures, reasons = got
    assert exposures == ["good"]
    assert reasons == {
        tmp_path / "no" / "sub": "cannot be looked up: Permission denied (change its permissions)",
        tmp_path / "no" / "sub" / "a.fits": "cannot be looked up: Permission denied (change its permissions)",
        tmp_path / "no": "folder cannot be read: Permission denied (change its permissions)",
        tmp_path / "list" / "a.fits": "no permission to read it (change its permissions)",
        tmp_path / "no" / "list.txt": "list cannot be read: Permission denied (check the path after @)",
    }


def test_names_that_no_file_can_have(tmp_path, settings):
    long, null = tmp_path / ("x" * 300 + ".fits"), tmp_path / "a\0b.fits"
    found = failures(discover([long, null, f"@{long}", f"{long}*"], settings))
    assert "File name too long" in found[long.name][1]
    assert len(found) == 3
    assert all(status == "unreadable" for status, _ in found.values())


def test_a_mask_name_that_is_too_long(write, settings):
    name = "x" * 241 + "_ooi_g_v1.fits"
    path = write(name, data=SMALL, INSTRUME="DECam", PROCTYPE="InstCal", EXPNUM=1)
    (exposure,) = discover([path], settings).exposures
    assert exposure.masks == (None,)


def test_what_is_no_regular_file_does_not_hang(write, tmp_path, settings):
    os.mkfifo(tmp_path / "pipe.fits")
    os.mkfifo(tmp_path / "list.txt")
    (tmp_path / "null.fits").symlink_to("/dev/zero")
    (tmp_path / "loop.fits").symlink_to("loop.fits")
    write("folder.fits/a.fits", data=SMALL)
    (tmp_path / "empty.fits").mkdir()
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(os.path.relpath(tmp_path / "plug.fits"))
        found = discover([tmp_path, f"@{tmp_path}/list.txt"], settings)
    assert names(found) == [("a", ["a.fits"])]
    assert set(failures(found)) == {"pipe.fits", "null.fits", "loop.fits", "plug.fits", "list.txt"}
    assert all("(" in reason for _, reason in failures(found).values())


def test_names_that_are_not_utf8(tmp_path, settings):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/img\xff1.fits"))
    fits.PrimaryHDU(SMALL).writeto(path)
    broken = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xfe.fits"))
    broken.write_text("no FITS")
    packed = path.with_name(path.name.replace("img", "zip") + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "list.txt").write_bytes(b"img\xff1.fits\nzip\xff1.fits.gz\nbad\xfe.fits\n")
    for inputs in ([tmp_path], [path, packed, broken], [f"@{tmp_path}/list.txt"], [f"{tmp_path}/*.fits*"]):
        found = discover(inputs, settings)
        assert [e.files for e in found.exposures] == [(path,), (packed,)]
        assert all(e.exposure.isprintable() for e in found.exposures)
        assert [(f.path, f.reason.isprintable()) for f in found.failures] == [(broken, True)]
        for exposure in found.exposures:
            (ccd,) = read_ccds(exposure, settings)
            np.testing.assert_array_equal(ccd.image, SMALL)
    os.truncate(path, 2900)
    (exposure,) = discover([path], settings).exposures
    (failure,) = read_ccds(exposure, settings)
    assert failure.status == "corrupt"
    assert failure.reason.isprintable()


def test_our_own_tables_are_left_out_and_said(write, tmp_path, settings):
    write("sky.fits", data=SMALL, CREATOR="gpuanom 1.0")  # an image is accepted whatever program wrote it
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])
    table.header["CREATOR"] = "gpuanom 1.0"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "exposures.fits")
    plain = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])
    head = fits.PrimaryHDU(header=fits.Header({"CREATOR": "gpuanom 1.0"}))
    fits.HDUList([head, plain]).writeto(tmp_path / "ccds.fits")
    found = discover([tmp_path], settings)
    assert [e.exposure for e in found.exposures] == ["sky"]
    assert found.failures == ()
    assert {(s.path.name, s.kind) for s in found.skipped} == {
        (name, "a table that gpuanom wrote") for name in ("exposures.fits", "ccds.fits")
    }


@pytest.mark.parametrize("band", [True, False])
def test_one_name_in_two_folders_is_two_exposures(write, tmp_path, settings, band):
    for folder in "gr":
        write(f"{folder}/img1.fits", data=SMALL, **({"FILTER": folder} if band else {}))
    write("g/img2.fits", data=SMALL)
    for inputs in ([tmp_path], [tmp_path / "r", tmp_path / "g"]):
        found = discover(inputs, settings)
        assert [(e.exposure, e.files[0].parent.name) for e in found.exposures] == [
            ("g-img1", "g"),
            ("img2", "g"),
            ("r-img1", "r"),
        ]


def test_one_name_in_folders_of_one_name(write, tmp_path, settings):
    for folder in ("a/g", "b/g"):
        write(f"{folder}/img1.fits", data=SMALL)
    write("g-img1.fits", data=SMALL)
    assert [e.exposure for e in discover([tmp_path], settings).exposures] == ["a-g-img1", "b-g-img1", "g-img1"]


def test_one_name_packed_in_two_ways(write, settings):
    """In one band the two files are one exposure and a duplicate of it; in two bands they are two exposures."""
    path = write("img1.fits", data=SMALL, FILTER="g")
    packed = path.with_name("img1.fits.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert names(discover([path.parent], settings)) == [("img1", ["img1.fits", "img1.fits.gz"])]
    with fits.open(path) as hdus:
        hdus[0].header["FILTER"] = "r"
        packed.write_bytes(b"")
        hdus.writeto(packed, overwrite=True)
    assert names(discover([path.parent], settings)) == [("img1-g", ["img1.fits"]), ("img1-r", ["img1.fits.gz"])]


def test_an_id_of_the_header_groups_across_folders(write, tmp_path, settings):
    for folder in "gr":
        write(f"{folder}/img1.fits", data=SMALL, EXPNUM=5)
    assert [(e.exposure, len(e.files)) for e in discover([tmp_path], settings).exposures] == [("5", 2)]


def test_a_glob_of_folders(write, tmp_path, settings):
    write("in1/a.fits", data=SMALL)
    write("in2/sub/b.fits", data=SMALL)
    write("in.fits", data=SMALL)
    (tmp_path / "in3").mkdir()
    found = discover([f"{tmp_path}/in*"], settings)
    assert [e.exposure for e in found.exposures] == ["a", "b", "in"]
    assert found.failures == ()
    assert "no FITS file" in failures(discover([f"{tmp_path}/in3*"], settings))["in3"][1]
