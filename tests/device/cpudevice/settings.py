"""How strict the device is. The settings come from the environment, so that a test run can be repeated with others."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

# The orders in which threads and blocks run, each as a number for the runtime: 0, 1, or the seed of a shuffle.
NAMED_ORDERS = {"forward": 0, "reverse": 1}
FLAVOURS = ("fast", "counted", "address", "thread")


def orders(text: str) -> tuple[int, ...]:
    """The orders with these names: "forward,reverse,7"."""
    found = tuple(NAMED_ORDERS[word] if word in NAMED_ORDERS else int(word) for word in text.split(","))
    if not found or any(order < 0 for order in found):
        raise ValueError(f"GPUANOM_DEVICE_ORDERS: {text!r}")
    return found


@dataclass
class Settings:
    """The settings of this process; tests change them in place and restore them."""

    orders: tuple[int, ...] = field(default_factory=lambda: orders(_read("ORDERS", "forward,reverse,7")))
    flavour: str = field(default_factory=lambda: _read("FLAVOUR", "fast"))
    devices: int = field(default_factory=lambda: int(_read("COUNT", "1")))
    memory: int = field(default_factory=lambda: int(_read("MEMORY", str(2 << 30))))
    kept: int = field(default_factory=lambda: int(_read("KEPT", "4")))
    """Launches of each kernel that a process keeps, where launches are kept (recording.py)."""
    cache: Path = field(default_factory=lambda: Path(_read("CACHE", str(_default_cache()))))

    def __post_init__(self):
        self.default_orders = self.orders
        if self.flavour not in FLAVOURS:
            raise ValueError(f"GPUANOM_DEVICE_FLAVOUR: {self.flavour!r} is none of {', '.join(FLAVOURS)}")


def _read(name: str, default: str) -> str:
    return os.environ.get(f"GPUANOM_DEVICE_{name}") or default


def _default_cache() -> Path:
    return Path(tempfile.gettempdir()) / f"gpuanom-device-{os.getuid()}"


settings = Settings()
