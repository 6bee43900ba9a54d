"""Settings: every number is checked and named in errors, and TOML keeps all settings."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.errors import SettingsError
from gpuanom.setting_fields import MEASUREMENT, READING, SCORE, STATISTICS, difference
from gpuanom.settings import Settings


def test_defaults_are_those_of_the_method():
    s = Settings()
    assert (s.background_points, s.clip_fraction, s.sigma_points, s.minimum_points) == (1000, 0.1, 10_000, 100)
    assert (s.threshold, s.stamp_size, s.above_threshold, s.above_pixels) == (4.0, 64, 2.0, 6)
    assert (s.moment_fraction, s.isophote_threshold, s.isophote_pixels) == (0.02, 2.0, 5)
    assert (s.gradient_points, s.smooth_size, s.gradient_reach, s.patch_size, s.bins) == (10_000, 10, 5, 20, 18)
    assert (s.robust_rounds, s.robust_fraction, s.robust_minimum, s.sparse_counts, s.draws) == (0, 0.1, 3, 10, 4)


@given(
    threshold=st.floats(0.1, 1e6),
    bins=st.integers(2, 360),
    seed=st.integers(0, 2**63 - 1),
    mask=st.booleans(),
    classes=st.lists(st.sampled_from(["bad", "bleed", "cosmic_ray"]), unique=True),
    versions=st.sampled_from(["newest", "apart"]),
)
def test_toml_there_and_back(tmp_path_factory, classes, **values):
    settings = Settings(mask_sources=tuple(classes), **values)
    path = tmp_path_factory.mktemp("toml") / "s.toml"
    path.write_text(settings.to_toml())
    assert Settings.from_toml(path) == settings


def test_camera_rules_survive_toml(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text('bins = 12\n[cameras.mine]\nmatch = { INSTRUME = "MYCAM*" }\nexposure = ["RUNNO"]\n')
    settings = Settings.from_toml(path)
    assert settings.cameras[0].name == "mine"
    again = tmp_path / "again.toml"
    again.write_text(settings.to_toml())
    assert Settings.from_toml(again) == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0.0),
        ("threshold", -1),
        ("threshold", float("nan")),
        ("threshold", "4"),
        ("bins", 1),
        ("bins", 18.0),
        ("bins", True),
        ("stamp_size", 63),
        ("stamp_size", 128),
        ("smooth_size", 9),
        ("clip_fraction", 0.5),
        ("seed", -1),
        ("mask", 1),
        ("mask_sources", ["nonsense"]),
        ("mask_sources", "bad"),
        ("versions", "oldest"),
        ("robust_fraction", 1.0),
        ("cameras", [1]),
    ],
)
def test_impossible_values_are_refused_by_name(name, value):
    with pytest.raises(SettingsError, match=name):
        Settings.from_mapping({name: value})


def test_unknown_names_are_refused(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text("tresholdd = 4\n")
    with pytest.raises(SettingsError, match=r"s\.toml: unknown setting 'tresholdd' \(do you mean threshold\?\)$"):
        Settings.from_toml(path)


def test_a_misspelt_name_in_python_is_refused_as_in_a_file():
    for make in (Settings, Settings().replace):
        with pytest.raises(SettingsError, match=r"^unknown setting 'thresholds' \(do you mean threshold\?\)$"):
            make(thresholds=5)
    with pytest.raises(SettingsError, match="by their names"):
        Settings(5.0)


@pytest.mark.parametrize("content", [b"a = = 1", b"\xff\xfe", None])
def test_unreadable_files_are_named(tmp_path, content):
    path = tmp_path / "s.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"s\.toml"):
        Settings.from_toml(path)


def test_every_setting_says_what_it_is():
    for f in dataclasses.fields(Settings):
        assert f.metadata["help"]
        assert f.metadata["place"]
        assert f.metadata["stage"] in (MEASUREMENT, SCORE, READING, STATISTICS)


def test_fingerprint_changes_with_measurement_settings_only():
    base = Settings()
    score = {"robust_rounds": 3, "versions": "apart", "simulations": 500}
    assert base.replace(**score, checksum=False, statistics=False).fingerprint() == base.fingerprint()
    for change in ({"threshold": 10.0}, {"bins": 36}, {"seed": 2}, {"mask": False}, {"mask_gradients": ("bad",)}):
        assert base.replace(**change).fingerprint() != base.fingerprint()


def test_the_settings_of_part_two_are_told_only_where_it_is_turned_on():
    """Otherwise the tables of the paper's profile would differ from those of versions that had no Part II."""
    assert Settings().scoring() == Settings().effective_scoring()
    assert "statistics" not in Settings.from_profile("paper").effective_scoring()
    paper = Settings.from_profile("paper")
    part_two = {f.name for f in dataclasses.fields(paper) if f.metadata["stage"] == "statistics"}
    assert {"statistics", "bad_evidence", "verdict_exposures"} <= part_two
    assert paper.effective_scoring() == {name: value for name, value in paper.scoring().items() if name not in part_two}
    assert "statistics" not in Settings().measurement()


def test_difference_is_said_in_words():
    a, b = Settings().measurement(), Settings(bins=36).measurement()
    assert difference(a, a) == ""
    assert difference(a, b) == "bins 36 there, 18 here"


def test_profiles(tmp_path):
    assert Settings.from_profile("standard") == Settings()
    assert Settings.from_profile("paper") == Settings(statistics=False)
    robust = Settings.from_profile("robust")
    assert (robust.threshold, robust.robust_rounds, robust.robust_fraction) == (30.0, 4, 0.35)
    path = tmp_path / "s.toml"
    path.write_text("threshold = 10.0\n")
    assert Settings.from_toml(path, "robust") == robust.replace(threshold=10.0)
    path.write_text("robust_rounds = 0\n")
    assert Settings.from_toml(path, "robust").robust_rounds == 0
    with pytest.raises(SettingsError, match=r"unknown profile 'best' \(one of standard, paper, robust\)"):
        Settings.from_profile("best")


def test_the_command_takes_a_profile(capfd):
    from gpuanom.cli import main

    for arguments, rounds in ((["--profile", "robust"], 4), (["--profile", "robust", "--robust-rounds", "1"], 1)):
        with pytest.raises(SystemExit):
            main(["settings", *arguments])
        assert f"robust_rounds = {rounds} " in capfd.readouterr().out
