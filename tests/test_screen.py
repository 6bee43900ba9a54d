"""The lines that a run prints: one line for many CCDs of an exposure with the same trouble."""

import numpy as np
from astropy.io import fits
from click.testing import CliRunner

from gpuanom.cli import cli


def test_a_file_of_a_hundred_stamps_is_a_line(tmp_path):
    """Guider files of LSST hold a hundred images that are too small to be scored."""
    rng = np.random.default_rng(1)
    hdus = [fits.PrimaryHDU(header=fits.Header({"FILTER": "i", "INSTRUME": "CAM"}))]
    hdus.append(fits.ImageHDU(rng.normal(1000, 10, (200, 210)).astype(np.float32), name="CCD1"))
    hdus += [fits.ImageHDU(np.ones((20, 20), np.float32), name=f"ROI{n}") for n in range(102)]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")

    def lines(*more):
        output = str(tmp_path / f"out{len(more)}")
        arguments = ["score", str(tmp_path / "a.fits"), "-o", output, "--device", "cpu", *more]
        text = CliRunner().invoke(cli, arguments, standalone_mode=False).output
        return [line for line in text.splitlines() if "ROI" in line and not line.startswith("left out")]

    (line,) = lines()
    assert "and 101 more CCDs are too_small" in line
    assert len(lines("-v")) == 102
