"""The FITS reader under a coverage-guided fuzzer (atheris), for any length of time.

python -m tests.fuzz_atheris --seconds 60 [--corpus FOLDER] [files that failed ...]

Needs `pip install atheris`, which the other tests do not need. A file is read as `gpuanom score` reads it: headers,
exposures, CCDs, and pixels both as stored and decoded. An exception that is not one of gpuanom, a warning, more than 10
s, or more than 2 GiB ends the run, and leaves the file as crash-..., timeout-... or oom-... in the current folder. With
--corpus the files that reached new code are kept for the next run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gpuanom.fits"], enable_loader_override=False):
    from gpuanom.fits import discover, open_ccds

from gpuanom.records import CcdFailure
from tests.fuzz_score import SETTINGS, bases


def read(path):
    """Read a file to the last pixel."""
    for exposure in discover([path], SETTINGS).exposures:
        for item in open_ccds(exposure, SETTINGS):
            for encoded in (False, True):
                ccd = item if isinstance(item, CcdFailure) else item.load(encoded=encoded)
                if isinstance(ccd, CcdFailure):
                    assert ccd.reason.isprintable()


def main():
    """Run the fuzzer for the given time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("again", nargs="*", type=Path, help="read only these files again")
    options = parser.parse_args()
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory(prefix="gpuanom-atheris-") as name:
        folder = Path(name)
        corpus = options.corpus or folder / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for i, base in enumerate(base for base in bases(folder) if not base.kind.startswith("big")):
            for n, content in enumerate(base.files.values()):
                (corpus / f"base-{i}-{n}").write_bytes(content)
        path = folder / "tried.fits"

        def one(data):
            path.write_bytes(data)
            read(path)

        for given in options.again or sorted(corpus.iterdir()):  # compiles the loops that all other files need
            one(given.read_bytes())
        if options.again:
            return
        flags = [f"-max_total_time={options.seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=200000"]
        atheris.Setup([sys.argv[0], *flags, "-print_final_stats=1", str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
