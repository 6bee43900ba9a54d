"""What a statistic is: its name, unit and meaning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Statistic:
    """A number that is measured of a CCD or of an exposure, and stored as float32.

    Attributes
    ----------
    name : str
        Name of the number in the store, and of its column where a table shows it.
    unit : str
        Unit as astropy writes it, empty without one.
    description : str
        What the number means, in a sentence; documents and tables show it.
    """

    name: str
    unit: str
    description: str
