"""The CCDs among the HDUs of a file: their names and axes, their sky, their masks and their pixels.

`gpuanom.fits.reader` calls these modules one after the other: begin there.
"""
