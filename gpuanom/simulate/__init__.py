"""Simulated nights of exposures with known anomalies, to try and to test the method on.

`conditions` decides how each exposure is taken and what is wrong with it, `sky` draws its CCDs with GalSim (extra
``simulate``), `night` writes them. Every number follows from the seed, each CCD from a stream of its own, so that equal
arguments give equal bytes.
"""

from gpuanom.simulate.conditions import Anomaly, Conditions
from gpuanom.simulate.night import simulate_night
from gpuanom.simulate.sky import draw_ccd

__all__ = ["Anomaly", "Conditions", "draw_ccd", "simulate_night"]
