"""A user's camera rule inherits what it does not say, and measurements by earlier rules stay apart from those by it."""

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.cameras.rules import MASK_CLASSES, MASKS, TURNS, CameraRule
from gpuanom.cameras.user_rules import from_table
from gpuanom.cli import cli
from gpuanom.errors import SettingsError
from gpuanom.fits.explain import explain
from gpuanom.setting_fields import difference
from gpuanom.settings import Settings

ROOT = Path(__file__).parents[2]
ANY = BUILTIN_RULES[-1]
DATA = np.random.default_rng(1).normal(1000, 10, (200, 220)).astype(np.float32)
FLAGS = (np.arange(200 * 220).reshape(200, 220) % 97 == 0).astype(np.uint8)
RAW = {"EXTNAME": "CCD1", "DATASEC": "[11:220,1:200]", "BIASSEC": "[1:10,1:200]"}


def documented(page):
    """The camera rules that a page gives as examples, for a camera called NEWCAM."""
    blocks = re.findall(r"^```toml\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
    texts = [re.sub(r'INSTRUME = "\w+\*"', 'INSTRUME = "NEWCAM*"', block) for block in blocks]
    return [text for text in texts if "[cameras." in text and "NEWCAM" in text]


EXAMPLES = [(page, text) for page in ("README.md", "docs/files.md") for text in documented(page)]


def told(path, text=""):
    return explain([path], Settings.from_mapping(tomllib.loads(text)))[0]


def test_both_pages_have_an_example():
    assert {page for page, _ in EXAMPLES} == {"README.md", "docs/files.md"}


@pytest.mark.parametrize("text", [text for _, text in EXAMPLES])
def test_the_examples_of_the_pages_turn_nothing_off(write, text):
    night = {"INSTRUME": "NEWCAM", "EXPNUM": 7}
    sky = write("sky.fits", (DATA, RAW), (FLAGS, {"EXTNAME": "MASK"}), **night)
    plain, ruled = told(sky), told(sky, text)
    assert "NEWCAM" in ruled.rule_told_by
    assert ruled.ccds == plain.ccds
    assert ruled.not_ccds == plain.not_ccds
    assert ruled.ccds[0].size == (210, 200)
    assert "decoded" in ruled.ccds[0].mask
    for name, cards in (
        ("a.fits", {"IMAGETYP": "Master Flat Frame"}),
        ("b.fits", {"OBSTYPE": "dome flat"}),
        ("c.fits", {"PROCTYPE": "Stack"}),
    ):
        assert told(write(name, data=DATA, **night, **cards), text).outcome == "skipped"


def test_an_empty_value_turns_a_key_off():
    keys = {f: [] for f in ("exposure", "trim", "not_ccds", "ccd")} | {"not_sky": {}, "stacks": {}, "turn": "none"}
    rule = from_table("mine", {"match": {"INSTRUME": "X"}, "mask": "none", **keys})
    assert (rule.exposure, rule.trim, rule.not_ccds, rule.not_sky, rule.stacks, rule.mask_hdu) == ((),) * 5 + ("",)
    assert rule == CameraRule(name="mine", match=(("INSTRUME", "X"),), exposure=(), ccd=())


def test_keys_of_a_mask_belong_together():
    assert from_table("mine", {"mask_hdu": "DQ"}).mask == "own"
    assert from_table("mine", {"mask": "own"}).mask_hdu == ANY.mask_hdu
    for table in ({"mask": "desdm"}, {"mask": "bits", "mask_values": {"1": "bad"}}):
        with pytest.raises(SettingsError, match="mask_hdu"):
            from_table("mine", table)


def test_a_rule_with_the_name_of_a_builtin_rule_begins_with_that_rule():
    ztf = next(rule for rule in BUILTIN_RULES if rule.name == "ZTF")
    rule = from_table("ZTF", {"band": ["FILTERID"]})
    assert (rule.match, rule.mask_values, rule.ccd, rule.band) == (ztf.match, ztf.mask_values, ztf.ccd, ("FILTERID",))


def test_inherited_ways_to_trim_are_tried_as_any_tries_them(write):
    wrong = {"EXTNAME": "CCD1", "TRIMSEC": "[1:999,1:999]", "DATASEC": "[11:220,1:200]"}
    path = write("a.fits", (DATA, wrong), INSTRUME="NEWCAM")
    rule = '[cameras.n]\nmatch = {INSTRUME = "NEWCAM"}\n'
    assert told(path, rule).ccds == told(path).ccds
    assert told(path).ccds[0].size == (210, 200)


def test_measurements_by_an_earlier_version_are_not_mixed_with_those_by_a_rule_that_inherits():
    table = {"match": {"INSTRUME": "X"}, "band": ["MYFILTER"]}
    now = Settings.from_mapping({"cameras": {"mine": table}})
    earlier = Settings().measurement() | {"cameras": {"mine": table}}  # what the store of an earlier version holds
    then = Settings().with_measurement(json.loads(json.dumps(earlier)))
    assert then.measurement() == earlier
    assert then.cameras[0].trim == ()
    assert then.fingerprint() != now.fingerprint()
    said = difference(now.measurement(), earlier)
    assert said.startswith("camera rule 'mine' with other ccd, mask")
    assert "trim" in said


def test_a_record_gives_the_rule_back_and_stays_short():
    table = {"match": {"INSTRUME": "X"}, "not_ccds": ["MINE"], "exposure": ["RUNNO"]}
    settings = Settings.from_mapping({"cameras": {"mine": table}})
    record = json.dumps(settings.measurement())
    again = Settings().with_measurement(json.loads(record))
    assert (again.cameras, again.fingerprint()) == (settings.cameras, settings.fingerprint())
    assert len(record) < 3000


@pytest.mark.parametrize("keywords", [["RUNNO"], ["RUNNO", "only"], ["EXPNUM", "RUNNO"], ["RUNNO", "EXPID"], []])
def test_keywords_survive_the_settings_file(tmp_path, keywords):
    settings = Settings.from_mapping({"cameras": {"mine": {"exposure": keywords}}})
    (tmp_path / "s.toml").write_text(settings.to_toml())
    assert Settings.from_toml(tmp_path / "s.toml") == settings
    assert settings.cameras[0].exposure[: len(keywords)] == tuple(k for k in keywords if k != "only")
    assert f"exposure = {json.dumps(keywords)}\n" in settings.to_toml()


def test_the_page_describes_all_keys_of_a_rule():
    page = (ROOT / "docs/files.md").read_text()
    section = page.partition("### The keys of a camera rule")[2].partition("\n## ")[0]
    rows = {key: line for line in section.splitlines() for key in re.findall(r"^\| `(\w+)` \|", line)}
    assert list(rows) == [f.name for f in dataclasses.fields(CameraRule) if f.name != "name"]
    assert all(f'"{mask}"' in rows["mask"] for mask in MASKS)
    assert all(f'"{turn}"' in rows["turn"] for turn in TURNS)
    assert json.dumps(list(ANY.trim)) in rows["trim"]
    assert all(word in rows[key] for key, words in (("exptime", ANY.exptime), ("saturation", ANY.saturation))
               for word in words)  # fmt: skip
    assert f'`"{ANY.mask}"` |' in rows["mask"]
    assert ANY.mask_hdu.replace("|", "\\|") in rows["mask_hdu"]
    assert f'`"{ANY.turn}"` |' in rows["turn"]
    assert all(f"`{mask_class}`" in rows["mask_values"] for mask_class in MASK_CLASSES)
    assert all(keyword in rows["stacks"] for keyword, _ in ANY.stacks)


def test_settings_end_with_an_example_that_works(tmp_path):
    text = CliRunner().invoke(cli, ["settings"], standalone_mode=False).output
    assert Settings.from_mapping(tomllib.loads(text)) == Settings()
    settings, _, example = text.partition("# [cameras.mycam]\n")
    lines = [line.removeprefix("# ") for line in example.splitlines()]
    rule = Settings.from_mapping(tomllib.loads("\n".join([settings, "[cameras.mycam]", *lines]))).cameras[0]
    assert (rule.name, rule.mask_hdu, rule.exposure[0]) == ("mycam", "DQ", "RUNNO")
    assert all(mask_class in MASK_CLASSES for _, mask_class in rule.mask_values)
    assert max(map(len, text.splitlines()[-12:])) <= 120
    with_rule = Settings(cameras=(rule,)).to_toml()
    assert "# [cameras" not in with_rule


def test_the_help_of_settings_tells_of_camera_rules():
    text = CliRunner().invoke(cli, ["settings", "--help"], standalone_mode=False).output
    assert "cameras" in text
    assert "settings of the paper" not in text
