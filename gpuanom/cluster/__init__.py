"""Exposures measured by the workers of a Dask scheduler, in place of the threads of `gpuanom.measuring.threads`.

`gpuanom.cluster.choice.ClusterChoice` says which scheduler is used, and `gpuanom.cluster.run.Cluster` is used as
`gpuanom.measuring.threads.Threads` is. Dask is imported only when a cluster is asked for. Workers measure, and answer
with small records; the process that the user started writes the store.
"""
