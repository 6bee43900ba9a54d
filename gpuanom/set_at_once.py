"""Frozen records of which an exposure has one or more for each CCD: made, and copied with other values, quickly."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

Record = TypeVar("Record")


def set_at_once(kind: type[Record]) -> type[Record]:
    """Give a frozen dataclass an ``__init__`` that sets all fields at once.

    The one that `dataclass` writes calls a function for each field, since the fields of a frozen class cannot be
    assigned. For the records of 61 CCDs these are thousands of calls with the interpreter's lock held.

    Parameters
    ----------
    kind : class
        A frozen dataclass without ``__post_init__``, slots and default factories.

    Returns
    -------
    class
        The same.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    defaults = {f.name: f.default for f in fields(kind) if f.default is not MISSING}  # type: ignore[arg-type]
    factories = any(f.default_factory is not MISSING or not f.init for f in fields(kind))  # type: ignore[arg-type]
    if factories or hasattr(kind, "__post_init__") or hasattr(kind, "__slots__"):
        raise TypeError(f"{kind.__name__} does more than to set its fields when it is made")
    arguments = ", ".join(f"{name}=_defaults[{name!r}]" if name in defaults else name for name in names)
    values = ", ".join(f"{name}={name}" for name in names)
    namespace: dict[str, Any] = {"_defaults": defaults}
    exec(f"def __init__(self, {arguments}):\n    self.__dict__.update({values})", namespace)
    init = namespace["__init__"]
    init.__qualname__, init.__module__ = f"{kind.__qualname__}.__init__", kind.__module__
    init.__annotations__ = kind.__init__.__annotations__
    kind.__init__ = init  # type: ignore[method-assign]
    return kind


def changed(record: Record, **values: object) -> Record:
    """A copy of a record with other values: `dataclasses.replace`, which takes ten times as long for many fields.

    Parameters
    ----------
    record : any record
        Of a dataclass that computes nothing from its fields when it is made.
    **values
        New values of its fields.
    """
    copy = object.__new__(type(record))
    copy.__dict__.update(record.__dict__, **values)
    return copy
