import dataclasses
import tomllib

import pytest

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.cameras.rules import CameraRule
from gpuanom.cameras.user_rules import from_record, from_table, to_record, to_table
from gpuanom.errors import SettingsError
from gpuanom.settings import Settings


@pytest.mark.parametrize("rule", BUILTIN_RULES, ids=lambda r: r.name)
@pytest.mark.parametrize("name", ["as it is", "mine"])
def test_a_rule_survives_toml(rule, name):
    rule = rule if name == "as it is" else dataclasses.replace(rule, name=name)
    text = "\n".join(to_table(rule))
    assert from_table(rule.name, tomllib.loads(text)) == rule
    assert CameraRule.from_mapping(rule.name, rule.to_mapping()) == rule
    assert from_record(rule.name, to_record(rule)) == rule
    hash(rule)


def test_rules_travel_in_the_settings_file(tmp_path):
    settings = Settings(
        cameras=(
            CameraRule(
                name='odd "one" é😀 \x7f', match=(("INSTRUME", "X*"),), mask="codes", mask_hdu="DQ",
                mask_values=(("1", "bad"),), full_size=(10, 20), not_sky=(("KIND", ("dark", "a=b")),),
            ),
        )
    )  # fmt: skip
    path = tmp_path / "s.toml"
    path.write_text(settings.to_toml())
    assert Settings.from_toml(path) == settings


def test_the_last_rule_fits_everything():
    assert BUILTIN_RULES[-1].match == ()
    assert all(rule.match for rule in BUILTIN_RULES[:-1])
    assert len({rule.name for rule in BUILTIN_RULES}) == len(BUILTIN_RULES)


@pytest.mark.parametrize(
    ("mapping", "word"),
    [
        ({"expsoure": ["A"]}, "expsoure"),
        ({"exposure": "EXPNUM"}, "exposure"),
        ({"exposure": ["lower case"]}, "exposure"),
        ({"band": ["FILTER:third"]}, "band"),
        ({"match": {"INSTRUME": 3}}, "match"),
        ({"match": ["INSTRUME"]}, "match"),
        ({"not_sky": {"OBSTYPE": "dark"}}, "not_sky"),
        ({"full_size": [2048]}, "full_size"),
        ({"full_size": [0, 5]}, "full_size"),
        ({"full_size": [True, 5]}, "full_size"),
        ({"turn": "left"}, "turn"),
        ({"mask": "magic"}, "mask"),
        ({"mask": "desdm"}, "mask_hdu"),
        ({"mask": "bits", "mask_hdu": "DQ"}, "mask_values"),
        ({"mask_values": {"1": "bad"}}, "mask_values"),
        ({"mask": "bits", "mask_hdu": "DQ", "mask_values": {"3": "bad"}}, "mask_values"),
        ({"mask": "codes", "mask_hdu": "DQ", "mask_values": {"255": "bad"}}, "mask_values"),
        ({"mask": "codes", "mask_hdu": "DQ", "mask_values": {"1": "ugly"}}, "ugly"),
        ({"mask": "codes", "mask_hdu": "DQ", "mask_values": {"x": "bad"}}, "mask_values"),
        ({"mask_file": ["ooi"]}, "mask_file"),
        ({"camera": 5}, "camera"),
        ("text", "table"),
    ],
)
def test_impossible_rules_are_refused_by_name(mapping, word):
    with pytest.raises(SettingsError, match=word) as caught:
        CameraRule.from_mapping("mine", mapping)
    assert "mine" in str(caught.value)


def test_the_rule_for_every_file_takes_no_match():
    with pytest.raises(SettingsError, match="match"):
        CameraRule.from_mapping("any", {"match": {"A": "b"}})
