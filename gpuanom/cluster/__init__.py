"""Exposures measured by the workers of a Dask scheduler, in place of the threads of `gpuanom.measuring.threads`.

`Where` says which scheduler is used, and `gpuanom.cluster.run.Cluster` is used as `gpuanom.measuring.threads.Works`
is. Dask is imported only when a cluster is asked for. Workers measure, and answer with small records; the process that
the user started writes the store.
"""

from __future__ import annotations

from gpuanom.cluster.job import Job, ModelFile
from gpuanom.cluster.where import TIMEOUT, Where, require_dask

__all__ = ["TIMEOUT", "Job", "ModelFile", "Where", "require_dask"]
