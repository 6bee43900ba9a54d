"""From the files that a user names to exposures: what each file is, and which files belong together.

`gpuanom.fits.discover` calls these modules one after the other: begin there.
"""
