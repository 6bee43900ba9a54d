"""The docstrings of the public API and of the backends' protocol are complete, as numpydoc's validation sees them."""

import dataclasses
import enum
import functools
import inspect

import pytest
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import ERROR_MSGS, validate

import gpuanom
from gpuanom.backends.protocol import Backend

LEFT_OUT = {
    "ES01": "a summary that says everything needs no more sentences",
    "EX01": "the README, the tutorial and the how-to pages hold the examples, and are executed",
    "SA01": "the pages of the documentation link what belongs together",
}
"""The checks of numpydoc that are left out, with the reason of each; every other check must pass."""


def _is_record(found):
    """Whether a class is a record, whose fields are described as attributes."""
    return dataclasses.is_dataclass(found) or hasattr(found, "_fields")


def _path(found):
    return f"{found.__module__}.{found.__qualname__}"


def _members(found):
    """The public methods and properties that a class defines, without the fields of a record."""
    fields = set(_fields(found)) if _is_record(found) else set()
    kinds = (property, classmethod, staticmethod, functools.cached_property)
    for name, member in vars(found).items():
        public = not name.startswith("_") and name not in fields
        if public and (inspect.isfunction(member) or isinstance(member, kinds)):
            yield f"{_path(found)}.{name}"


def _fields(found):
    names = [f.name for f in dataclasses.fields(found)] if dataclasses.is_dataclass(found) else found._fields
    return [name for name in names if not name.startswith("_")]


def _public():
    """Every function and class of the public API, including the functions of `plots`, and the protocol."""
    yield Backend
    for name in gpuanom.__all__:
        found = getattr(gpuanom, name)
        if inspect.ismodule(found):
            functions = [f for n, f in vars(found).items() if inspect.isfunction(f) and not n.startswith("_")]
            yield from (f for f in functions if f.__module__ == found.__name__)
        elif inspect.isclass(found) or inspect.isfunction(found):
            yield found


PUBLIC = list(_public())
CLASSES = [found for found in PUBLIC if inspect.isclass(found)]
RECORDS = [found for found in CLASSES if _is_record(found)]
NAMES = sorted({_path(found) for found in PUBLIC} | {name for found in CLASSES for name in _members(found)})


def _errors(name):
    """The complaints of numpydoc about a docstring, without the checks that are left out."""
    found = [(code, message) for code, message in validate(name)["errors"] if code not in LEFT_OUT]
    if name in {_path(c) for c in CLASSES if _is_record(c) or issubclass(c, enum.Enum) or c is Backend}:
        # Fields are described as attributes (see the test below); enumerations and protocols are not called.
        found = [(code, message) for code, message in found if code != "PR01"]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_public_docstrings_are_complete(name):
    assert not _errors(name)


@pytest.mark.parametrize("found", RECORDS, ids=_path)
def test_every_field_of_a_record_is_described(found):
    entries = [entry for entry in ClassDoc(found)["Attributes"] if set(entry.name.split(", ")) & set(_fields(found))]
    assert [name for entry in entries for name in entry.name.split(", ")] == _fields(found)
    assert not [entry.name for entry in entries if not entry.desc]


def test_the_list_covers_the_public_api_and_the_protocol():
    assert {_path(gpuanom.score), _path(gpuanom.sources), "gpuanom.review.plots.orientations"} <= set(NAMES)
    assert f"{_path(Backend)}.sources" in NAMES
    assert f"{_path(gpuanom.Settings)}.from_toml" in NAMES
    assert set(LEFT_OUT) <= set(ERROR_MSGS)


def test_a_missing_parameter_is_noticed(monkeypatch):
    text = inspect.getdoc(gpuanom.measure)  # Python 3.13 keeps docstrings without their indentation
    assert "\nexposure : str or int, optional\n" in text
    monkeypatch.setattr(gpuanom.measure, "__doc__", text.replace("\nexposure : str or int, optional\n", "\n"))
    assert any(code == "PR01" for code, _ in _errors(_path(gpuanom.measure)))
