"""Compiles a .cu file for the CPU with g++; a compiled file is found again by the hash of all that went into it."""

from __future__ import annotations

import fcntl
import hashlib
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .errors import CompileException
from .settings import settings

HERE = Path(__file__).parent

COMMON = [
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",  # the kernels of the package are compiled with --fmad=false
    "-fno-strict-aliasing",  # kernels read memory as other types, which CUDA permits
    "-fno-stack-protector",
    "-U_FORTIFY_SOURCE",
    "-ftrivial-auto-var-init=pattern",  # a local variable that was never set must not be zero by luck
    "-w",
]
KERNEL_FLAGS = {
    "fast": ["-O2"],
    # Only the calls that -fsanitize=thread inserts are needed, and runtime/counting.h answers these calls. Without
    # vectorisation there is one call for each load of the kernel.
    "counted": ["-O2", "-fno-tree-vectorize", "-fsanitize=thread", "-DDEVICE_COUNTED"],
    "address": [
        "-O1",
        "-g",
        "-fno-omit-frame-pointer",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=undefined",
        "-fsanitize-sections=device_shared",  # red zones around __shared__ variables
    ],
    "thread": ["-O1", "-g", "-fsanitize=thread"],
}
RUNTIME_FLAGS = {
    "fast": ["-O2"],
    "counted": ["-O2", "-DDEVICE_COUNTED"],
    "address": ["-O1", "-g", "-DDEVICE_ADDRESS"],
    "thread": ["-O1", "-g", "-DDEVICE_THREAD"],
}
# The counted flavour must not be linked to ThreadSanitizer.
LINK_FLAGS = {"fast": [], "counted": [], "address": ["-fsanitize=address,undefined"], "thread": ["-fsanitize=thread"]}

# Options of NVRTC that change nothing here, and options that g++ understands. Other options might change results, and
# are refused.
IGNORED_OPTIONS = re.compile(
    r"--?std=c\+\+(14|17)|--?fmad=false|--?generate-line-info|-lineinfo|-w|--?ftz=(true|false)|--?prec-(div|sqrt)=true"
    r"|--ptxas-options=.*|-Xptxas=.*|--?device-as-default-execution-space|-default-device|--?restrict"
)
PASSED_OPTIONS = re.compile(r"-D\w+(=.*)?|-U\w+")

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
NAME = re.compile(r"([A-Za-z_]\w*)\s*\(")
DYNAMIC = re.compile(r"\bextern\s+__shared__\s+((?:__align__\s*\(\s*\d+\s*\)\s*)?)([\w\s:]+?)\s+(\w+)\s*\[\s*\]\s*;")


@dataclass(frozen=True)
class Declaration:
    """A kernel as it is declared in its source."""

    name: str
    bound: str  # the text in __launch_bounds__( ), or an empty text
    parameters: tuple[str, ...]
    is_extern: bool


def declarations(source: str) -> list[Declaration]:
    """The __global__ functions of a source."""
    text = COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)
    found = []
    for match in re.finditer(r"\b__global__\b", text):
        before = text[max(text.rfind(mark, 0, match.start()) for mark in ";}{#") + 1 : match.start()]
        position, bound = match.end(), ""
        while True:
            word = NAME.search(text, position)
            if word is None:
                raise ValueError("a __global__ without a name")
            inside, position = _parenthesised(text, word.end() - 1)
            if word[1] != "__launch_bounds__":
                break
            bound = inside
        parameters = tuple(part.strip() for part in inside.split(",")) if inside.strip() not in ("", "void") else ()
        found.append(Declaration(word[1], bound, parameters, 'extern "C"' in before))
    return found


def _parenthesised(text: str, start: int) -> tuple[str, int]:
    depth = 0
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return text[start + 1 : position], position + 1
    raise ValueError("a parenthesis that is never closed")


def translation_unit(source: str, name: str) -> str:
    """The source with the exports of its kernels; the lines of the source keep their numbers.

    An unnamed namespace gives everything internal linkage. Without this linkage static variables of a template, such as
    `__shared__` variables, could not be placed in a section of their own.
    """
    body = DYNAMIC.sub(r"\1\2* const \3 = reinterpret_cast<\2*>(device::dynamic_shared());", source)
    exports = [f"DEVICE_EXPORT({d.name}, {d.bound})" for d in declarations(source) if d.is_extern]
    return f'namespace {{\n#line 1 "{name}"\n{body}\n}}\n#line 1 "exports"\n' + "\n".join(exports) + "\n"


def check_options(options: tuple[str, ...]) -> list[str]:
    """The options that are passed on to g++."""
    passed = [option for option in options if PASSED_OPTIONS.fullmatch(option)]
    for option in options:
        if option not in passed and not IGNORED_OPTIONS.fullmatch(option):
            raise ValueError(f"option {option!r} is not known to the test device")
    return passed


def library(source: str, name: str, options: tuple[str, ...], flavour: str) -> Path:
    """The compiled shared library of a source."""
    flags = [*COMMON, *KERNEL_FLAGS[flavour], *check_options(options)]
    unit = translation_unit(source, name)
    runtime = _runtime(flavour)

    def build(target: Path) -> None:
        code = target.with_suffix(".cpp")
        code.write_text(unit)
        made = target.with_suffix(".o")
        _run(
            ["g++", *flags, "-include", str(HERE / "include/device.h"), "-c", str(code), "-o", str(made)], source, name
        )
        _run(["g++", "-shared", *LINK_FLAGS[flavour], str(made), str(runtime), "-o", str(target)], source, name)
        made.unlink()
        code.unlink()

    return _cached(f"{Path(name).stem}-{flavour}", [unit, *flags, runtime.name], ".so", build)


@cache
def _runtime(flavour: str) -> Path:
    flags = [*COMMON, *RUNTIME_FLAGS[flavour]]
    files = sorted([*HERE.glob("include/*.h"), *HERE.glob("runtime/*")])

    def build(target: Path) -> None:
        _run(["g++", *flags, "-c", str(HERE / "runtime/runtime.cpp"), "-o", str(target)], "", "runtime.cpp")

    return _cached(f"runtime-{flavour}", [*(file.read_text() for file in files), *flags], ".o", build)


@cache
def _compiler() -> str:
    """The version of the compiler, since another version may generate other code."""
    try:
        return subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise RuntimeError("the test device needs g++: apt-get install g++") from None


def _cached(stem: str, ingredients: list[str], suffix: str, build) -> Path:
    key = hashlib.sha256("\0".join([_compiler(), *ingredients]).encode()).hexdigest()[:20]
    settings.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = settings.cache / f"{stem}-{key}{suffix}"
    if target.exists():
        return target
    # Several test processes may need the same file at once: one process compiles, and the others wait and then find the
    # file.
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            unfinished = target.with_name(f"unfinished-{target.name}")
            build(unfinished)
            unfinished.rename(target)
    return target


def _run(command: list[str], source: str, name: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        # NVRTC writes messages in this form: file(line): error: ...
        message = re.sub(r"^([^\s:]+):(\d+):\d+: ", r"\1(\2): ", done.stderr, flags=re.MULTILINE)
        raise CompileException(message, source, name, tuple(command))
