"""Records whose fields are set at once are those that `dataclass` makes."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from gpuanom.set_at_once import set_at_once


@dataclass(frozen=True)
class Plain:
    first: int
    second: str = "b"
    third: tuple[int, ...] = (1, 2)


@set_at_once
@dataclass(frozen=True)
class Quick:
    first: int
    second: str = "b"
    third: tuple[int, ...] = (1, 2)


@pytest.mark.parametrize("arguments", [(1,), (1, "c"), (1, "c", ())])
def test_fields_and_defaults(arguments):
    assert vars(Quick(*arguments)) == vars(Plain(*arguments))
    assert Quick(third=(3,), first=2) == Quick(2, "b", (3,))
    assert inspect.signature(Quick) == inspect.signature(Plain)


def test_a_record_stays_frozen_and_can_be_replaced_and_pickled():
    record = Quick(1)
    with pytest.raises(FrozenInstanceError):
        record.first = 2
    assert replace(record, second="x") == Quick(1, "x")
    assert pickle.loads(pickle.dumps(record)) == record


@pytest.mark.parametrize("arguments", [(), (1, 2, 3, 4)])
def test_too_few_and_too_many_values(arguments):
    with pytest.raises(TypeError, match="argument"):
        Quick(*arguments)


def test_classes_that_do_more_are_refused():
    @dataclass(frozen=True)
    class Listing:
        items: list[int] = field(default_factory=list)

    @dataclass(frozen=True)
    class Checked:
        number: int

        def __post_init__(self):
            assert self.number

    for kind in (
        Listing,
        Checked,
        dataclass(frozen=True, slots=True)(type("Few", (), {"__annotations__": {"a": int}})),
    ):
        with pytest.raises(TypeError, match="does more"):
            set_at_once(kind)
