"""Statistics of patterns, shapes and repeated stars: small numbers and maps of CCDs and exposures (METHOD.md Part II).

Backends measure small arrays (maps, profiles, sums of spectra, moments of stars). The modules here turn these arrays
into named float32 numbers, in the same way for every backend.
"""
