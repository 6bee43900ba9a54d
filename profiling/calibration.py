"""Whether z and p are calibrated: p-values of simulated normal exposures must be uniform, whatever the dataset.

python profiling/calibration.py [--datasets 2000]

Exposures of one dataset share a reference, so that their p-values are not independent, as the KS test requires. So only
one exposure is taken of every simulated dataset.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import bench
import numpy as np
from matplotlib import pyplot as plt
from scipy import stats

from gpuanom.backends.choice import select
from gpuanom.records import BACKGROUND, KINDS, SOURCE, Dataset
from gpuanom.scoring.histograms.comparison import dataset_reference
from gpuanom.scoring.histograms.ranking import score_dataset
from gpuanom.settings import Settings

DATASETS = 2000
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "calibration.png"


@dataclass(frozen=True)
class Case:
    """One kind of dataset.

    Attributes
    ----------
    title : str
    n_exposures : int
        In the dataset, or in the saved reference.
    counts : int
        Orientations of the tested exposure (of each of its CCDs), and of the other exposures unless `others` is given.
    others : int
        Orientations of each other exposure; 0 means as many as `counts`.
    ccds : int
        0 for one source histogram an exposure; otherwise the number of CCDs, each with a background histogram.
    saved : bool
        The exposure meets a saved reference that does not contain it.
    """

    title: str
    n_exposures: int
    counts: int
    others: int = 0
    ccds: int = 0
    saved: bool = False


CASES = (
    Case("3 exposures of 1000", 3, 1000),
    Case("8 exposures of 1000", 8, 1000),
    Case("30 exposures of 1000", 30, 1000),
    Case("300 exposures of 1000", 300, 1000),
    Case("40 sources among 30 x 1000", 30, 40, others=1000),
    Case("3 exposures of 60", 3, 60),
    Case("30 exposures of 60", 30, 60),
    Case("new, against a saved 8 x 1000", 8, 1000, saved=True),
    Case("new, 40, against a saved 8 x 60", 8, 40, others=60, saved=True),
    Case("background, 8 x 4 CCDs of 10 000", 8, 10_000, ccds=4),
)


def normal_dataset(case, bins, rng):
    """Exposures of one not quite flat distribution of orientations; the first one is tested, unless `saved`."""
    middle = np.pi * ((np.arange(bins) + 0.5) / bins - 0.5)
    share = (1 + 0.3 * np.cos(2 * (middle - rng.uniform(0, np.pi)))) / bins
    ccds = max(case.ccds, 1)
    n = np.full(case.n_exposures * ccds, case.others or case.counts)
    if not case.saved:
        n[:ccds] = case.counts
    counts = np.zeros((n.size, len(KINDS), bins), dtype=np.int64)
    counts[:, BACKGROUND if case.ccds else SOURCE] = rng.multinomial(n, share)
    sums = np.zeros((n.size, len(KINDS)))
    owner = np.repeat(np.arange(case.n_exposures), ccds)
    names = tuple(f"{i:06d}" for i in range(case.n_exposures))
    return Dataset("simulated", "r", names, owner, counts, sums, sums), share


def scores(case, n_datasets, settings, backend):
    """(z, p) of one exposure of every dataset."""
    z, p = np.empty(n_datasets), np.empty(n_datasets)
    kind = BACKGROUND if case.ccds else SOURCE
    for i in range(n_datasets):
        rng = np.random.default_rng([CASES.index(case), i])
        data, share = normal_dataset(case, settings.bins, rng)
        reference = None
        if case.saved:
            reference = dataset_reference(data)
            counts = np.zeros((1, len(KINDS), settings.bins), dtype=np.int64)
            counts[0, kind] = rng.multinomial(case.counts, share)
            sums = np.zeros((1, len(KINDS)))
            data = Dataset("simulated", "r", ("new",), np.zeros(1, dtype=np.int64), counts, sums, sums)
        result = score_dataset(data, settings, backend, reference)[kind]
        z[i], p[i] = result.z[0], result.p[0]
    return z, p


def draw(results, n_datasets):
    """Draw the empirical distribution of p in every case, with the band that holds 95% of uniform samples."""
    band = stats.kstwo.ppf(0.95, n_datasets)
    grid = np.array([0.0, 1.0])
    figure, panels = plt.subplots(2, 5, figsize=(13, 5.6), sharex=True, sharey=True, layout="constrained")
    for axes, (case, (_, p)) in zip(panels.flat, results.items(), strict=True):
        axes.fill_between(grid, grid - band, grid + band, color="0.88", linewidth=0, label="95% of uniform samples")
        axes.step(np.sort(p), np.arange(1, p.size + 1) / p.size, where="post", color="#0072B2", label="p-values")
        axes.set_title(case.title, fontsize=9)
        axes.text(0.97, 0.06, f"KS p = {stats.kstest(p, 'uniform').pvalue:.2f}\n", ha="right", va="bottom", fontsize=9)
        axes.text(0.97, 0.05, f"p < 0.05: {100 * np.mean(p < 0.05):.1f}%", ha="right", va="bottom", fontsize=9)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        axes.set_yticks((0, 0.5, 1), ("0", "0.5", "1"))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0, 0].legend(frameon=False, fontsize=8, loc="upper left")
    figure.supxlabel("p-value", fontsize=10)
    figure.supylabel("share of normal exposures at or below it", fontsize=10)
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=DATASETS, help="simulated datasets of each case, at least 300")
    options = parser.parse_args()
    settings, backend = Settings(), select("cpu")
    results = {case: scores(case, options.datasets, settings, backend) for case in CASES}
    whole = options.datasets == DATASETS
    if whole:
        draw(results, options.datasets)
    rows = [
        (
            case.title,
            f"{z.mean():+.3f}",
            f"{z.std():.3f}",
            f"{np.mean(p < 0.05):.3f}",
            f"{np.mean(p < 0.01):.3f}",
            f"{stats.kstest(p, 'uniform').statistic:.3f}",
            f"{stats.kstest(p, 'uniform').pvalue:.3f}",
        )
        for case, (z, p) in results.items()
    ]
    bench.write(
        "calibration.md",
        f"""# Calibration of z and p

{bench.machine("numpy", "scipy", "gpuanom", pinned=False)}.

{options.datasets} simulated datasets of normal exposures in every case, one exposure of each; {settings.bins} bins.
p should be uniform; z should have mean 0 and deviation 1 where the counts are many: of sparse histograms only p is
simulated. Of {len(CASES)} KS p-values the lowest is below {1 - 0.5 ** (1 / len(CASES)):.2f} half of the time.

{bench.table(("case", "mean z", "deviation of z", "p < 0.05", "p < 0.01", "KS distance", "KS p-value"), rows)}

![Distributions of p](../../docs/figures/calibration.png)""",
        whole=whole,
    )


if __name__ == "__main__":
    main()
