"""Draw an example of each cause of a verdict, and write docs/what-the-picture-means.md with its pictures.

    python profiling/cause_page.py FOLDER

FOLDER keeps the simulated nights (`cause_night.py`) and needs 250 MB. The pictures are parts of the report as chromium
shows it (playwright and chromium are needed); verdicts and figures of the page are those of the scored nights. The
command fails where a verdict does not name the cause that its example is for.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import cause_night
from cause_examples import EXAMPLES, HEADS, NOT_MADE
from cause_night import Example
from PIL import Image

from gpuanom.backends.choice import select
from gpuanom.report import page
from gpuanom.report.causes import causes_in, named_causes
from gpuanom.report.explanations import EXPLANATIONS
from gpuanom.review.opened import ScoredNight, open_night

DOCS = Path(__file__).parent.parent / "docs"
FIGURES = DOCS / "figures" / "causes"
PARTS = {
    "plane": "#plane .inner",
    "map": ".proof .on-map",
    "steps": ".proof .chart",
    "sources": ".histograms > div:nth-child(1)",
    "background": ".histograms > div:nth-child(3)",
    "flat": ".histograms > div:nth-child(4)",
    "stars": ".small-maps",
    "stamps": ".stamps .strip",
}
"""Parts of the report's page that a picture may show."""

BELOW = ("stamps", "stars")
"""Parts that stand below the others, since they are wide."""

WIDEST, GAP, QUALITY = 720, 8, 62


def file_of(cause: str) -> str:
    """The name of the picture of a cause."""
    return f"{cause.replace(',', '').replace(' ', '-')}.webp"


def composed(parts: dict[str, Image.Image]) -> Image.Image:
    """The parts beside each other, the wide ones below."""
    rows = [[image for name, image in parts.items() if name not in BELOW]]
    rows += [[image] for name, image in parts.items() if name in BELOW]
    rows = [row for row in rows if row]
    sizes = [(sum(i.width for i in row) + GAP * (len(row) - 1), max(i.height for i in row)) for row in rows]
    whole = Image.new("RGB", (max(w for w, _ in sizes), sum(h for _, h in sizes) + GAP * (len(rows) - 1)), "white")
    top = 0
    for row, (_, height) in zip(rows, sizes, strict=True):
        left = 0
        for image in row:
            whole.paste(image, (left, top))
            left += image.width + GAP
        top += height + GAP
    if whole.width > WIDEST:
        whole = whole.resize((WIDEST, round(whole.height * WIDEST / whole.width)), Image.Resampling.LANCZOS)
    return whole


def draw(report: Path, examples: list[Example]) -> None:
    """Take the pictures of the examples from the report of their night."""
    from playwright.sync_api import sync_playwright

    FIGURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 1400})
        tab.goto(report.as_uri())
        tab.wait_for_selector("html[data-ready]")
        for example in examples:
            tab.evaluate("(id) => select(COLUMNS.exposure.indexOf(id))", str(example.number))
            parts = {}
            for name in example.show:
                place = tab.locator(PARTS[name]).first
                place.wait_for(timeout=5000)
                parts[name] = Image.open(io.BytesIO(place.screenshot()))
            composed(parts).save(FIGURES / file_of(example.cause), quality=QUALITY, method=6)
        browser.close()


def verdict_words(row: dict[str, Any], affected: int) -> str:
    """The verdict on an exposure in a sentence or two."""
    words = f"`{row['verdict']}`, evidence {row['evidence']:.1f}, cause **{row['cause']}**."
    if row["score"]:
        far = f"{row['deviation']:.1f} robust standard deviations"
        words += f" `{row['score']}` stands out most, {far} from what is expected."
    return f"{words} CCDs that are `bad` or `check`: {affected} of {row['n_ccd']}."


def section(example: Example, night: ScoredNight) -> str:
    """The part of the page on one cause."""
    row = next(row for row in night.exposures if row["exposure"] == str(example.number))
    if example.cause not in causes_in(row["cause"]):
        said = f"{row['verdict']} {row['cause']}"
        raise SystemExit(f"exposure {example.number} was to show '{example.cause}' but its verdict is: {said}")
    ccds = night.ccds()[row["camera"], row["exposure"]]
    affected = sum(ccd["verdict"] in ("bad", "check") for ccd in ccds)
    print(f"{example.number} {example.cause}: {row['verdict']} {row['evidence']:.1f}, {row['cause']}")
    words = EXPLANATIONS[example.cause]
    return f"""### {example.cause}

![{example.cause}: what the report shows](figures/causes/{file_of(example.cause)})

{verdict_words(row, affected)}

- **Put in**: {example.put_in}
- **What one sees**: {words.sees}
- **What usually makes it**: {words.makes}
- **What to do**: {words.do}
"""


def text(night: ScoredNight) -> str:
    """The page."""
    parts = []
    for head, about, causes in HEADS:
        parts.append(f"## {head}\n\n{about}\n")
        for cause in causes:
            if cause in NOT_MADE:
                words = EXPLANATIONS[cause]
                parts.append(
                    f"### {cause}\n\n**No example.** {NOT_MADE[cause]}\n\n- **What one sees**: {words.sees}\n"
                    f"- **What usually makes it**: {words.makes}\n- **What to do**: {words.do}\n"
                )
            else:
                parts.append(section(EXAMPLES[cause], night))
    body = "\n".join(parts)
    side, normal = cause_night.SIDE, cause_night.NORMAL
    return f"""# What the picture means

The verdict names its [cause](reading-scores.md) in words. Here is an example of each cause: the
picture as [the report](report.md) draws it, the verdict, what one sees, what usually makes it on a
real camera, and what to do. The report has the same words under *what this means*.

All examples are simulated. {normal} normal exposures of four CCDs of {side} x {side} pixels are the
reference, and one exposure for each cause is compared with them. *Put in* tells how the exposure
was made: `stripes:0.3` are words of [`gpuanom simulate`](simulate.md); where these have no word for
something, the conditions or the pixels were changed. `python profiling/cause_page.py FOLDER` draws
the exposures, scores them and writes this page. Real anomalies are often weaker, and several may
come together: the verdict names one of them.

In the pictures of the focal plane, a ✖ or ▲ marks a CCD that is bad or to be checked, the colours
of the outlines go from dark blue (low) to yellow (high), and the blue lines are the whiskers of the
stars: their length is ellipticity, and whiskers shorter than three of their errors are not drawn.
Yellow lines show what was found. White and black columns are bad columns, which are the same in all
exposures. In the map of the residual sky, blue is darker than expected and orange brighter.

{len(NOT_MADE)} of the {len(named_causes())} causes have no example, because they were named for none of the simulated
exposures that were tried; each of them says why.

{body}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder that keeps the simulated nights")
    parser.add_argument("--keep", action="store_true", help="take the nights as they are scored in FOLDER already")
    options = parser.parse_args()
    if set(EXAMPLES) | set(NOT_MADE) != named_causes() or set(EXAMPLES) & set(NOT_MADE):
        raise SystemExit("the page has other causes than verdicts can name")
    folder = options.folder / "scored"
    night = open_night(folder if options.keep else cause_night.scored(options.folder, EXAMPLES.values()))
    whole = text(night)  # fails before any picture is made where a cause is not the one that was wanted
    report = options.folder / "report.html"
    page.write_report(night, report, select("cpu"), top=len(night.exposures))
    draw(report, list(EXAMPLES.values()))
    (DOCS / "what-the-picture-means.md").write_text(whole, encoding="utf-8")
    size = sum(path.stat().st_size for path in FIGURES.iterdir())
    print(f"{len(EXAMPLES)} examples of {len(named_causes())} causes; pictures {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
