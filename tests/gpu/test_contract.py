"""The comment, C signature, launcher, CPU twin, protocol and test of each step agree with each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from gpuanom import encoded
from gpuanom.backends import limits, line_layout, pattern_layout
from gpuanom.backends.protocol import Backend
from gpuanom.errors import SettingsError
from gpuanom.records import Turn, Unfit
from gpuanom.settings import Settings
from tests import device
from tests.gpu import heads

ROOT = Path(__file__).parents[2]
KERNELS, PACKAGE, GPU, CPU, STEPS = (
    ROOT / "kernels",
    ROOT / "gpuanom",
    ROOT / "gpuanom" / "backends" / "gpu",
    ROOT / "gpuanom" / "backends" / "cpu",
    ROOT / "tests" / "steps",
)
FILES = sorted(path.stem for path in KERNELS.glob("*.cu"))

# A second method of the protocol in the file of the first one, and a file that is a part of the step `sources`.
SHARES_A_FILE = {"gradient_orientation": "orientation"}
PARTS = {"moments": "sources", "residual": "patterns", "spectrum": "patterns", "contrasts": "lines"}
# These files are no steps of the protocol, but parts of reading files: their CPU twins lie in these folders.
READING = {"rice": "fits/decoding", "checksum": "fits/opening"}
NOT_STEPS = {"working", "sharing", "lanes", "group_size", "too_many", "room", "to_device", "to_host"}
NOT_STEPS |= {"device_name", "share_memory", "limit_memory"}
NO_LAUNCHERS = {"__init__", "cuda", "devices", "gpudirect", "kernel", "loops", "memory", "pinned", "staging"}


def loader():
    """The GPU backend's module `kernel`, with the CuPy of this process: it is asked for sources and signatures only."""
    # The stand-in is removed at once, since the device "auto" must be the CPU in other tests.
    with device.installed():
        from gpuanom.backends.gpu import kernel
    return kernel


def text(file):
    return (KERNELS / f"{file}.cu").read_text()


def comments(file):
    """The text of all comment lines of a source."""
    return "\n".join(re.findall(r"//(.*)", text(file)))


def tree(folder, file):
    return ast.parse((folder / f"{file}.py").read_text())


def functions(folder, file):
    """The module-level functions of a file, by name."""
    return {node.name: node for node in tree(folder, file).body if isinstance(node, ast.FunctionDef)}


def arguments(function):
    return [a.arg for a in function.args.posonlyargs + function.args.args + function.args.kwonlyargs if a.arg != "self"]


def launched(file):
    """The (step, kernel) pairs that a launcher names."""
    for node in ast.walk(tree(GPU, file)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Kernel":
            yield tuple(argument.value for argument in node.args)


def protocol():
    """The methods of the protocol that are steps, by name, as syntax trees."""
    module = ast.parse((ROOT / "gpuanom" / "backends" / "protocol.py").read_text())
    backend = next(n for n in module.body if isinstance(n, ast.ClassDef) and n.name == "Backend")
    return {n.name: n for n in backend.body if isinstance(n, ast.FunctionDef) and n.name not in NOT_STEPS}


# The same word names a step everywhere


def test_every_step_has_its_files():
    steps = set(protocol()) - set(SHARES_A_FILE) | set(PARTS)
    assert steps | set(READING) == set(FILES)
    assert all((PACKAGE / folder / f"{file}.py").is_file() for file, folder in READING.items())
    assert set(FILES) == {path.stem for path in GPU.glob("*.py")} - NO_LAUNCHERS
    parts = {"__init__", "pixels", "polynomial", "isophote", "pattern_rows"}
    assert steps == {path.stem for path in CPU.glob("*.py")} - parts
    assert set(loader().steps()) == set(FILES)


@pytest.mark.parametrize("name", sorted(protocol()))
def test_protocol_twin_and_launcher_have_one_signature(name):
    file = SHARES_A_FILE.get(name, name)
    wanted = arguments(protocol()[name])
    for folder in (CPU, GPU):
        function = functions(folder, file)[name]
        # A launcher may have more parameters than the protocol, if these have defaults.
        taken = arguments(function)
        assert taken[: len(wanted)] == wanted
        assert len(taken) - len(wanted) <= len(function.args.defaults)
        assert f"`gpuanom.backends.protocol.Backend.{name}`" in ast.get_docstring(function)
    assert callable(getattr(Backend, name))


@pytest.mark.parametrize("name", sorted(protocol()))
def test_the_protocol_describes_every_step(name):
    """The docstring of each step has parameters, results, parity and source; every argument is named, with its type."""
    said = ast.get_docstring(protocol()[name])
    for heading in ("Parameters\n----------\n", "Returns\n-------\n", "Parity"):
        assert heading in said, heading
    assert "METHOD.md" in said.splitlines()[0]
    named = {word for line in re.findall(r"^(\w+(?:, \w+)*) : ", said, re.MULTILINE) for word in line.split(", ")}
    assert named == set(arguments(protocol()[name]))
    assert re.search(r"Parity[^.]*\b(exact|rounded, [\d])", said), "neither exact nor rounded to a tolerance"


# Comments


@pytest.mark.parametrize("file", FILES)
def test_comments_follow_the_template(file):
    assert heads.faults(text(file), loader().signatures(file)) == []


DAMAGE = [
    ("background", "// Formula    Of", "// Formula    " + 90 * "O" + " Of", "line 3 is wider than 99"),
    ("background", "(METHOD.md 1)", "(of the paper)", "the first sentence names no section of METHOD.md"),
    ("stamps", "// Edges      ", "// Borders    ", "the file has the headings Formula, Precision, Borders, Parity"),
    ("stamps", "// Precision  ", "//            ", "the file has the headings Formula, Edges"),
    ("divergence", "no FMA", "no surprise", "Precision says nothing of FMA"),
    ("divergence", "nothing for -ftz", "nothing else", "Precision says nothing of -ftz"),
    ("divergence", "Rounded, 1e-14:", "Rounded, perhaps,", "Parity is neither exact nor rounded to a tolerance"),
    ("prepare", "Exact.", "Fine.", "Parity is neither exact nor rounded to a tolerance"),
    ("prepare", "do nothing.", "do nothing", "Edges is no whole sentence"),
    ("prepare", "// Bytes  ", "// Octets ", "prepare_pixels: the kernel has the headings Arguments, Launch, Octets"),
    ("prepare", "grid (ceil(n_pixels / 256)), block (256)", "as many as pixels", "Launch does not begin with grid"),
    ("divergence", "// The divergence of each row of a table of histograms.\n", "", "no sentence says what the kernel"),
    ("divergence", "8 bins + 8 for", "some for", "Bytes gives no number"),
    ("divergence", "//   n            int64, number of histograms\n", "", "the rows of Arguments are not"),
    (
        "divergence",
        "//   n            int64, number of histograms\n",
        2 * "//   n            int64, number\n",
        "the rows of",
    ),
    ("divergence", "(n, bins) int64, number", "int64, number", "counts: an array, and no number, has a shape"),
    ("divergence", "bins         int32, number", "bins         (1,) int32, number", "bins: an array, and no number"),
    (
        "divergence",
        "(bins,) float64, shares",
        "(bins,) float32, shares",
        "reference: is said to be float32 and is float64",
    ),
    ("divergence", "out, (n,) float64", "(n,) float64", "result: out, in and out, or scratch is what the kernel may"),
    ("divergence", "float64, nats (natural logarithm)", "float64", "result: 'out, (n,) float64' is not [out,] (shape)"),
    ("stamps", "; null where nothing is masked", "", "bad: null is for what is OPTIONAL"),
    ("stamps", "long long* x,", "long long* y2,", "the rows of Arguments are not the arguments"),
    (
        "stamps",
        "nx, int size, float* stamps",
        "nx, float* stamps, int size",
        "the signature has not first what",
    ),
]


@pytest.mark.parametrize(("file", "old", "new", "fault"), DAMAGE)
def test_a_damaged_comment_is_noticed(file, old, new, fault, monkeypatch):
    """Each rule of the template is seen to fail."""
    damaged = text(file).replace(old, new, 1)
    assert damaged != text(file)
    kernel = loader()
    monkeypatch.setattr(kernel, "_text", lambda _name: damaged)
    found = heads.faults(damaged, kernel.signatures.__wrapped__(file))
    assert any(fault in said for said in found), found


def test_a_launch_wants_its_reason():
    damaged = re.sub(r"(block \(256\)\.)[^\n]*\n(?://  [^\n]*\n)*", r"\1\n", text("divergence"), count=1)
    found = heads.faults(damaged, loader().signatures("divergence"))
    assert found == ["divergence: Launch gives no reason for its geometry"]


@pytest.mark.parametrize("file", sorted(set(FILES) - set(READING) - set(PARTS)))
def test_parity_is_the_protocols(file):
    """The tolerances at the head of a kernel file are those that the protocol gives for its step."""
    tolerance = re.compile(r"\b1e-\d+|\b\d+ units")
    for name in protocol():
        if SHARES_A_FILE.get(name, name) == file:
            promised = ast.get_docstring(protocol()[name])
            assert "Parity" in promised, name
            assert set(tolerance.findall(heads.parity(text(file)))) <= set(tolerance.findall(promised)), name


@pytest.mark.parametrize("file", FILES)
def test_comments_name_files_that_are_there_and_are_named_by_them(file):
    said = comments(file)
    folder = READING.get(file, "backends/cpu")
    assert re.search(rf"\bTwin\s+gpuanom/{folder}/{file}\.py\b", said)
    test = re.search(r"\bTest\s+(tests/[\w/]+\.py)$", said, re.MULTILINE)
    assert test, "no test is named"
    assert (ROOT / test[1]).is_file(), test[1]
    assert f"kernels/{file}.cu" in ast.get_docstring(tree(GPU, file))


# C signatures and launchers


@pytest.mark.parametrize("file", FILES)
def test_every_kernel_is_launched_by_its_launcher(file):
    kernels = {(file, name) for name in loader().signatures(file)}
    assert set(launched(file)) == kernels
    # The name of a kernel begins with the name of its file.
    assert all(name == file or name.startswith(f"{file}_") for _, name in kernels)
    assert text(file).count("__global__") == len(kernels), "a kernel whose signature the loader does not find"


@pytest.mark.parametrize("file", FILES)
def test_every_kernel_states_its_threads(file):
    """Without __launch_bounds__ the compiler may use more registers than are available to the threads of a block."""
    assert len(re.findall(r"__launch_bounds__\(", text(file))) == len(loader().signatures(file))


@pytest.mark.parametrize("file", FILES)
def test_constants_of_launcher_and_kernel_agree(file):
    """Numbers that have the same name in Python and in CUDA are equal; most of them are block sizes."""
    shared = (KERNELS / "common.cuh").read_text()
    source = {}
    for declaration in re.findall(r"constexpr (?:int|long long) ([^;]+);", shared + text(file)):
        source.update({name: int(value) for name, value in re.findall(r"(\w+) = (\d+)\b", declaration)})
    for node in tree(GPU, file).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            name = node.targets[0].id
            if name in source:
                assert source[name] == node.value.value, name


@pytest.mark.parametrize("file", FILES)
def test_includes_what_all_share(file):
    assert re.search(r'^#include "common\.cuh"$', text(file), re.MULTILINE)


# Constants that exist in Python and in CUDA


@pytest.mark.parametrize("module", [limits, line_layout, pattern_layout], ids=lambda module: module.__name__)
def test_numbers_of_both_backends_are_those_of_the_kernels(module):
    """What the two backends share is written twice, and has the same name in Python and in CUDA."""
    source = "".join(path.read_text() for path in sorted(KERNELS.glob("*.cu*")))
    of_kernels = {}
    for declaration in re.findall(r"constexpr (?:int|long long|double) ([^;]+);", source):
        for name, value in re.findall(r"(\w+) = (-?[\d.]+)(?=,|$)", declaration):
            of_kernels.setdefault(name, set()).add(float(value))
    shared = {name: value for name, value in vars(module).items() if name.isupper() and name in of_kernels}
    assert len(shared) >= 2
    assert {name: {float(value)} for name, value in shared.items()} == {name: of_kernels[name] for name in shared}
    # The constants of lines and profiles begin with their step: none of these may be the kernels' alone.
    begins = {name for name in of_kernels if name.startswith(("LINE_", "PROFILE_"))}
    assert begins <= vars(line_layout).keys() | vars(pattern_layout).keys()


def test_bad_pixel_bits_are_the_records():
    source = (KERNELS / "common.cuh").read_text()
    for bit in Unfit:
        assert re.search(rf"\bUNFIT_{bit.name} = {bit.value}\b", source)


def test_turns_are_the_records():
    for turn in (Turn.QUARTER, Turn.MIRRORED):
        assert re.search(rf"\b{turn.name} = {turn.value}\b", text("histogram"))
    assert Turn.MIRRORED_QUARTER == Turn.MIRRORED | Turn.QUARTER


def test_the_table_of_random_numbers_has_one_size():
    assert f"RANDOM = {encoded.N_RANDOM}" in text("rice")


def test_the_settings_keep_within_what_kernels_can_count():
    most = 1 << int(re.search(r"MOST = 1LL << (\d+);", text("histogram"))[1])
    unit = int(re.search(r"UNIT = (\d+)\.0;", text("histogram"))[1])
    assert unit * most <= 2**63
    with pytest.raises(SettingsError):
        Settings(gradient_points=most + 1)


def test_the_largest_filter_fits_shared_memory():
    largest = Settings(smooth_size=64, gradient_reach=32)
    half = largest.patch_size // 2
    with device.installed():
        from gpuanom.backends.gpu import gradients
    assert half == 64
    assert gradients._shared(half, gradients.REST_WARPS) <= loader().MAX_SHARED
