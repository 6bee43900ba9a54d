"""Simulated nights of exposures with known anomalies, and anomalies put into real images, to try the method on.

`plan` decides how each exposure is taken and what is wrong with it, `stamps` draws shapes with GalSim (extra
``simulate``), `sky` draws CCDs from them, `detector` reads them out, `night` writes them into a `folder`. `injectors`
lists the anomalies; `optics` and `patterns` say what each does, `placing` which CCDs show it. Every number follows
from the seed, each CCD from a stream of its own, so that equal arguments give equal bytes.
"""

from gpuanom.simulate.conditions import Anomaly, CcdPlace, Conditions
from gpuanom.simulate.injectors import INJECTORS, SYNTAX, inject, parse
from gpuanom.simulate.night import simulate_night
from gpuanom.simulate.placing import settle
from gpuanom.simulate.sky import draw_ccd

__all__ = [
    "INJECTORS",
    "SYNTAX",
    "Anomaly",
    "CcdPlace",
    "Conditions",
    "draw_ccd",
    "inject",
    "parse",
    "settle",
    "simulate_night",
]
