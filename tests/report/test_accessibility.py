"""The page read by a screen reader and by keyboard alone: roles and names, focus, what is read out, and contrast."""

from __future__ import annotations

import itertools

import pytest

from gpuanom.backends.choice import select
from gpuanom.report import page
from gpuanom.review.opened import open_night
from tests.report import made

pytest.importorskip("PIL")

NEEDS_A_NAME = (
    *("button", "combobox", "textbox", "searchbox", "spinbutton", "checkbox", "link", "image", "grid", "listbox"),
    *("columnheader", "table", "region", "dialog", "heading", "group"),
)
"""Roles of which a screen reader can tell nothing without a name."""

CONTRAST = 4.5
"""Least contrast of text of a usual size with what is behind the text: WCAG 2.1, success criterion 1.4.3."""

CONTRASTS = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
  const light = (c) => c.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const colour = rgb(getComputedStyle(element).backgroundColor);
    return colour.length === 4 && colour[3] < 1 ? over(colour, behind(element.parentElement)) : colour;
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const said = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
    // Text on a picture has an edge of its own, and colours of the picture behind it.
    if (!said || element.closest("script, option, title, .plane")) continue;
    if (!element.checkVisibility({ opacityProperty: true })) continue;
    const style = getComputedStyle(element), back = behind(element);
    const inside = element.namespaceURI.endsWith("svg");
    const a = light(over(rgb(inside ? style.fill : style.color), back)), b = light(back);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([ratio, said, element.className.baseVal ?? element.className]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accessible")
    judged = made.night(folder / "judged", 60, bands=("r",), ccds=("1", "2", "3", "4"), odd=(30,))
    alone = made.night(folder / "alone", 8, bands=("g", "r"))
    for night in (judged, alone):
        page.write_report(open_night(night), night / "r.html", select("cpu"), cache=False)
    return judged / "r.html", alone / "r.html"


def tree(tab):
    """The nodes of the accessibility tree: role, name, properties."""
    nodes = tab.context.new_cdp_session(tab).send("Accessibility.getFullAXTree")["nodes"]
    return [
        (
            node["role"]["value"],
            node.get("name", {}).get("value", "").strip(),
            {p["name"]: p["value"].get("value") for p in node.get("properties", [])},
        )
        for node in nodes
        if not node["ignored"]
    ]


def test_what_a_screen_reader_is_told(visit, reports):
    tab = visit(reports[0], 1280, 800)
    assert tab.locator("html").get_attribute("lang") == "en"
    found = tree(tab)
    rows = [
        (name, properties) for role, name, properties in found if role == "row" and name
    ]  # those of tables have none
    assert rows[0][0].startswith("verdict exposure band")
    assert rows[1][0].startswith("bad 845030")
    assert rows[1][1]["selected"]
    assert tab.locator("#list-scroll").get_attribute("aria-rowcount") == "61"
    assert tab.locator(".row > [role=gridcell]").count() == 7 * tab.locator(".row").count()
    assert {role for role, _, properties in found if properties.get("live") == "polite"} == {"status", "generic"}
    assert ("group", "verdict bad") in [(role, name) for role, name, _ in found]
    for view in ("list", "sheet", "dataset", "night", "help"):
        tab.click("#help-open" if view == "help" else f"#view-{view}")
        found = tree(tab)
        # The folded parts are named by their summaries.
        nameless = [(role, name) for role, name, _ in found if role in NEEDS_A_NAME and not name]
        assert [role for role, _ in nameless if role != "group"] == [], view
        assert len(nameless) <= tab.locator("details").count()
        headings = [properties["level"] for role, _, properties in found if role == "heading"]
        assert all(b <= a + 1 for a, b in itertools.pairwise(headings)), view


def test_the_keyboard_reaches_everything_and_is_never_caught(visit, reports):
    tab = visit(reports[0], 1280, 800)
    shown = "(e) => e.checkVisibility() && e.tabIndex >= 0"
    every = tab.evaluate(
        f"[...document.querySelectorAll('button, input, select, a, summary, [tabindex]')].filter({shown}).length"
    )
    seen = []
    for _ in range(every):
        tab.keyboard.press("Tab")
        seen.append(tab.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    # One after the other in the order of the page, each once, and the page is left after the last.
    assert seen == sorted(set(seen))
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement === document.body")


def test_the_keyboard_stays_where_it_was(visit, reports):
    tab = visit(reports[0], 1280, 800)
    tab.focus("[data-grade=dubious]")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.dataset.grade") == "dubious"
    assert tab.locator("[data-grade=dubious]").get_attribute("aria-pressed") == "true"
    # Labels are read by a button, which the keyboard can press as well as the mouse.
    tab.evaluate("$('load').addEventListener('click', (event) => { window.asked = true; event.preventDefault(); })")
    tab.focus("#load-open")
    tab.keyboard.press("Enter")
    assert tab.evaluate("window.asked")
    tab.focus("[data-sort=exposure]")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.dataset.sort") == "exposure"
    assert tab.locator('[role=columnheader][aria-sort="ascending"]').inner_text().startswith("exposure")
    tab.focus("#search")
    tab.keyboard.type("8450")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "list-scroll"
    # Arrows choose exposures, and so the space bar scrolls.
    for view, part in (("list", "detail"), ("night", "course"), ("dataset", "dataset")):
        tab.click(f"#view-{view}")
        tab.focus(f"#{part}")
        tab.keyboard.press("Space")
        for _ in range(100):  # scrolling takes a moment
            if tab.evaluate(f"$('{part}').scrollTop") > 0:
                break
            tab.wait_for_timeout(50)
        else:
            pytest.fail(f"{part} does not scroll")
    tab.focus("#d-measure")
    tab.keyboard.press("ArrowDown")
    assert tab.evaluate("document.activeElement.id") == "d-measure"


def test_the_chosen_exposure_is_read_out(visit, reports):
    tab = visit(reports[0], 1280, 800)
    tab.keyboard.press("j")
    second = tab.locator(".row .id").nth(1).inner_text()
    assert tab.locator("#now").text_content() == f"exposure {second}: ok; 2 of 60"
    # In the list, the screen reader reads the row itself.
    tab.focus("#list-scroll")
    tab.keyboard.press("End")
    assert tab.locator("#now").text_content() == ""
    row = tab.locator(f"#{tab.locator('#list-scroll').get_attribute('aria-activedescendant')}")
    assert row.get_attribute("aria-selected") == "true"
    assert row.get_attribute("aria-rowindex") == "61"
    # The head of the list does not hide the row.
    box, head, room = (
        tab.locator(s).bounding_box() for s in (f"#{row.get_attribute('id')}", "#list-head", "#list-scroll")
    )
    assert head["y"] + head["height"] <= box["y"] + 0.5
    assert box["y"] + box["height"] <= room["y"] + room["height"] + 0.5


def test_text_can_be_read(visit, reports):
    tab = visit(reports[0], 1280, 800)
    for view in ("list", "sheet", "dataset", "night", "help"):
        tab.click("#help-open" if view == "help" else f"#view-{view}")
        for scheme in ("dark", "light"):
            tab.emulate_media(color_scheme=scheme)
            found = tab.evaluate(CONTRASTS)
            assert len(found) > 20
            assert [(round(ratio, 2), *what) for ratio, *what in found if ratio < CONTRAST] == [], (view, scheme)


@pytest.mark.parametrize("which", ["with verdicts", "without"])
def test_list_and_detail_do_not_overlap(visit, reports, which):
    tab = visit(reports[which == "without"], 1280, 800)
    if which == "with verdicts":
        tab.keyboard.press("l")
    assert "source" in tab.locator("#list-head button").evaluate_all("all => all.map((b) => b.dataset.sort)")
    rights = "all => all.map((e) => e.getBoundingClientRect().right)"
    for width in (1024, 1366, 1920, 1280):
        tab.set_viewport_size({"width": width, "height": 800})
        tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        (end,) = tab.locator("#list").evaluate_all(rights)
        assert end <= tab.locator("#detail").evaluate("detail => detail.getBoundingClientRect().left")
        heads = tab.locator("#list-head button").evaluate_all(rights)
        # Each heading stands over its column.
        assert heads == tab.locator(".row").first.locator("> *").evaluate_all(rights)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert width < 1280 or max(heads) <= end  # nothing needs to be scrolled sideways
    names = tab.locator("#list-head button").evaluate_all("all => all.map((b) => b.dataset.sort)")
    assert {"exposure", "source", "flat_background", "mark"} <= set(names)
