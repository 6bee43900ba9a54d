"""The tables of a night: one row for each exposure, one row for each CCD."""
