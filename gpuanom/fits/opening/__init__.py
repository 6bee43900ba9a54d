"""A FITS file is opened: its bytes in memory, its HDUs, and whether it is whole.

Begin with `file.py`. `first_headers.py` is the shorter way of `gpuanom.fits.discover`, which needs no pixels.
"""
