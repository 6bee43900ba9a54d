"""How long a report takes to write, how large it is, and how fast it opens, for nights of a survey's size.

    python profiling/bench_report.py FOLDER [--exposures 1000] [--list 5000]

FOLDER must be empty and have room for 1 GB. One file of real size is written; the other exposures are rows of a store,
without pixels. The times in a browser need playwright and chromium.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import threading
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

sys.path.insert(0, str(Path(__file__).parent.parent))

from gpuanom.backends.choice import select
from gpuanom.cameras.focalplane import DECAM_NUMBERS
from gpuanom.report import page, pictures
from gpuanom.review.opened import key_of, open_night
from tests import sky
from tests.report import made

CCDS = [name for name in DECAM_NUMBERS if name != "N30"]


def write_exposure(path: Path) -> None:
    """Write 61 CCDs of 4094 x 2046 pixels: stars on a noisy slope, each CCD with noise of its own."""
    rng = np.random.default_rng(1)
    ny, nx = 4094, 2046
    small = np.asarray(sky.make(1024, 1023, sky.stars(60, seed=1, margin=32), noise=0.0, seed=1))
    small = small - small.min()
    y = np.arange(ny, dtype=np.float32)[:, None]
    hdus = [fits.PrimaryHDU()]
    stars = np.tile(small, (4, 2))[:ny, :nx]
    stars = np.pad(stars, ((0, ny - stars.shape[0]), (0, nx - stars.shape[1])), mode="edge")
    for name in CCDS:
        image = stars + 20.0 * np.sin(y / 180.0) + rng.normal(1000.0, 30.0, (ny, nx)).astype(np.float32)
        hdus.append(fits.ImageHDU(image.clip(0, 65535).astype(np.uint16), name=name))
    fits.HDUList(hdus).writeto(path)


class Memory:
    """The largest memory of this process, observed by a thread; pages of mapped files do not count."""

    def __init__(self) -> None:
        self.most = 0
        self._end = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._end.wait(0.01):
            lines = Path("/proc/self/status").read_text().splitlines()
            self.most = max(
                self.most, 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])
            )

    def stop(self) -> None:
        """Stop observing the memory."""
        self._end.set()


def timed(what, work):
    start, cpu = time.perf_counter(), time.process_time()
    result = work()
    print(f"{what}: {time.perf_counter() - start:.2f} s, of the CPU {time.process_time() - cpu:.2f} s", flush=True)
    return result


class Busy:
    """How long the main thread of a page has computed: what an idle machine would need, beside other work too."""

    def __init__(self, tab) -> None:
        self._session = tab.context.new_cdp_session(tab)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds(self) -> float:
        """Seconds of the CPU since the page began."""
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def open_in_browser(path: Path) -> None:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("no playwright: not opened")
        return
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(3):
            tab = browser.new_page(viewport={"width": 1366, "height": 768})
            busy = Busy(tab)
            start = time.perf_counter()
            tab.goto(path.as_uri(), timeout=300_000)
            tab.wait_for_selector("html[data-ready]")
            opened, opened_cpu = time.perf_counter() - start, busy.seconds()
            start = time.perf_counter()
            for _ in range(20):
                tab.keyboard.press("j")
            tab.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            stepped = (time.perf_counter() - start) / 20
            stepped_cpu = (busy.seconds() - opened_cpu) / 20
            start = time.perf_counter()
            tab.locator('[data-sort="exposure"]').click()
            tab.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            sorted_ = time.perf_counter() - start
            before = busy.seconds()
            start = time.perf_counter()
            tab.keyboard.press("v")
            tab.keyboard.press("v")
            tab.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            views, views_cpu = time.perf_counter() - start, busy.seconds() - before
            print(f"  opens in {opened:.2f} s ({opened_cpu:.2f} of the CPU),"
                  f" next exposure {1000 * stepped:.0f} ms ({1000 * stepped_cpu:.0f}), sorts in {sorted_:.2f} s,"
                  f" contact sheet and dataset {views:.2f} s ({views_cpu:.2f})", flush=True)  # fmt: skip
            tab.close()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="empty or new folder for the nights and their reports")
    parser.add_argument("--exposures", type=int, default=1000, help="exposures with pictures")
    parser.add_argument("--list", type=int, default=5000, help="exposures without pictures")
    parser.add_argument("--threads", type=int, default=2, help="threads that draw pictures (default: 2)")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / "exposure.fits"
    if not file.exists():
        timed("writing a DECam exposure", lambda: write_exposure(file))
    folder = made.night(options.folder / "night", options.exposures, ccds=CCDS, camera="DECam", files=(file,))
    memory = Memory()
    night = timed(f"opening a night of {options.exposures} x 61 CCDs", lambda: open_night(folder))
    room = max(8_000, min(page.MOST_BYTES, int(0.75 * (page.PAGE_BYTES / options.exposures - page.DETAIL_BYTES))))
    cache = folder / page.CACHE
    shutil.rmtree(cache, ignore_errors=True)  # of an earlier run
    keys = [key_of(row) for row in night.exposures]
    first = timed(
        f"pictures of one exposure of 61 CCDs, {options.threads} threads",
        lambda: pictures.pictures(
            night.found[keys[0]],
            CCDS,
            night.settings,
            select("cpu"),
            most_bytes=room,
            threads=options.threads,
            cache=cache,
        ),
    )
    print(f"its mosaic {len(first.mosaic) / 1e3:.0f} kB, stamps {len(first.stamps) / 1e3:.0f} kB,"
          f" shapes of stars of {len(first.stars)} CCDs {len(json.dumps(first.stars)) / 1e3:.0f} kB")  # fmt: skip
    (kept,) = cache.iterdir()
    for key in keys[1:]:  # the pictures of the other exposures are copies, and so are as large
        shutil.copy(kept, cache / f"{pictures._digest(night.found[key], night.settings, room, (), ())}.json")
    output = options.folder / "report.html"
    troubles = timed("writing the page", lambda: page.write_report(night, output, select("cpu"), top=options.exposures))
    assert not troubles, troubles[:3]
    print(f"page of {options.exposures} exposures with pictures: {output.stat().st_size / 1e6:.1f} MB")
    print(f"memory, less that of mapped files: at most {memory.most / 1e6:.0f} MB")
    memory.stop()
    open_in_browser(output)
    folder = made.night(options.folder / "list", options.list, ccds=("1", "2"))
    output = options.folder / "list.html"
    night = open_night(folder)
    timed(f"a page of {options.list} without pictures", lambda: page.write_report(night, output, select("cpu"), top=0))
    print(f"page: {output.stat().st_size / 1e6:.1f} MB")
    open_in_browser(output)


if __name__ == "__main__":
    main()
