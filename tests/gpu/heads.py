"""The template for the comments of a CUDA source: `faults` reads a source and lists its departures from the template.

A file begins with a sentence that says what the file computes and names a section of METHOD.md, followed by the
headings in FILE. In front of each kernel stand a sentence, the table `Arguments` and the headings in KERNEL. A row of
the table has the form

    name    [out, | in and out, | scratch, ] [(shape)] type, unit or meaning

in the order of the signature, which is: arrays that are read, numbers, arrays that are written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

WIDTH = 99
FILE = ("Formula", "Precision", "Edges", "Parity", "Twin", "Test")
KERNEL = ("Arguments", "Launch", "Bytes")

_HEADING = re.compile(r"^([A-Z]\w+)(?: {2,}(.*))?$")
_ROW = re.compile(r"^ {2}(\w+)(?: {2,}(.*))?$")
_ENTRY = re.compile(
    r"^(?P<written>out, |in and out, |scratch, )?(?P<shape>\([^()]*(?:\([^()]*\)[^()]*)*\) )?"
    r"(?P<type>bool|float\d+|u?int\d+), (?P<unit>\S.*)$"
)
_KERNEL = re.compile(r'((?://[^\n]*\n)*)extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(')


@dataclass(frozen=True)
class Section:
    """A heading with its text, joined to one line, and the lines of the text."""

    name: str
    text: str
    lines: tuple[str, ...]


def sections(comment: str) -> tuple[str, list[Section]]:
    """The sentence at the beginning of a comment, and the sections; the lines without their slashes."""
    lines = [re.sub(r"^// ?", "", line) for line in comment.strip().splitlines()]
    before: list[str] = []
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        heading = _HEADING.match(line)
        # A heading stands alone, or two blanks separate it from its text; any other line belongs to a sentence.
        if heading and (heading[2] or line in KERNEL):
            found.append((heading[1], [heading[2] or ""]))
        elif found:
            found[-1][1].append(line)
        else:
            before.append(line)
    return " ".join(before).strip(), [
        Section(name, " ".join(" ".join(text).split()), tuple(text)) for name, text in found
    ]


def head(text: str) -> str:
    """The comment at the beginning of a file."""
    return re.match(r"(?://[^\n]*\n)*", text)[0]


def kernels(text: str) -> dict[str, str]:
    """The comment in front of each kernel."""
    return {match[2]: match[1] for match in _KERNEL.finditer(text)}


def parity(text: str) -> str:
    """The text under the heading Parity of a file."""
    return next((s.text for s in sections(head(text))[1] if s.name == "Parity"), "")


def faults(text, signatures):
    """The departures from the template, one sentence for each; an empty list when there are none.

    Parameters
    ----------
    text : str
        A .cu file.
    signatures : dict of str to tuple of Argument
        Its kernels, as `gpuanom.backends.gpu.kernel.signatures` gives them.
    """
    found = [f"line {n} is wider than {WIDTH}" for n, line in enumerate(text.splitlines(), 1) if len(line) > WIDTH]
    sentence, said = sections(head(text))
    if not re.search(r"\(.*METHOD\.md \d.*\)", sentence):
        found.append("the first sentence names no section of METHOD.md")
    found += _headings("the file", FILE, said)
    texts = {section.name: section.text for section in said}
    for word in ("FMA", "-ftz"):
        if word not in texts.get("Precision", ""):
            found.append(f"Precision says nothing of {word}")
    if not re.search(r"\b[Ee]xact\b|\b[Rr]ounded, .*\d.*(?:since|because|:)", texts.get("Parity", "")):
        found.append("Parity is neither exact nor rounded to a tolerance with its reason")
    for name in ("Formula", "Precision", "Edges", "Parity"):
        if not texts.get(name, ".").endswith("."):
            found.append(f"{name} is no whole sentence")
    comments = kernels(text)
    for name, signature in signatures.items():
        found += [f"{name}: {fault}" for fault in _kernel(comments.get(name, ""), signature)]
    return found


def _headings(owner: str, wanted: tuple[str, ...], said: list[Section]) -> list[str]:
    names = tuple(section.name for section in said)
    if names != wanted:
        return [f"{owner} has the headings {', '.join(names) or 'none'}, not {', '.join(wanted)}"]
    return [f"{section.name} says nothing" for section in said if not section.text]


def _kernel(comment, signature):
    sentence, said = sections(comment)
    found = [] if sentence.endswith(".") else ["no sentence says what the kernel does"]
    found += _headings("the kernel", KERNEL, said)
    texts = {section.name: section for section in said}
    geometry = re.match(r"grid \(.+?\), block \([\w, ]+\)(.*)", texts["Launch"].text) if "Launch" in texts else None
    if geometry is None:
        found.append("Launch does not begin with grid (...), block (...)")
    elif len(geometry[1].split()) < 8:
        found.append("Launch gives no reason for its geometry")
    if not re.search(r"\d", texts["Bytes"].text if "Bytes" in texts else ""):
        found.append("Bytes gives no number")
    rows = _rows(texts["Arguments"]) if "Arguments" in texts else []
    if [name for name, _ in rows] != [argument.name for argument in signature]:
        found.append("the rows of Arguments are not the arguments of the signature, in its order, each once")
    entries = dict(rows)
    for argument in signature:
        if argument.name in entries:
            found += [f"{argument.name}: {fault}" for fault in _argument(entries[argument.name], argument)]
    order = [0 if a.array and not a.output else 2 if a.array else 1 for a in signature]
    if order != sorted(order):
        found.append("the signature has not first what is read, then numbers, then what is written")
    return found


def _rows(section: Section) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in section.lines:
        row = _ROW.match(line)
        if row:
            found.append((row[1], row[2] or ""))
        elif not line.strip():
            # The line after the table is a sentence about the table.
            if found:
                break
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return found


def _argument(entry, argument):
    parts = _ENTRY.match(entry)
    if parts is None:
        return [f"'{entry}' is not [out,] (shape) type, unit"]
    found = []
    if bool(parts["shape"]) != argument.array:
        found.append("an array, and no number, has a shape")
    if parts["type"] != np.dtype(argument.type).name:
        found.append(f"is said to be {parts['type']} and is {np.dtype(argument.type).name}")
    if bool(parts["written"]) != argument.output:
        found.append("out, in and out, or scratch is what the kernel may write, and nothing else")
    if ("null" in parts["unit"]) != argument.optional:
        found.append("null is for what is OPTIONAL, and for nothing else")
    return found
