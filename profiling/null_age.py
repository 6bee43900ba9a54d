"""What it changes to judge new exposures by a null that lacks them: simulated exposures from a pool (`pool.py`).

python profiling/null_age.py POOL [--draws 3]

Of n + n/10 exposures drawn from the pool, one in 25 anomalous, the null is made from the first n, and each other
exposure is judged alone by it. The verdicts and evidence are compared with those of all n + n/10 ranked together:
`gpuanom watch` makes a null anew when it lacks more than a tenth of its exposures.
"""

from __future__ import annotations

import bench  # isort: skip  (first: it sets the numbers of threads)

import argparse
import time
from pathlib import Path

import numpy as np
import pool

from gpuanom.backends.choice import select
from gpuanom.review.opened import plain_rows
from gpuanom.scoring import stored_null
from gpuanom.store.store import Store
from gpuanom.tables import build
from gpuanom.tables.judged_alone import judged_alone, kept_null

ODD = 25
"""One exposure in so many is anomalous."""


def compared(measurements, n):
    """Verdict and evidence of the exposures after the first n: judged alone, and ranked with all; (m, 2) each."""
    backend, settings = select("cpu"), pool.SETTINGS
    with Store(None, settings) as store:
        for measurement in measurements[:n]:
            store.add(measurement)
        build.build(store, settings, backend)
        known, why = kept_null(store, "SIM", "r", settings)[:2]
        assert known is not None, why
        keys = [("SIM", m.exposure.exposure) for m in measurements[n:]]
        for measurement in measurements[n:]:
            store.add(measurement)
        alone = {key[1]: judged_alone(store, [key], known, settings, backend).exposures[0] for key in keys}
        rows = {row["exposure"]: row for row in plain_rows(build.build(store, settings, backend).exposures)}
    pairs = [(alone[name], rows[name]) for _, name in keys]
    return [[(row["verdict"], row["evidence"] or 0.0) for row in pair] for pair in pairs]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()
    stored_null.SURVEY = 0
    about, found, _ = pool.read(options.pool)
    normal = [m for what, m in found.items() if not what.key]
    odd = [m for what, m in found.items() if what.key]
    print(f"{len(normal)} normal and {len(odd)} anomalous exposures of {about['camera']}", flush=True)
    rows = []
    for n in (200, 500, 1000):
        every = []
        start = time.process_time()
        for draw in range(options.draws):
            rng = np.random.default_rng((n, draw))
            total = n + n // 10
            n_odd = total // ODD
            chosen = [normal[i] for i in rng.choice(len(normal), total - n_odd, replace=False)]
            chosen += [odd[i] for i in rng.choice(len(odd), n_odd, replace=False)]
            every += compared([chosen[i] for i in rng.permutation(total)], n)
        same = sum(alone[0] == together[0] for alone, together in every)
        change = np.array([[alone[1], together[1]] for alone, together in every])
        low = change[:, 1] < 4.0
        differ = np.abs(change[:, 0] - change[:, 1])
        share = differ[~low] / change[~low, 1]
        rows.append(
            (n, len(every), len(every) - same, f"{np.median(differ[low]):.3f}", f"{differ[low].max():.2f}")
            + (int((~low).sum()), f"{np.median(share):.3f}", f"{share.max():.2f}", f"{time.process_time() - start:.0f}")
        )
        for alone, together in every:
            if alone[0] != together[0]:
                print(n, alone, together)
        print(rows[-1], flush=True)
    header = ("exposures of the null", "judged", "other verdict", "change of L below 4: median", "largest")
    header += ("L above 4", "change/L: median", "largest", "CPU [s]")
    text = f"""# Exposures judged by a null that lacks them

{bench.machine("numpy", "scipy", "gpuanom", pinned=False)}

Simulated exposures of `pool.py` ({about["camera"].ccds} CCDs), {options.draws} draws; see `null_age.py`.

{bench.table(header, rows)}"""
    bench.write("null_age.md", text)


if __name__ == "__main__":
    main()
