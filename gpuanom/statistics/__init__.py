"""Statistics of patterns, shapes and repeated stars: small numbers and maps of CCDs and exposures (METHOD.md Part II).

Backends measure small arrays (maps, profiles, sums of spectra, moments of stars). The modules here turn these arrays
into named float32 numbers, in the same way for every backend.

Begin with `listed.py`, which names the modules of statistics. Each of them has a tuple `CCD_STATISTICS` with a function
`ccd_statistics` that returns the values in this order, or `EXPOSURE_STATISTICS` with `exposure_statistics`, or both.
Another statistic is added there (CONTRIBUTING.md, "Add a statistic").
"""
