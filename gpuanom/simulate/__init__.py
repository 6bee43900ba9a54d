"""Simulated nights of exposures with known anomalies, and anomalies put into real images, to try the method on.

`plan` decides how each exposure is taken and what is wrong with it (`conditions`), `stamps` draws shapes with GalSim
(extra ``simulate``), `sky` draws CCDs from them, `detector` reads them out, `night` writes them into a `folder`.
`injectors` lists the anomalies; `optics`, `patterns` and `electronics` say what each does, `injection` puts one into
pixels, `syntax` reads their names, and `placing` chooses the CCDs that show them. `injected_copies` writes copies of
real files with an anomaly. Every number follows from the seed, each CCD from a stream of its own, so that equal
arguments give equal bytes.
"""

from gpuanom.simulate.conditions import Anomaly, CcdPlace, Conditions
from gpuanom.simulate.injection import inject
from gpuanom.simulate.injectors import INJECTORS
from gpuanom.simulate.night import simulate_night
from gpuanom.simulate.placing import choose_ccds
from gpuanom.simulate.syntax import SYNTAX, parse

__all__ = [
    "INJECTORS",
    "SYNTAX",
    "Anomaly",
    "CcdPlace",
    "Conditions",
    "choose_ccds",
    "inject",
    "parse",
    "simulate_night",
]
