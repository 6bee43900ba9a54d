"""What the report and the documentation say of each cause: all causes that a verdict can name, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpuanom.backends.choice import select
from gpuanom.report import page
from gpuanom.report.causes import causes_in, named_causes
from gpuanom.report.explanations import EXPLANATIONS
from gpuanom.review.opened import open_night
from tests.report import made

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "what-the-picture-means.md"
NO_EXAMPLE = 8
"""So many causes no simulated exposure was given; see profiling/cause_examples.py."""


def sections():
    """The parts of the page, by cause."""
    parts = re.split(r"^### (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_cause_is_explained():
    assert set(EXPLANATIONS) == named_causes()
    for words in EXPLANATIONS.values():
        for sentence in words:
            assert sentence[0].isupper()
            assert sentence.endswith(".")


def test_the_page_has_every_cause_with_an_example_or_says_why_not():
    found = sections()
    assert set(found) == named_causes()
    pictures = set()
    for cause, text in found.items():
        for words in EXPLANATIONS[cause]:
            assert words in text
        named = re.search(r"^`(bad|check|ok)`, evidence [\d.]+, cause \*\*(.*)\*\*\.", text, re.MULTILINE)
        if named is None:
            assert "**No example.**" in text
            assert "![" not in text
            continue
        # What the verdict said is the cause of this part; a trail alone leaves an exposure ok.
        assert cause in causes_in(named[2])
        assert (named[1] == "ok") == (cause == "streak")
        (picture,) = re.findall(r"!\[[^]]*\]\((.*?)\)", text)
        pictures.add(picture)
    assert len(pictures) == len(found) - NO_EXAMPLE
    files = sorted((DOCS / "figures" / "causes").iterdir())
    assert {f"figures/causes/{path.name}" for path in files} == pictures
    assert sum(path.stat().st_size for path in files) < 1_000_000


def test_the_report_tells_what_a_cause_means(visit, tmp_path):
    pytest.importorskip("PIL")
    folder = made.night(tmp_path / "n", 60, bands=("r",), odd=(30,))
    page.write_report(open_night(folder), folder / "r.html", select("cpu"), cache=False)
    tab = visit(folder / "r.html", 1280, 800)
    (cause,) = causes_in(open_night(folder).exposures[0]["cause"])
    box = tab.locator(".judged")
    assert EXPLANATIONS[cause].do not in box.inner_text()  # folded away
    box.locator("summary").click()
    said = box.inner_text()
    for words in EXPLANATIONS[cause]:
        assert words in said
    tab.keyboard.press("j")
    assert tab.locator(".explained").count() == 0  # an exposure that is ok has no cause
    tab.keyboard.press("k")
    assert EXPLANATIONS[cause].do in box.inner_text()  # and it is still unfolded
    tab.keyboard.press("?")
    assert PAGE.name in tab.locator("dialog").inner_text()
    assert PAGE.name in (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")


def test_names_and_numbers_are_words_that_an_astronomer_knows(visit, tmp_path):
    pytest.importorskip("PIL")
    folder = made.night(tmp_path / "n", 3)
    page.write_report(open_night(folder), folder / "r.html", select("cpu"), top=0)
    tab = visit(folder / "r.html")
    names = {
        "stripe_power_3_worst_ccd": "power of stripes (band 3 of periods) of the worst CCD",
        "n_sources": "number of sources",
        "sigma_typical_ccd": "noise of a typical CCD",
        "flat_background_vector": "flat background mean vector",
        "source_kl": "source KL",
    }
    assert tab.evaluate("names => names.map(inWords)", list(names)) == list(names.values())
    assert tab.evaluate("['N4', 'CCD3'].map(ccdWords)") == ["CCD N4", "CCD3"]
    # An evidence of 38 stands below one of 126.2 with the same number of digits; 61 sources are no 61.0.
    assert tab.evaluate("[number(38, 'z'), number(61), number(2, 'rank'), number(0, 'deviation')]") == [
        "38.0",
        "61",
        "2",
        "0.0",
    ]
