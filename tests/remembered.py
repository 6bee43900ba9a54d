"""What the slow loops of naive.py have answered and the skies that sky.py has drawn, so that nothing is computed twice.

Both backends are compared with the same numbers, and the sanitizers run the same tests once more. An answer is found by
all bytes of its arguments. The variable GPUANOM_TESTS_ANSWERS names a folder that keeps the answers for later runs; a
changed naive*.py or sky.py finds none of them.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import pickle
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent

_folder = os.environ.get("GPUANOM_TESTS_ANSWERS")
_kept: dict[bytes, object] = {}  # of earlier runs
_answers: dict[bytes, object] = {}


def _add(digest, value):
    """Add the bytes of an argument to a digest, with what says how they are to be read."""
    if isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape}".encode())
        digest.update(value.tobytes())
    elif isinstance(value, list | tuple):
        digest.update(f"{type(value).__name__} {len(value)}".encode())
        for part in value:
            _add(digest, part)
    else:
        digest.update(f"{type(value).__name__} {value!r};".encode())


def _key(name, arguments, named):
    digest = hashlib.blake2b(name.encode(), digest_size=20)
    _add(digest, arguments)
    _add(digest, sorted(named.items()))
    return digest.digest()


def remembered(function):
    """Decorator of functions without side effects: what was asked before is not computed again."""

    @functools.wraps(function)
    def asked(*arguments, **named):
        key = _key(f"{function.__module__}.{function.__qualname__}", arguments, named)
        answer = _answers.get(key) or _kept.get(key)
        if answer is None:
            # As bytes, since those who ask may change what they get.
            answer = _answers[key] = pickle.dumps(function(*arguments, **named))
        return pickle.loads(answer)

    return asked


def by_place(name, *arguments):
    """The dictionary {place: answer} that belongs to these arguments, to be filled by the function that asks for it."""
    key = _key(name, arguments, {})
    if key not in _answers:
        _answers[key] = dict(_kept.get(key, {}))
    return _answers[key]


def _sources():
    texts = [path.read_bytes() for path in [*sorted(HERE.glob("naive*.py")), HERE / "sky.py", Path(__file__)]]
    return hashlib.sha256(b"".join([*texts, sys.version.encode(), np.__version__.encode()])).hexdigest()[:20]


def _keep(folder):
    target = folder / f"{_sources()}-{os.getpid()}.pickle"
    unfinished = target.with_suffix(".unfinished")
    unfinished.write_bytes(pickle.dumps(_answers))
    unfinished.rename(target)


if _folder:
    for path in sorted(Path(_folder).glob(f"{_sources()}-*.pickle")):
        for key, answer in pickle.loads(path.read_bytes()).items():
            _kept[key] = {**_kept.get(key, {}), **answer} if isinstance(answer, dict) else answer
    atexit.register(_keep, Path(_folder))
