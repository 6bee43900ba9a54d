"""Damaged FITS files through `gpuanom.score`: each gives a score or a named status, in bounded time and memory.

python -m tests.fuzz_score [--files 5000] [--seed 0] [--processes 2]
python -m tests.fuzz_score --only 1234 [--keep damaged.fits]     that one again, with the traceback

File number k of a seed is always the same: a small exposure of one of several kinds (plain, scaled, RICE, GZIP, with
masks in the same file or in another one, with overscan, gzipped as a whole), of which bits, cards, table descriptors or
blocks are changed. A process works through the files. It is a failure if the process ends, takes longer than `SLOWEST`
for one file, gives a warning, an unforeseen exception (status ``failed``) or a word that is not in docs/tables.md, or
needs more memory than 4 times the pixels of the whole file plus `FIXED`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

import gpuanom
from gpuanom.fits.opening.complete import lacking
from tests import nights
from tests.fits.fuzz import _mutated, _mutated_file

SLOWEST = 10.0
"""Seconds that no file may exceed."""
FIXED = 32 * 2**20
"""Bytes that a process may need beside the pixels: tables, threads, decoders, and memory that the allocator keeps."""
SHAPE, BIG = (96, 112), (1024, 1024)
RULE = {"overscan": {"match": {"INSTRUME": "TRIMCAM"}, "exposure": ["EXPNUM"], "band": ["FILTER"], "trim": ["DATASEC"]}}
SETTINGS = gpuanom.Settings.from_mapping(
    {"gradient_points": 300, "sigma_points": 500, "background_points": 300, "simulations": 200, "cameras": RULE}
)
ROOT = Path(__file__).parent.parent
_LISTS = re.findall(r"\| status \|.*?\n\n", (ROOT / "docs" / "tables.md").read_text(), re.DOTALL)
STATUSES = set(re.findall(r"`([a-z0-9_]+)`", "".join(_LISTS)))


@dataclass(frozen=True)
class Base:
    """An undamaged exposure: its files by name, and the bytes of its pixels as float32."""

    kind: str
    files: dict[str, bytes]
    pixels: int


def _bytes(hdus, folder, **options):
    path = folder / "base.fits"
    fits.HDUList(hdus).writeto(path, overwrite=True, **options)
    content = path.read_bytes()
    path.unlink()
    return content


def bases(folder):
    """Undamaged exposures of every kind."""
    cards = {"INSTRUME": "TESTCAM", "EXPNUM": 7, "FILTER": "r", "NEXTEND": 2, "DATE-OBS": "2026-01-02T03:04:05"}
    primary = fits.PrimaryHDU(header=fits.Header(cards))
    image = np.array(nights.image(1, shape=SHAPE, n_stars=5), dtype=np.float32)
    whole = np.round(image).astype(np.uint16)
    rice = {"compression_type": "RICE_1"}
    plane = np.zeros(SHAPE, np.int32)
    plane[20:24, 30:90] = 1
    kinds = {
        "plain": lambda n: fits.ImageHDU(image, name=n),
        "double": lambda n: fits.ImageHDU(image.astype(np.float64), name=n),
        "scaled": lambda n: fits.ImageHDU(whole, name=n),
        "rice": lambda n: fits.CompImageHDU(image, name=n, quantize_level=4, **rice),
        "rice, tiles": lambda n: fits.CompImageHDU(image, name=n, quantize_method=2, tile_shape=(32, 31), **rice),
        "rice, whole numbers": lambda n: fits.CompImageHDU(whole, name=n, **rice),
        "gzip": lambda n: fits.CompImageHDU(whole.astype(np.int32), name=n, compression_type="GZIP_1"),
        "gzip, floats": lambda n: fits.CompImageHDU(image, name=n, compression_type="GZIP_2"),
        "hcompress": lambda n: fits.CompImageHDU(whole.astype(np.int32), name=n, compression_type="HCOMPRESS_1"),
    }
    pixels = 4 * image.size
    made = [
        Base(kind + (", sums" if sums else ""),
             {"a.fits": _bytes([primary, maker("C1"), maker("C2")], folder, checksum=sums)}, 2 * pixels)
        for kind, maker in kinds.items() for sums in (False, True)
    ]  # fmt: skip
    made.append(Base("primary", {"a.fits": _bytes([fits.PrimaryHDU(image, fits.Header(cards))], folder)}, pixels))
    made.append(Base("gzipped", {"a.fits.gz": gzip.compress(made[0].files["a.fits"], 1)}, 2 * pixels))

    trimmed = np.zeros((SHAPE[0], SHAPE[1] + 16), np.uint16)
    trimmed[:, : SHAPE[1]] = whole
    ccds = [fits.ImageHDU(trimmed, name=n) for n in ("C1", "C2")]
    for ccd in ccds:
        ccd.header["DATASEC"] = f"[1:{SHAPE[1]},1:{SHAPE[0]}]"
    head = fits.Header(cards | {"INSTRUME": "TRIMCAM"})
    made.append(
        Base("overscan", {"a.fits": _bytes([fits.PrimaryHDU(header=head), *ccds], folder)}, 2 * 4 * trimmed.size)
    )

    planes = [fits.CompImageHDU(data, name=n, **rice) for n, data in (("IMAGE", whole), ("MASK", plane))]
    for hdu in planes:
        hdu.header["EXTTYPE"] = hdu.name
    planes[1].header["MP_BAD"] = 0
    head = fits.Header({k: v for k, v in cards.items() if k != "NEXTEND"})
    made.append(Base("own mask", {"a.fits": _bytes([fits.PrimaryHDU(header=head), *planes], folder)}, 2 * pixels))

    about = cards | {"INSTRUME": "DECam", "PROCTYPE": "InstCal", "PRODTYPE": "image", "PLVER": "V4.1"}
    pair = {}
    for token, data in (("ooi", image), ("ood", plane)):
        ccds = [fits.CompImageHDU(data, name=n, **rice) for n in ("N4", "S29")]
        head = fits.Header(about | {"PRODTYPE": "image" if token == "ooi" else "dqmask"})
        pair[f"c4d_260102_030405_{token}_r_v1.fits.fz"] = _bytes([fits.PrimaryHDU(header=head), *ccds], folder)
    made.append(Base("mask file", pair, 4 * pixels))

    head = fits.Header(cards)
    many = np.array(nights.image(2, shape=BIG, n_stars=40), dtype=np.float32)
    for kind in ("plain", "rice"):
        hdu = fits.ImageHDU(many) if kind == "plain" else fits.CompImageHDU(many, quantize_level=4, **rice)
        made.append(Base(f"big, {kind}", {"a.fits": _bytes([fits.PrimaryHDU(header=head), hdu], folder)}, many.nbytes))
    return made


VALUES = (
    "-1", "0", "1", "3", "7", "255", "65536", "2147483647", "4294967296", "1000000000000", "9223372036854775807",
    "1E400", "NaN", "T", "F", "''", "'" + "x" * 68, "'../../../tmp/x'", "'<b>&amp;'", "'\x1b[31m'", "(1, 2)", "",
    "'[1:99999,1:2]'", "'RICE_1'", "'GZIP_2'", "'HCOMPRESS_1'", "'PLIO_1'", "'NOCOMPRESS'", "'1PB(9)'", "'1QB'",
)  # fmt: skip


def _cards(rng, data):
    """The headers with some cards changed, renamed, removed or repeated."""
    data = bytearray(data)
    places = [m.start() for m in re.finditer(rb"[A-Z0-9_-]{1,8} *= ", bytes(data)) if m.start() % 80 == 0]
    for _ in range(int(rng.integers(1, 4))):
        if not places:
            break
        at = int(rng.choice(places))
        kind = rng.integers(5)
        if kind == 0:
            data[at : at + 80] = data[int(rng.choice(places)) :][:80].ljust(80)
        elif kind == 1:
            data[at : at + 8] = rng.choice(
                [b"NAXIS1  ", b"ZNAXIS2 ", b"PCOUNT  ", b"ZTILE1  ", b"EXTNAME ", b"CONTINUE"]
            )
        elif kind == 2:
            data[at : at + 80] = b" " * 80
        else:
            data[at + 10 : at + 80] = str(rng.choice(VALUES)).encode().rjust(20).ljust(70)[:70]
    return bytes(data)


def damaged(seed, k, every):
    """The files of number k, by name, and their base; the first numbers are undamaged."""
    if k < len(every):
        return dict(every[k].files), every[k]
    rng = np.random.default_rng([seed, k])
    big = rng.random() < 0.02
    alike = [base for base in every if base.kind.startswith("big") == big]
    base = alike[int(rng.integers(len(alike)))]
    files = dict(base.files)
    name = str(rng.choice(sorted(files)))
    data = files[name]
    inside = name.endswith(".gz") and rng.random() < 0.7
    if inside:
        data = gzip.decompress(data)
    how = rng.integers(4)
    if how == 0:
        data = _cards(rng, data)
    elif how == 1:
        data = _mutated_file(rng, data)
    elif how == 2:
        data = _mutated_file(rng, _cards(rng, data))
    else:
        data = _mutated(rng, data)
    files[name] = gzip.compress(data, 1) if inside else data
    return files, base


def outcome(folder, reference):
    """The results for the files of a folder: the words of their statuses."""
    told = []
    events = gpuanom.Events(debug=told.append)
    try:
        night = gpuanom.score(folder, settings=SETTINGS, device="cpu", threads=1, reference=reference, events=events)
    except gpuanom.InputError as error:
        text = str(error)
        if not text.startswith("no exposure among the inputs") or not text.isprintable():
            raise
        # Left out by a rule, when a header says that the exposure is a bias.
        return ["refused" if ": " in text else "left out"]
    assert not told, told[0]
    words = []
    for row in night.tables.exposures:
        status = str(row["status"])
        assert status in STATUSES, status
        assert status != "failed", row["note"]
        assert str(row["note"]).isprintable()
        if status not in ("ok", "partial", "no_sources", "no_gradients"):
            assert np.ma.is_masked(row["source_kl"]), status
        words.append(status)
    for row in night.tables.ccds:
        assert str(row["status"]) in STATUSES, row["status"]
        assert str(row["ccd"]).isprintable()
    return words


def _memory(name):
    """One of the memory sizes of this process, in bytes."""
    line = next(ln for ln in Path("/proc/self/status").read_text().splitlines() if ln.startswith(name))
    return int(line.split()[1]) * 1024


def one(seed, k, every, reference, folder):
    """Score number k; its words, seconds, and bytes beyond those before."""
    files, base = damaged(seed, k, every)
    place = folder / "in"
    place.mkdir(exist_ok=True)
    for name, data in files.items():
        (place / name).write_bytes(data)
        lacking(place / name)  # `watch` does this before scoring
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, begun = _memory("VmRSS"), time.perf_counter()
    words = outcome(place, reference)
    seconds, more = time.perf_counter() - begun, _memory("VmHWM") - before
    for path in place.iterdir():
        path.unlink()
    allowed = 4 * max(base.pixels, sum(map(len, files.values()))) + FIXED
    if k >= len(every):  # the first numbers import and compile
        assert more <= allowed, f"{more >> 20} MiB where {allowed >> 20} are allowed"
    return base.kind, words, seconds, more


def work(seed, numbers, slowest):
    """Score some files, and print a line of JSON before and after each."""
    limit = _memory("VmSize") + 8 * 2**30  # other programs on this machine must go on, whatever happens here
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory(prefix="gpuanom-fuzz-") as name:
        folder = Path(name)
        every = bases(folder)
        nights.night(folder / "good", exposures=5, ccds=2)
        gpuanom.score(folder / "good", folder / "scored", settings=SETTINGS, device="cpu")
        # The reference has no size: the files of the kinds differ in size, and each must be compared and scored.
        reference = gpuanom.make_references([folder / "scored"])
        reference = replace(reference, datasets=tuple(replace(d, size=(0, 0)) for d in reference.datasets))
        for k in range(len(every)):
            one(seed, k, every, reference, folder)
        for k in numbers:
            print(json.dumps([k]), flush=True)
            signal.setitimer(signal.ITIMER_REAL, slowest)
            try:
                done = one(seed, k, every, reference, folder)
            except Exception as error:
                done = "failed", [f"{type(error).__name__}: {error}"[-300:]], 0.0, 0
            signal.setitimer(signal.ITIMER_REAL, 0)
            print(json.dumps([k, *done]), flush=True)


def fuzz(n, seed=0, processes=1, slowest=SLOWEST, show=lambda _text: None):
    """Score this many damaged files; counts of the results, the failures, and the most seconds and bytes."""
    counts, failed = Counter(), []
    most_seconds, most_bytes = 0.0, 0
    rest = [list(range(100 + part, 100 + n, processes)) for part in range(processes)]
    running = []
    while any(rest) or running:
        while len(running) < processes and any(rest):
            numbers = next(r for r in rest if r)
            command = [
                sys.executable,
                "-m",
                "tests.fuzz_score",
                "--work",
                f"{numbers[0]}:{numbers[-1] + 1}:{processes}",
            ]
            command += ["--seed", str(seed), "--slowest", str(slowest)]
            running.append((subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT), numbers, []))
            rest.remove(numbers)
        process, numbers, begun = running[0]
        line = process.stdout.readline()
        if line:
            k, *done = json.loads(line)
            begun[:] = [k]
            if done:
                begun.clear()
                kind, words, seconds, more = done
                if kind == "failed":
                    failed.append((k, words[0]))
                counts.update(words if kind != "failed" else ["FAILED"])
                most_seconds, most_bytes = max(most_seconds, seconds), max(most_bytes, more)
                show(f"{sum(counts.values())} of {n}")
            running.append(running.pop(0))
            continue
        code = process.wait()
        process.stdout.close()
        running.pop(0)
        if code:
            assert begun, "a process ended before its first file"
            why = f"longer than {slowest:g} s" if code == -signal.SIGALRM else f"the process ended: {code}"
            failed.append((begun[0], why))
            counts["FAILED"] += 1
            if after := [k for k in numbers if k > begun[0]]:
                rest.append(after)
    return counts, failed, most_seconds, most_bytes


def again(seed, k, keep):
    """Score one file again in this process, and keep it."""
    with tempfile.TemporaryDirectory() as name:
        every = bases(Path(name))
        files, base = damaged(seed, k, every)
        for file, data in files.items():
            Path(keep or name, file).parent.mkdir(exist_ok=True, parents=True)
            Path(keep or name, file).write_bytes(data)
        print(f"{k}: {base.kind}, {', '.join(f'{file} of {len(data)} bytes' for file, data in files.items())}")
        warnings.simplefilter("error")
        print(outcome(Path(keep or name), None))


def main():
    """Report the results of this many files; exit code 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--slowest", type=float, default=SLOWEST, help="seconds that no file may exceed")
    parser.add_argument("--only", type=int, help="score only the file of this number again")
    parser.add_argument("--keep", help="with --only: a folder that keeps the file")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.seed, range(*map(int, options.work.split(":"))), options.slowest)
        return 0
    if options.only is not None:
        again(options.seed, options.only, options.keep)
        return 0
    begun, terminal = time.monotonic(), sys.stderr.isatty()
    show = lambda text: terminal and print(f"\r{text}", end="", file=sys.stderr)  # noqa: E731
    counts, failed, seconds, more = fuzz(options.files, options.seed, options.processes, options.slowest, show)
    print(f"{options.files} files in {time.monotonic() - begun:.0f} s:")
    for word, count in counts.most_common():
        print(f"{count:6} {word}")
    print(f"the slowest took {seconds:.2f} s, the most memory beside the process's own was {more / 2**20:.1f} MiB")
    for k, why in failed[:50]:
        print(f"FAILED {k}: {why}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
