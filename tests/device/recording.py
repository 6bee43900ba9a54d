"""Runs a recorded launch again: `python -m tests.device.recording FILE`, in a process with the flavour wanted."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np


def replay(path: Path) -> None:
    import cupy

    launch = pickle.loads(path.read_bytes())
    kernel = cupy.RawModule(code=launch["code"], options=launch["options"]).get_function(launch["kernel"])
    kernel.max_dynamic_shared_size_bytes = launch["dynamic_limit"]
    arguments = [cupy.asarray(value) if isinstance(value, np.ndarray) else value for value in launch["arguments"]]
    kernel(launch["grid"], launch["block"], tuple(arguments), shared_mem=launch["shared_bytes"])
    cupy.cuda.Device().synchronize()


if __name__ == "__main__":
    replay(Path(sys.argv[1]))
