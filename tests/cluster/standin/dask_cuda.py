"""A stand-in for dask-cuda: the documented arguments of LocalCUDACluster, and the environments of its workers."""

from __future__ import annotations

from distributed import LocalCluster, Nanny


class LocalCUDACluster(LocalCluster):
    """One worker for each GPU; each worker sees its own GPU first."""

    def __init__(
        self,
        CUDA_VISIBLE_DEVICES=None,
        n_workers=None,
        threads_per_worker=1,
        memory_limit="auto",
        device_memory_limit="default",
        **kwargs,
    ):
        assert isinstance(CUDA_VISIBLE_DEVICES, list)
        assert n_workers == len(CUDA_VISIBLE_DEVICES)
        assert device_memory_limit is None
        self.cuda_visible_devices = [int(number) for number in CUDA_VISIBLE_DEVICES]
        super().__init__(n_workers=0, threads_per_worker=threads_per_worker, memory_limit=memory_limit, **kwargs)
        self.scale(n_workers)
        self.sync(self._correct_state)

    def new_worker_spec(self):
        gpu = min(set(self.cuda_visible_devices) - set(self.worker_spec))
        at = self.cuda_visible_devices.index(gpu)
        turned = self.cuda_visible_devices[at:] + self.cuda_visible_devices[:at]
        options = {**self.new_spec["options"], "env": {"CUDA_VISIBLE_DEVICES": ",".join(map(str, turned))}}
        return {gpu: {"cls": Nanny, "options": options}}
