"""From the text of a header to the values of its cards, and the records of HDUs that carry the headers.

Begin with `scanned.py` and `values.py`. This folder imports no other folder of gpuanom.fits.
"""
