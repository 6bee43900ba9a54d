"""Runs kept launches again, in a process with another flavour: `python -m tests.device.recording FILE ...`.

Prints a digest of the arrays after each launch.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from pathlib import Path

import numpy as np


def replay(path: Path) -> str:
    """Run one launch again; the digest of its arrays."""
    import cupy

    launch = pickle.loads(path.read_bytes())
    kernel = cupy.RawModule(code=launch["code"], options=launch["options"]).get_function(launch["kernel"])
    kernel.max_dynamic_shared_size_bytes = launch["dynamic_limit"]
    arguments = [cupy.asarray(value) if isinstance(value, np.ndarray) else value for value in launch["arguments"]]
    kernel(launch["grid"], launch["block"], tuple(arguments), shared_mem=launch["shared_bytes"])
    digest = hashlib.sha256()
    for value in arguments:
        if isinstance(value, cupy.ndarray):
            digest.update(value.get().tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        sys.stdout.write(f"{Path(name).stem} {replay(Path(name))}\n")
        sys.stdout.flush()  # a sanitizer that finds something in the next launch ends the process at once
