"""Every command writes each file whole or not at all, names problems in one line, and leaves no temporary file."""

from __future__ import annotations

import bz2
import errno
import gzip
import importlib.util
import lzma
import os
import re
import shutil
from pathlib import Path

import pytest

import gpuanom
from gpuanom.cli import main
from gpuanom.errors import OutputError
from gpuanom.files import make_folder, require_writable, whole_file, write_text
from tests import nights

PACKAGE = Path(gpuanom.__file__).parent
SETTINGS = gpuanom.Settings(background_points=200, sigma_points=300, gradient_points=500, simulations=200)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    nights.night(folder / "in", exposures=3, ccds=1)
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu")
    (folder / "labels.csv").write_text(
        "exposure,kind,label\n" + "".join(f"{i},source,{'prominent' if i == 2 else 'normal'}\n" for i in (1, 2, 3))
    )
    return folder


@pytest.fixture
def night(scored, tmp_path):
    shutil.copytree(scored / "night", tmp_path / "night")
    return tmp_path / "night"


def commands(scored, night, output):
    """Every command that writes a file, by the name of the file."""
    labels = scored / "labels.csv"
    found = {
        "exposures.ecsv": ("score", "-o", night, "-q"),
        "exposures.csv": ("score", "-o", night, "-q", "--format", "csv"),
        "exposures.fits": ("score", "-o", night, "-q", "--format", "fits"),
        "report.html": ("report", night, "--top", "0", "-q"),
        "labels.csv": ("label", night, labels),
        "list.txt": ("export", night, "--format", "list", "--rank", "1", "-o", output / "list.txt"),
        "exclude.csv": ("export", night, "--format", "exclude", "--rank", "1", "-o", output / "exclude.csv"),
        "bad.txt": ("export", night, "--format", "bad_expid", "--rank", "1", "-o", output / "bad.txt"),
        "1_CCD1.reg": ("export", night, "--format", "regions", "--rank", "3", "-o", output),
        "rates.csv": ("evaluate", night, "--labels", labels, "--table", output / "rates.csv"),
        "rates.png": ("evaluate", night, "--labels", labels, "--figure", output / "rates.png"),
        "ref.ecsv": ("reference", night, "-o", output / "ref.ecsv"),
        "1.png": ("show", night, "1", "-o", output / "1.png"),
    }
    if importlib.util.find_spec("pyarrow"):
        found["exposures.parquet"] = ("score", "-o", night, "-q", "--format", "parquet")
    return found


NAMES = tuple(commands(Path("s"), Path("n"), Path("o")))


def place(name, night, output):
    """The path at which a command writes the file of this name."""
    return (night if name.startswith(("exposures.", "report", "labels")) else output) / name


def run(capfd, *words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    assert "unexpected" not in err
    return ended.value.code, out, err


def temporary(*folders):
    return [path for folder in folders for path in folder.rglob("*.partial")]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_the_files_name(scored, night, tmp_path, capfd, name):
    path = place(name, night, tmp_path / "out")
    if path.is_file():
        path.unlink()
    path.mkdir(parents=True)
    code, _, err = run(capfd, *commands(scored, night, tmp_path / "out")[name])
    assert code != 0
    assert name in err
    assert path.is_dir()
    assert not temporary(night, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_is_full(scored, night, tmp_path, capfd, monkeypatch, name):
    """The earlier file stays, no half-written file is left, and the line says what helps."""
    (tmp_path / "out").mkdir()
    path = place(name, night, tmp_path / "out")
    before = "exposure,kind,label\n" if name == "labels.csv" else "before"
    path.write_text(before)

    def full(_self, _target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    code, _, err = run(capfd, *commands(scored, night, tmp_path / "out")[name])
    assert code == 2
    assert f"{name}: cannot be written: No space left on device (make room on the disk" in err
    assert path.read_text() == before
    assert not temporary(night, tmp_path)


HEADER = b'{"__metadata__":{"gpuanom":"{}"}}'
PRECIOUS = {
    "database, as it keeps the measurements of a night,": b"SQLite format 3\0" + bytes(100),
    "file of people's labels": b"exposure,camera,kind,label,note,analyst,time\n",
    "trained model": len(HEADER).to_bytes(8, "little") + HEADER,
}
"""Hours of people and of computers, by the words of the message: an output of that name is a slip of the hand."""


@pytest.mark.parametrize("name", NAMES)
def test_no_command_replaces_what_is_not_made_again_in_a_moment(scored, night, tmp_path, capfd, name):
    (tmp_path / "out").mkdir()
    path = place(name, night, tmp_path / "out")
    for kind, content in PRECIOUS.items():
        if name == "labels.csv":
            continue  # `label` reads these before, and labels replace labels
        path.write_bytes(content)
        code, _, err = run(capfd, *commands(scored, night, tmp_path / "out")[name])
        assert code == 2
        assert f"{name}: is a {kind} and is not replaced (choose another name for the output)" in err
        assert path.read_bytes() == content


def test_the_files_that_our_commands_make_are_known_as_such(scored, night, capfd):
    """The words of the table above are those of files as they begin by hand: here are real ones."""
    for path, kind in ((night / "measurements.sqlite", "database"), (night / "labels.csv", "file of people's labels")):
        assert run(capfd, "label", night, scored / "labels.csv")[0] == 0  # labels replace labels
        before = path.read_bytes()
        code, _, err = run(capfd, "reference", night, "-o", path)
        assert code == 2
        assert f"{path.name}: is a {kind}" in err
        assert path.read_bytes() == before


PACKERS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(".fits")])
def test_no_command_replaces_a_fits_image(scored, night, tmp_path, capfd, name):
    """A slip of the hand (`-o exp17.fits`) costs no image, whatever the name of the image."""
    (tmp_path / "out").mkdir()
    path = place(name, night, tmp_path / "out")
    shutil.copy(next((scored / "in").glob("*.fits")), path)
    before = path.read_bytes()
    code, _, err = run(capfd, *commands(scored, night, tmp_path / "out")[name])
    assert code == 2
    # This command first reads the earlier labels, and an image holds none.
    expected = "labels.csv" if name == "labels.csv" else f"{name}: is a FITS file and is not replaced (choose another"
    assert expected in err
    assert path.read_bytes() == before
    assert not temporary(night, tmp_path)


@pytest.mark.parametrize("packer", PACKERS)
def test_a_fits_file_is_known_by_its_content(scored, tmp_path, packer):
    path = tmp_path / "exposure"
    path.write_bytes(PACKERS[packer](next((scored / "in").glob("*.fits")).read_bytes()))
    before = path.read_bytes()
    (tmp_path / "link").symlink_to(path)
    for output in (path, tmp_path / "link"):
        for write in (lambda p: write_text(p, "x"), require_writable):
            with pytest.raises(OutputError, match="is a FITS file and is not replaced"):
                write(output)
    assert path.read_bytes() == before
    for other in (b"SIMPLE text", before[: len(before) // 2][:4], b""):
        path.write_bytes(other)
        write_text(path, "after")
        assert path.read_text() == "after"


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="needs PyTorch")
@pytest.mark.parametrize("supervised", [(), ("--supervised",)])
def test_train_replaces_no_fits_image(scored, night, capfd, supervised):
    path = scored / "in" / "exposure_001.fits"
    before = path.read_bytes()
    code, _, err = run(capfd, "train", night, "-o", path, *supervised)
    assert code == 2
    assert "exposure_001.fits: is a FITS file and is not replaced" in err
    assert path.read_bytes() == before


@pytest.mark.skipif(not importlib.util.find_spec("bokeh"), reason="needs Bokeh")
def test_a_performance_report_replaces_no_fits_image(scored, tmp_path, capfd):
    path = scored / "in" / "exposure_001.fits"
    before = path.read_bytes()
    words = ("--workers", "1", "--performance-report", path, "--device", "cpu")
    code, _, err = run(capfd, "score", scored / "in", "-o", tmp_path / "out", *words)
    assert code == 2
    assert "exposure_001.fits: is a FITS file and is not replaced" in err
    assert path.read_bytes() == before


def _half(path, error):
    with whole_file(path) as partial:
        partial.write_text("half")
        raise error


def test_a_failure_of_any_kind_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    for error in (ValueError("no"), KeyboardInterrupt(), OutputError("a line of its own")):
        with pytest.raises(type(error)):
            _half(path, error)
        assert path.read_text() == "before"
        assert not temporary(tmp_path)


def test_two_programs_that_write_one_file_at_the_same_time(tmp_path):
    """Each writes a temporary file of its own, so that the file is always whole."""
    path = tmp_path / "page.html"
    (tmp_path / ".page.html.partial").write_text("left by a killed program")
    with whole_file(path) as first:
        first.write_text("first, which is longer")
        with whole_file(path) as second:
            assert second != first
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first, which is longer"
    assert list(tmp_path.iterdir()) == [path]


def test_to_ask_whether_a_file_can_be_written_disturbs_nobody_who_writes_it(tmp_path):
    path = tmp_path / "model"
    with whole_file(path) as partial:
        partial.write_text("whole")
        require_writable(path)
    assert path.read_text() == "whole"
    assert not temporary(tmp_path)


@pytest.mark.parametrize(
    ("number", "remedy"), [(28, "make room"), (13, "may write to"), (30, "may write to"), (2, "make it first")]
)
def test_errors_name_file_and_remedy(tmp_path, number, remedy):
    with pytest.raises(OutputError, match=rf"a\.txt: cannot be written: .*{remedy}"), whole_file(tmp_path / "a.txt"):
        raise OSError(number, os.strerror(number))


def test_a_disk_that_astropy_finds_full_is_called_full(tmp_path):
    words = r"a\.fits: cannot be written: No space left on device \(make room on the disk and repeat the command\)"
    with pytest.raises(OutputError, match=words), whole_file(tmp_path / "a.fits"):
        raise OSError("Not enough space on disk: requested 2097152, available 0. 262144 requested and 254400 written")


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for path, word in ((tmp_path / "none" / "a", "make it first"), (tmp_path / "file" / "a", "not a folder")):
        for write in (lambda p: write_text(p, "x"), require_writable):
            with pytest.raises(OutputError, match=word):
                write(path)
    with pytest.raises(OutputError, match="a folder has that name"):
        require_writable(tmp_path)


@pytest.mark.parametrize("name", ["link", "link/night"])
def test_a_link_that_leads_nowhere_is_named(tmp_path, name):
    (tmp_path / "link").symlink_to("/disk/that/is/not/mounted")
    path = tmp_path / name
    words = r"link is a link to /disk/that/is/not/mounted, which does not exist \(mend the link\)"
    for write in (lambda p: write_text(p, "x"), require_writable, make_folder):
        with pytest.raises(OutputError, match=r"cannot be written: .*link to /disk/that/is/not/mounted") as raised:
            write(path)
        assert name == "link" or re.search(words, str(raised.value))


def test_a_link_to_a_file_that_is_to_be_made(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text(tmp_path / "link", "x")
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="may write to"):
        write_text(tmp_path / "a", "x")


def test_what_is_no_regular_file_is_written_to_and_not_replaced(tmp_path):
    write_text(Path(os.devnull), "x")
    assert Path(os.devnull).is_char_device()
    with pytest.raises(OutputError, match="make room"):
        write_text(Path("/dev/full"), "x")
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "after"


def test_nothing_else_in_the_package_renames_files_into_place():
    """One function does this; `simulate` has another one for FITS files."""
    for path in PACKAGE.rglob("*.py"):
        if path.name != "files.py" and "simulate" not in path.parts:
            # click's formatters of help texts have a method `write_text`, too.
            text = path.read_text().replace("super().write_text(", "")
            assert ".partial" not in text, path
            assert not re.search(r"\.write_(text|bytes)\((?!partial)", text) or "partial.write" in text, path
