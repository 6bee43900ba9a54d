"""The plots of `gpuanom.review.plots` under their public name, so that ``import gpuanom.plots`` finds them."""

from __future__ import annotations

import sys

from gpuanom.review import plots
from gpuanom.review.plots import *  # noqa: F403 (what type checkers see)

sys.modules[__name__] = plots  # the one module that ``from gpuanom import plots`` gives as well
