"""Every number of the method: default, unit and place in METHOD.md, in one frozen dataclass.

A setting that changes what is measured from the pixels belongs to the *measurement*; one that changes only how stored
measurements are compared belongs to the *score*. Measurements made with other measurement settings are never mixed.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from gpuanom import display
from gpuanom.cameras.rules import CameraRule, toml_text
from gpuanom.cameras.user_rules import EXAMPLE, from_record, to_record, to_table
from gpuanom.errors import SettingsError
from gpuanom.paper_settings import PaperSettings
from gpuanom.setting_fields import (
    MEASUREMENT,
    READING,
    SCORE,
    STATISTICS,
    any_value,
    checked,
    count,
    fraction,
    from_toml_value,
    numbers,
    positive,
    read_toml,
    setting,
    toml_value,
    with_attributes,
)
from gpuanom.setting_fields import decimal as decimal
from gpuanom.setting_fields import difference as difference

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "standard": {},
    "paper": {"statistics": False},
    "robust": {"threshold": 30.0, "robust_rounds": 4, "robust_fraction": 0.35},
}
"""Settings by name: the default ones, those of the paper alone, and those that docs/validation.md found better."""

NO_CHECKSUM = "--no-checksum"
"""The option that reads an image although its data do not agree with its DATASUM; messages name it."""


@dataclass(frozen=True, kw_only=True)
class Settings(PaperSettings):
    """The numbers of the method (METHOD.md); the defaults are the paper's, or ours where the paper is silent.

    Raises
    ------
    SettingsError
        When a name is unknown, or a value has the wrong type or is impossible; the message names the setting.
    """

    statistics: bool = setting(
        True,
        "measure patterns, shapes and repeated stars, and use them",
        "9 to 12",
        stage=STATISTICS,
        check=any_value,
        allowed="true or false",
    )
    bad_evidence: tuple[float, ...] = setting(
        (24.1, 20.3, 10.1, 8.8, 8.8),
        "lowest evidence of a bad exposure, with 20, 30, 50, 150 and 1000 exposures",
        "13",
        stage=STATISTICS,
        **numbers(5),
    )
    check_evidence: tuple[float, ...] = setting(
        (11.0, 7.5, 6.0, 5.7, 5.5),
        "lowest evidence of an exposure to check, with as many exposures",
        "13",
        stage=STATISTICS,
        **numbers(5),
    )
    bad_ccd_evidence: tuple[float, ...] = setting(
        (20.1, 13.8, 13.1, 12.9, 12.9),
        "lowest evidence of a bad CCD, with as many exposures",
        "13",
        stage=STATISTICS,
        **numbers(5),
    )
    verdict_exposures: int = setting(
        20, "fewer exposures of a dataset give no verdict", "13", stage=STATISTICS, **count(10, 1_000_000)
    )
    verdict_ccds: float = setting(
        0.5, "an exposure with a smaller part of the usual CCDs has no verdict", "13", stage=STATISTICS,
        **fraction(0.0, 1.0),
    )  # fmt: skip
    few_sources: int = setting(
        10, "with fewer sources their orientations and shapes are not judged", "13", stage=STATISTICS,
        **count(0, 1_000_000),
    )  # fmt: skip
    covariate_exposures: int = setting(
        15, "statistics are regressed on at most one condition for each so many exposures", "13", stage=STATISTICS,
        **count(2, 1_000_000),
    )  # fmt: skip
    covariate_clip: float = setting(
        5.0, "conditions further than this from their median count as this far", "13", stage=STATISTICS,
        unit="1.4826 MAD", **positive(),
    )  # fmt: skip
    faint_sky: float = setting(
        5.0, "where any sky is below this, sigma stands for the sky", "13", stage=STATISTICS, unit="sigma", **positive()
    )
    exposure_time_ratio: float = setting(
        1.5, "exposure times that differ by more have each what is normal for them", "13", stage=STATISTICS,
        **fraction(1.0, 1e6),
    )  # fmt: skip
    cameras: tuple[CameraRule, ...] = setting(
        (), "camera rules beside the built-in rules, as tables [cameras.NAME]", "-", check=any_value, allowed="tables"
    )

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            object.__setattr__(self, f.name, checked(f, getattr(self, f.name)))

    def _changed(self) -> list[dataclasses.Field[Any]]:
        """Return the settings that differ from their defaults."""
        return [f for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]

    def _shown(self, name: str) -> str:
        """Return a value as text; camera rules by their names."""
        value = getattr(self, name)
        return repr(tuple(rule.name for rule in value) if name == "cameras" else value)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{f.name}={self._shown(f.name)}' for f in self._changed())})"

    def _repr_html_(self) -> str:
        rows = [(f.name, self._shown(f.name), repr(f.default), f.metadata["help"]) for f in self._changed()]
        facts = (f"{display.counted(len(rows), 'setting')} other than the default" if rows else "the defaults",)
        return display.html_table("Settings", facts, ("setting", "value", "default", "meaning"), rows, len(rows))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, origin: str = "settings") -> Self:
        """Settings from a mapping of names to values, unknown names refused.

        Parameters
        ----------
        values : mapping
            Names of settings to their values.
        origin : str, optional
            What messages call the mapping.

        Returns
        -------
        Settings
            What the mapping does not name has its default.

        Raises
        ------
        SettingsError
            On an unknown name or an impossible value.
        """
        if not isinstance(values, Mapping):
            raise SettingsError(f"{origin}: must be a mapping of names to values")
        try:
            _require_known(values)
            return cls(**{name: from_toml_value(name, value) for name, value in values.items()})
        except SettingsError as error:
            raise SettingsError(f"{origin}: {error}") from None

    @classmethod
    def from_toml(cls, path: str | Path, profile: str = "standard") -> Self:
        """Settings from a TOML file, as `gpuanom settings` prints it; what it does not say is the profile's.

        Parameters
        ----------
        path : str or Path
            The file.
        profile : str, optional
            One of `PROFILES`.

        Returns
        -------
        Settings
            Those of the file.

        Raises
        ------
        SettingsError
            When the file cannot be read, is not TOML, or holds an unknown or impossible setting, or when there is no
            such profile.
        """
        return cls.from_mapping({**_profile(profile), **read_toml(path)}, origin=str(path))

    @classmethod
    def from_profile(cls, profile: str) -> Self:
        """The settings of one of `PROFILES`.

        Parameters
        ----------
        profile : str
            Its name.

        Returns
        -------
        Settings
            Those of the profile.

        Raises
        ------
        SettingsError
            When there is no such profile.
        """
        return cls(**_profile(profile))

    def replace(self, **changes: Any) -> Self:
        """A copy with other values of some settings.

        Parameters
        ----------
        **changes : int, float, bool, str or tuple
            New values by the names of their settings.

        Returns
        -------
        Settings
            The changed copy.

        Raises
        ------
        SettingsError
            On an unknown name or an impossible value.
        """
        return dataclasses.replace(self, **changes)

    def to_toml(self) -> str:
        """The settings as TOML, each with its meaning, unit and place in METHOD.md; `from_toml` reads it back.

        Returns
        -------
        str
            Lines that `from_toml` reads. They end with the camera rules, or with one in comments as an example.
        """
        lines = ["# gpuanom settings; the section numbers are those of docs/METHOD.md"]
        for f in dataclasses.fields(self):
            if f.name == "cameras":
                continue
            about = f.metadata
            place = "" if about["place"] == "-" else f", section {about['place']}"
            unit = f" [{about['unit']}]" if about["unit"] else ""
            lines.append(f"{f.name} = {toml_value(getattr(self, f.name))}  # {about['help']}{unit}{place}")
        for rule in self.cameras:
            lines += ["", f"[cameras.{toml_text(rule.name)}]", *to_table(rule)]
        if not self.cameras:
            lines += ["", *EXAMPLE]
        return "\n".join(lines) + "\n"

    def _of_stages(self, *stages: str) -> dict[str, Any]:
        """Return the values of the settings of some stages, by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.metadata["stage"] in stages}

    def measurement(self) -> dict[str, Any]:
        """The settings that change what is measured from the pixels, as plain values.

        Returns
        -------
        dict
            Values by name.
        """
        values = self._of_stages(MEASUREMENT)
        values["cameras"] = {rule.name: to_record(rule) for rule in self.cameras}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def scoring(self) -> dict[str, Any]:
        """The settings that change only how stored measurements are compared, as plain values.

        Returns
        -------
        dict
            Values by name, those of METHOD.md Part II among them.
        """
        values = self._of_stages(SCORE, STATISTICS)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def effective_scoring(self) -> dict[str, Any]:
        """The settings of `scoring` that matter: without those of METHOD.md Part II where it is turned off.

        Returns
        -------
        dict
            Values by name.
        """
        part_two = self._of_stages(STATISTICS)
        return {n: v for n, v in self.scoring().items() if self.statistics or n not in part_two}

    def with_scoring(self, scoring: Mapping[str, Any]) -> Self:
        """These settings with the recorded ones of `scoring` in their place.

        Parameters
        ----------
        scoring : mapping
            What `scoring` of other settings gave.

        Returns
        -------
        Settings
            The changed copy.

        Raises
        ------
        SettingsError
            When the record is of another version that knew other settings.
        """
        return type(self).from_mapping({**self._of_stages(MEASUREMENT), **scoring}, origin="recorded settings")

    def with_measurement(self, measurement: Mapping[str, Any]) -> Self:
        """These settings with the recorded ones of `measurement` in their place.

        Parameters
        ----------
        measurement : mapping
            What `measurement` of other settings gave.

        Returns
        -------
        Settings
            The changed copy.

        Raises
        ------
        SettingsError
            When the record is of another version that knew other settings.
        """
        recorded = dict(measurement)
        recorded["cameras"] = tuple(
            from_record(name, rule) for name, rule in sorted(dict(recorded.get("cameras", {})).items())
        )
        ours = self._of_stages(READING, SCORE, STATISTICS)
        return type(self).from_mapping({**recorded, **ours}, origin="recorded settings")

    def fingerprint(self) -> str:
        """A short hash of `measurement`: equal fingerprints mean measurements that can be compared.

        Returns
        -------
        str
            16 hexadecimal digits.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        text = json.dumps(self.measurement(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def patch_size(self) -> int:
        """Side of the raw patch that the fused gradient filter reads, in pixels (METHOD.md 4)."""
        return self.smooth_size + 2 * self.gradient_reach


def _require_known(names: Iterable[str]) -> None:
    """Refuse names that no setting has, and say which setting may be meant."""
    known = {f.name for f in dataclasses.fields(Settings)}
    for name in names:
        if name not in known:
            import difflib

            near = difflib.get_close_matches(str(name), known, 1)
            remedy = f"do you mean {near[0]}?" if near else "`gpuanom settings` lists them"
            raise SettingsError(f"unknown setting '{name}' ({remedy})")


def _by_known_names(init: Callable[..., None]) -> Callable[..., None]:
    """Return the ``__init__`` of `Settings`, with an error that a user understands for a name that is misspelt."""

    @functools.wraps(init)
    def checked_init(self: Settings, *values: object, **settings: object) -> None:
        if values:
            raise SettingsError(f"Settings are given by their names, such as threshold=5.0 (not {values[0]!r} alone)")
        _require_known(settings)
        init(self, **settings)

    return checked_init


Settings.__init__ = _by_known_names(Settings.__init__)  # type: ignore[method-assign]
Settings.__doc__ = with_attributes(Settings.__doc__, dataclasses.fields(Settings))


def _profile(name: str) -> Mapping[str, Any]:
    if not isinstance(name, str) or name not in PROFILES:
        raise SettingsError(f"unknown profile '{name}' (one of {', '.join(PROFILES)})")
    return PROFILES[name]
