"""The parameters of a kernel, and whether the arguments of a launch fit them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Parameter:
    """One parameter, as the compiler sees it and as its text in the source."""

    text: str
    kind: str  # NumPy's letter for the scalar, or for the scalar that the pointer points to; V for a structure or void
    size: int  # in bytes
    access: str  # "" for a scalar, "*" for a pointer to const, "+" for a pointer to write through
    alignment: int = 1  # alignment of what the pointer points to

    @property
    def is_pointer(self) -> bool:
        return bool(self.access)

    def __str__(self) -> str:
        return " ".join(self.text.split())


def parse(described: str, texts: tuple[str, ...]) -> list[Parameter]:
    """The parameters, from the description that include/export.h generates."""
    words = described.split()
    if len(words) != len(texts):
        raise ValueError(f"{len(words)} parameters compiled, {len(texts)} found in the source: {texts}")
    return [_parameter(word, text) for word, text in zip(words, texts, strict=True)]


def _parameter(word: str, text: str) -> Parameter:
    if word[0] in "*+":
        scalar, alignment = word[1:].split("/")
        return Parameter(text, scalar[0], int(scalar[1:]), word[0], int(alignment))
    return Parameter(text, word[0], int(word[1:]), "")


def check_scalar(parameter: Parameter, value) -> bytes:
    """The bytes of a scalar. CuPy passes a Python int or float as 8 bytes, whatever type the kernel declares."""
    if parameter.is_pointer:
        raise TypeError(f"{type(value).__name__} for the pointer '{parameter}'")
    if not isinstance(value, np.generic):
        raise TypeError(f"{type(value).__name__} for '{parameter}': a sized NumPy scalar is wanted")
    if (parameter.kind != "V" and value.dtype.kind != parameter.kind) or value.dtype.itemsize != parameter.size:
        raise TypeError(f"{value.dtype} for '{parameter}' ({parameter.kind}{parameter.size})")
    return value.tobytes()


def check_null(parameter: Parameter) -> None:
    """Check that None is allowed: None is a null pointer, which the source must permit for the parameter."""
    if not parameter.is_pointer or "OPTIONAL" not in parameter.text:
        raise TypeError(f"None for '{parameter}', which is not marked OPTIONAL")


def check_array(parameter: Parameter, array: np.ndarray) -> None:
    """Check that an array fits the pointer. The real CuPy checks nothing of this."""
    if not parameter.is_pointer:
        raise TypeError(f"an array for the scalar '{parameter}'")
    if parameter.kind != "V" and (array.dtype.kind, array.dtype.itemsize) != (parameter.kind, parameter.size):
        raise TypeError(f"an array of {array.dtype} for '{parameter}' ({parameter.kind}{parameter.size})")
    if not array.flags.c_contiguous:
        raise TypeError(f"an array with strides {array.strides} for '{parameter}': it must be C-contiguous")
    address = array.__array_interface__["data"][0]
    if address % parameter.alignment:
        raise TypeError(f"an array at {address:#x} for '{parameter}', which needs {parameter.alignment}-byte alignment")


def pack(values: list[bytes]) -> tuple[ctypes.Array, list[ctypes.Array]]:
    """The array of pointers to the arguments of a launch, and the arguments' buffers, which must be kept alive."""
    kept = [ctypes.create_string_buffer(value, max(len(value), 16)) for value in values]
    pointers = (ctypes.c_void_p * len(kept))(*(ctypes.addressof(buffer) for buffer in kept))
    return pointers, kept
