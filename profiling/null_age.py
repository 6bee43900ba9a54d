"""What it changes to judge new exposures by a null that lacks them: simulated exposures from a pool (`pool.py`).

python profiling/null_age.py POOL [--draws 3]

Of n + n/10 exposures drawn from the pool, one in 25 anomalous, the null is made from the first n, and each other
exposure is judged alone by it. The verdicts and evidence are compared with those of all n + n/10 ranked together:
`gpuanom watch` makes a null anew when it lacks more than a tenth of its exposures. For comparison: how the verdicts of
the first n change by themselves when the others are ranked with them.
"""

from __future__ import annotations

import bench  # isort: skip  (first: it sets the numbers of threads)

import argparse
from pathlib import Path

import numpy as np
import pool

from gpuanom.backends.choice import select
from gpuanom.review.opened import plain_rows
from gpuanom.scoring.evidence import stored_null
from gpuanom.store.store import Store
from gpuanom.tables import build
from gpuanom.tables.judged_alone import judged_alone
from gpuanom.tables.kept_null import read_null

ODD = 25
"""One exposure in so many is anomalous."""


def compared(measurements, n):
    """Verdict and evidence of exposures before and after, two lists of pairs.

    The first list has the exposures after the first n, judged alone, and ranked with all; the second has the first n,
    ranked without the others, and with them.
    """
    backend, settings = select("cpu"), pool.SETTINGS
    with Store(None, settings) as store:
        for measurement in measurements[:n]:
            store.add(measurement)
        before = {row["exposure"]: row for row in plain_rows(build.build(store, settings, backend).exposures)}
        known, why = read_null(store, "SIM", "r", settings)[:2]
        assert known is not None, why
        keys = [("SIM", m.exposure.exposure) for m in measurements[n:]]
        for measurement in measurements[n:]:
            store.add(measurement)
        alone = {key[1]: judged_alone(store, [key], known, settings, backend).exposures[0] for key in keys}
        rows = {row["exposure"]: row for row in plain_rows(build.build(store, settings, backend).exposures)}
    pairs = [[(found[name], rows[name]) for name in found] for found in (alone, before)]
    return [[[(row["verdict"], row["evidence"] or 0.0) for row in pair] for pair in part] for part in pairs]


def changes(pairs):
    """How verdicts and evidence change, as a row of the table."""
    other = sum(first[0] != second[0] for first, second in pairs)
    values = np.array([[first[1], second[1]] for first, second in pairs])
    low = values[:, 1] < 4.0
    differ = np.abs(values[:, 0] - values[:, 1])
    share = differ[~low] / values[~low, 1]
    of_low = (f"{q:.2f}" for q in np.quantile(differ[low], (0.5, 0.99, 1.0)))
    return len(pairs), other, *of_low, int((~low).sum()), f"{np.median(share):.0%}", f"{share.max():.0%}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()
    stored_null.SURVEY = 0
    about, held, _ = pool.read(options.pool)
    normal = [m for what, m in held.items() if not what.key]
    odd = [m for what, m in held.items() if what.key]
    print(f"{len(normal)} normal and {len(odd)} anomalous exposures of {about['camera']}", flush=True)
    rows = []
    for n in (200, 500, 1000):
        alone, members = [], []
        for draw in range(options.draws):
            rng = np.random.default_rng((n, draw))
            total = n + n // 10
            n_odd = total // ODD
            chosen = [normal[i] for i in rng.choice(len(normal), total - n_odd, replace=False)]
            chosen += [odd[i] for i in rng.choice(len(odd), n_odd, replace=False)]
            for found, pairs in zip(
                (alone, members), compared([chosen[i] for i in rng.permutation(total)], n), strict=True
            ):
                found += pairs
        rows.append((n, "new, judged alone", *changes(alone)))
        rows.append((n, "the first n", *changes(members)))
        print(rows[-2], rows[-1], flush=True)
    header = ("n", "exposures", "number", "other verdict", "change of L < 4: median", "99%", "largest")
    header += ("L > 4", "change / L: median", "largest")
    text = f"""# Exposures judged by a null that lacks them

{bench.machine("numpy", "scipy", "gpuanom", pinned=False)}

Simulated exposures of `pool.py` ({about["camera"].ccds} CCDs), {options.draws} draws; see `null_age.py`.

{bench.table(header, rows)}"""
    bench.write("null_age.md", text)


if __name__ == "__main__":
    main()
