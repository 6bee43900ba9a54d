"""From FITS files to exposures and CCDs: `discover` finds exposures, `read_ccds` streams their CCDs."""

from __future__ import annotations

from gpuanom.fits.discover import Discovery, FileFailure, Skipped, discover
from gpuanom.fits.reader import read_ccds

__all__ = ["Discovery", "FileFailure", "Skipped", "discover", "read_ccds"]
