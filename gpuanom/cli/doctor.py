"""`gpuanom doctor`: what is installed, whether a GPU can be used, and whether it computes what the CPU does."""

from __future__ import annotations

import json
import math
import platform
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpuanom import compiling, installing, nvidia
from gpuanom.backends.choice import select, why_no_cupy
from gpuanom.cli.summary import summary_console
from gpuanom.doctor import selftest
from gpuanom.doctor.findings import CUPY, DRIVER, DeviceFinding, Finding, State
from gpuanom.doctor.loading import why_not_loaded
from gpuanom.errors import DeviceError, printable
from gpuanom.version import __version__

REQUIRED = ("numpy", "scipy", "astropy", "numba", "platformdirs", "click", "rich")
"""The packages that gpuanom needs; used where it runs from a checkout and is not installed."""
EXTRAS = {
    "simulate": ("galsim", "draws simulated nights"),
    "parquet": ("pyarrow", "writes Parquet tables"),
    "direct": ("kvikio", "reads files straight to a GPU"),
    "plots": ("matplotlib", "draws figures"),
    "report": ("pillow", "makes the pictures of reports"),
    "autoencoder": ("torch", "trains autoencoders and scores with them"),
    "cluster": ("distributed", "measures in many processes and on many nodes"),
    "cluster-cuda": ("dask-cuda", "gives each GPU of a machine a worker"),
    "nvtx": ("nvtx", "names what a profile of a GPU shows"),
}
"""Optional parts: the package of each, and its use. CuPy is examined more closely, see `gpuanom.doctor.diagnosis`."""
FOR_GPUS = ("direct", "cluster-cuda", "nvtx")
"""The optional parts that only a GPU needs: without an NVIDIA driver they are not listed as absent."""

EPILOG = """\b
Examples:
  gpuanom doctor                 list what is installed, and test every GPU
  gpuanom doctor --device 0      test GPU 0 alone; exit code 1 if it cannot be used
  gpuanom doctor --json          the same for a program

\b
A tick marks a part that works, a dash one that is not installed, and a cross one that is installed and does not work.
The self-test runs each step of the method on the GPU and on the CPU, and prints the largest difference: "allowed" is
the difference that the definition of the step permits, where "none" means equal values and "ulp" units in the last
place. The local memory of a kernel holds arrays, and registers that did not fit.

\b
Exit codes: 0 all installed parts work, and the GPUs that were asked for can be used; 1 not so; 2 wrong usage.
"""


@dataclass(frozen=True)
class Report:
    """All findings: versions, optional parts, the software that a GPU needs, and each GPU."""

    gpuanom: str
    python: str
    system: str
    packages: dict[str, str]
    extras: tuple[Finding, ...]
    software: tuple[Finding, ...]
    devices: tuple[DeviceFinding, ...]


def _numbers(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """The numbers of the GPUs to test; None for all GPUs."""
    if value is None or value == "auto":
        return None
    if value == "cpu":
        return ()
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise click.BadParameter(f"'{value}' is no GPU's number such as 0, nor several such as 0,1")
    return tuple(dict.fromkeys(int(part) for part in parts))


@click.command(epilog=EPILOG)
@click.option(
    "--device",
    "numbers",
    default=None,
    callback=_numbers,
    metavar="NUMBERS",
    help="Numbers of the GPUs to test, with commas between, or cpu for none (default: all GPUs).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(numbers: tuple[int, ...] | None, as_json: bool) -> int:
    """Tell whether a GPU can be used, and what is missing if not.

    Lists the installed parts, and loads each; looks for the NVIDIA driver, CuPy, the compiler NVRTC and the cache of
    compiled kernels; compiles every kernel for each GPU, and compares every step of the method on the GPU with the
    CPU. Works without a GPU, too, and needs no data.
    """
    console = Console(stderr=True)
    waiting: AbstractContextManager[Any] = nullcontext()
    if console.is_terminal:
        waiting = console.status("loading the optional parts, and testing each GPU")
    compiling.listen(None)  # no lines about compiling: the status line above says it already
    with waiting:
        report = examine(numbers)
    verdict, code = judge(report, numbers)
    if as_json:
        click.echo(json.dumps(_plain(report, verdict, code), indent=2, allow_nan=False))
    else:
        show(report, verdict, summary_console())
    return code


def examine(numbers: tuple[int, ...] | None) -> Report:
    """Look for all parts, and test GPUs.

    Parameters
    ----------
    numbers : tuple of int or None
        Numbers of the GPUs to test; None for all of them.

    Returns
    -------
    Report
    """
    software, devices = ((), ()) if numbers == () else _gpus(numbers)
    return Report(
        gpuanom=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        packages={name: _version(name) or "missing" for name in _required()},
        extras=_extras(),
        software=software,
        devices=devices,
    )


def judge(report: Report, numbers: tuple[int, ...] | None) -> tuple[str, int]:
    """Sum up a report.

    Parameters
    ----------
    report : Report
    numbers : tuple of int or None
        Numbers of the GPUs that were asked for; None for all of them.

    Returns
    -------
    verdict : str
        One line for the user.
    code : int
        The exit code: 1 when a GPU that was asked for, or any installed part, does not work.
    """
    working = [device.number for device in report.devices if device.works]
    missing = [str(number) for number in numbers or () if number not in working]
    # Without a GPU, nobody needs the compiler to work.
    gpu_expected = bool(report.devices) or any(
        f.state == "broken" and f.name in (CUPY, DRIVER) for f in report.software
    )
    broken = any(f.state == "broken" for f in report.software)
    broken = broken or any(not d.works and d.state != "absent" for d in report.devices)
    if missing:
        return f"GPU {', '.join(missing)} cannot be used: see above", 1
    if gpu_expected and broken:
        return "an installed part does not work: see above (--device cpu works without it)", 1
    if any(f.state == "broken" for f in report.extras):
        return "an optional part does not work: see above (what does not need the part works)", 1
    if working:
        names = ",".join(str(number) for number in working)
        return f"all is well: gpuanom score --device {names} runs on {'GPUs' if len(working) > 1 else 'GPU'} {names}", 0
    return "all is well on the CPU; no GPU will be used", 0


def _plain(report: Report, verdict: str, code: int) -> dict[str, Any]:
    """A report as plain values for JSON, with verdicts; an infinite difference becomes null."""
    plain = {**asdict(report), "verdict": verdict, "exit_code": code}
    for device, about in zip(report.devices, plain["devices"], strict=True):
        about["works"] = device.works
        for step, values in zip(device.steps, about["steps"], strict=True):
            values["passed"] = step.passed
            values["difference"] = step.difference if math.isfinite(step.difference) else None
    return plain


def _gpus(numbers: tuple[int, ...] | None) -> tuple[tuple[Finding, ...], tuple[DeviceFinding, ...]]:
    try:
        from gpuanom.backends.gpu import devices
        from gpuanom.doctor import diagnosis
    except Exception as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == "cupy"
        # Without a driver the driver is what is missing, and the line says so.
        driver = nvidia.driver_cuda() or nvidia.driver_version()
        problem, _, remedy = why_no_cupy(error).rpartition(" (")
        state: State = "absent" if absent else "broken"
        return (Finding(CUPY if driver or not absent else DRIVER, state, problem, remedy.removesuffix(")")),), ()
    software = tuple(diagnosis.software())
    try:
        n = devices.count()
    except DeviceError:  # the finding about the driver says why
        return software, ()
    asked = range(n) if numbers is None else numbers
    return software, tuple(_device(number, n) for number in asked)


def _device(number: int, n: int) -> DeviceFinding:
    """The finding about a GPU, with its kernels and its self-test."""
    from gpuanom.doctor import diagnosis

    if number >= n:
        return DeviceFinding(number, state="broken", problem=f"no such GPU, of {n} counted from 0")
    found = diagnosis.device(number)
    if found.problem:
        return found
    try:
        steps = selftest.check(select(str(number)), select("cpu"))
        return replace(found, kernels=diagnosis.kernels(number), steps=steps)
    except Exception as error:  # whatever fails here is a finding, too
        return replace(found, state="broken", problem=f"{type(error).__name__}: {printable(str(error))}")


def _required() -> tuple[str, ...]:
    """The names of the packages that gpuanom needs."""
    try:
        wanted = metadata.requires("gpuanom") or []
    except metadata.PackageNotFoundError:
        return REQUIRED
    return tuple(re.split(r"[^\w.-]", name, maxsplit=1)[0] for name in wanted if "extra" not in name.partition(";")[2])


def _version(package: str) -> str:
    """The installed version of a package; empty if there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _extras() -> tuple[Finding, ...]:
    """The optional parts; those for GPUs only where there is a driver, or where they are installed."""
    cuda = nvidia.driver_cuda()
    names = [name for name in EXTRAS if cuda or name not in FOR_GPUS or _version(EXTRAS[name][0])]
    with ThreadPoolExecutor() as threads:  # each waits for a process that loads its part
        return tuple(threads.map(lambda name: _extra(name, cuda), names))


def _extra(name: str, cuda: int) -> Finding:
    package, use = EXTRAS[name]
    version = _version(package)
    extra = extra_of(name, cuda)
    if version:
        if problem := why_not_loaded(package):
            remedy = installing.reinstall(package)
            return Finding(extra, "broken", f"{package} {version} cannot be loaded: {problem}", remedy)
        return Finding(extra, "ok", f"{package} {version} {use}")
    if name == "autoencoder":
        remedy = installing.install_torch()
    else:
        remedy = installing.package(package) if package == name else installing.install(extra)
    return Finding(extra, "absent", f"no {package}, which {use}", remedy)


def extra_of(name: str, cuda: int) -> str:
    """The name of the extra that installs a part, such as direct13.

    Parameters
    ----------
    name : str
        Name of the part, a key of `EXTRAS`.
    cuda : int
        CUDA version of the driver; parts for GPUs have an extra for each.

    Returns
    -------
    str
    """
    number = nvidia.extra(cuda).removeprefix("cuda")
    return f"{name}{number}" if name in ("direct", "cluster-cuda") else name


# On the screen

_SIGNS: dict[State, tuple[str, str]] = {"ok": ("✓", "ok"), "absent": ("-", "-"), "broken": ("✗", "FAILS")}


def show(report: Report, verdict: str, console: Console) -> None:
    """Print a report.

    Parameters
    ----------
    report : Report
    verdict : str
        The last line.
    console : Console
    """
    console.print(Text(f"gpuanom {report.gpuanom}, Python {report.python}, {report.system}"))
    console.print(Text(", ".join(f"{name} {version}" for name, version in report.packages.items())))
    _show_findings("optional parts", report.extras, console)
    if report.software:
        _show_findings("for a GPU", report.software, console)
    if report.devices:
        _show_devices(report.devices, console)
    for device in report.devices:
        if device.kernels:
            _show_kernels(device, console)
        if device.steps:
            _show_steps(device, console)
    console.print()
    console.print(Text(verdict))


def _sign(state: State, console: Console) -> Text:
    plain = not (console.encoding or "").lower().startswith("utf")
    return Text(_SIGNS[state][plain], style={"ok": "green", "broken": "bold red"}.get(state, ""))


def _table(title: str, console: Console, *columns: str, numbers: tuple[str, ...] = ()) -> Table:
    console.print()
    console.print(Text(title, style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns))
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return table


def _show_findings(title: str, findings: tuple[Finding, ...], console: Console) -> None:
    table = _table(title, console, "", "")
    for finding in findings:
        text = f"{finding.text} ({finding.remedy})" if finding.remedy else finding.text
        table.add_row(_sign(finding.state, console), finding.name, Text(text))
    console.print(table)


def _show_devices(devices: tuple[DeviceFinding, ...], console: Console) -> None:
    table = _table(
        "GPUs", console, "number", "name", "compute", "memory", "free", "", numbers=("number", "memory", "free")
    )
    for device in devices:
        memory = [f"{size / 2**30:.1f} GiB" if size else "-" for size in (device.memory, device.free)]
        state: State = device.state if device.works or device.state != "ok" else "broken"
        usable = device.problem or ("usable" if device.works else "fails its tests")
        about = (str(device.number), Text(device.name), device.capability)
        table.add_row(_sign(state, console), *about, *memory, Text(usable))
    console.print(table)


def _show_kernels(device: DeviceFinding, console: Console) -> None:
    numbers = ("registers", "shared", "local", "threads")
    table = _table(
        f"kernels on GPU {device.number} (memory in bytes)",
        console,
        "kernel",
        "file",
        *numbers,
        "",
        numbers=numbers,
    )
    for kernel in device.kernels:
        values = [str(n) for n in (kernel.registers, kernel.shared, kernel.local, kernel.threads)]
        sign = _sign("broken" if kernel.error else "ok", console)
        table.add_row(sign, kernel.name, kernel.file, *([""] * 4 if kernel.error else values), Text(kernel.error))
    console.print(table)


def _show_steps(device: DeviceFinding, console: Console) -> None:
    numbers = ("difference", "allowed")
    title = f"self-test of GPU {device.number}: the largest difference from the CPU"
    table = _table(title, console, "step", "", *numbers, "", numbers=numbers)
    for step in device.steps:
        sign = _sign("ok" if step.passed else "broken", console)
        if step.error:
            table.add_row(sign, step.step, "", "", "", Text(step.error))
            continue
        allowed = f"{step.allowed:.3g}" if step.allowed else "none"
        table.add_row(sign, step.step, step.what, f"{step.difference:.2g}", allowed, step.unit)
    console.print(table)
