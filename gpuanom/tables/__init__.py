"""The tables of a night: one row an exposure, one row a CCD."""
