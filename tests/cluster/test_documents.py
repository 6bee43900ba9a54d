"""The scripts of docs/cluster.md are run, with imitations of Slurm's variables and commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gpuanom
from tests import nights
from tests.cluster.farm import ROOT

PAGE = (ROOT / "docs" / "cluster.md").read_text()
SCRIPTS = dict(re.findall(r"<!-- script: (\S+) -->\n```(?:sh|python)\n(.*?)```", PAGE, flags=re.DOTALL))

# Slurm's part: tasks that share a machine run one after the other, and jobs start at once.
SRUN = """#!/bin/bash
for ((i = 0; i < ${SLURM_NTASKS:-1}; i++)); do SLURM_PROCID=$i "$@"; done
"""
SBATCH = """#!/bin/bash
cp "${@: -1}" job.sh # as Slurm does: who submits may remove it
setsid bash job.sh > sbatch.log 2>&1 &
echo "Submitted batch job $!"
echo $! >> jobs
"""
SCANCEL = """#!/bin/bash
kill -- "-$1"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder of commands that are found before the real commands, with imitations of Slurm's."""
    commands = tmp_path / "bin"
    commands.mkdir()
    python = f'#!/bin/bash\nexec "{sys.executable}" -m {{}} "$@"\n'
    texts = {"gpuanom": python.format("gpuanom"), "dask": python.format("dask")}
    for name, text in {**texts, "srun": SRUN, "sbatch": SBATCH, "scancel": SCANCEL}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole(night, tmp_path_factory):
    """The tables of the night by default settings, in one process."""
    out = tmp_path_factory.mktemp("whole")
    gpuanom.score(night, out, device="cpu")
    return nights.tables(out)


def run(name, night, replaced=(), **variables):
    text = SCRIPTS[name]
    for text_of_page, replacement in (("/data/2026-11-23", str(night)), *replaced):
        assert text_of_page in text, f"{name} has no {text_of_page}"
        text = text.replace(text_of_page, replacement)
    # The cache of the tests is warm; only the presence of the export line is tested here.
    text, exports = re.subn(r"^export NUMBA_CACHE_DIR=\$cache/numba CUPY_CACHE_DIR=\$cache/cupy$", "", text, flags=re.M)
    text, prologues = re.subn(r"^ *job_script_prologue=.*$", "", text, flags=re.M)
    assert exports + prologues == 1
    Path(name).write_text(text)
    interpreter = [sys.executable, "-W", "ignore"] if name.endswith(".py") else ["bash"]
    # An absolute time limit, so that no mistake in a script can keep the tests from ending.
    done = subprocess.run(
        [*interpreter, name],
        env={**os.environ, **{f"SLURM_{k}": str(v) for k, v in variables.items()}},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_every_script_is_bash_and_every_directive_is_slurms():
    assert set(SCRIPTS) == {"array.sh", "merge.sh", "gpu.sh", "gpu-shards.sh", "dask.sh", "jobqueue.py"}
    for name, text in SCRIPTS.items():
        if name.endswith(".sh"):
            assert text.startswith("#!/bin/bash\n")
            assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0
        else:
            compile(text, name, "exec")
    for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL):
        assert subprocess.run(["bash", "-n"], input=block, text=True).returncode == 0


def test_every_option_of_the_page_exists():
    from gpuanom.cli import cli

    known = {option for command in cli.commands.values() for p in command.params for option in p.opts}
    page = re.sub(r"\|\| \[ .* \]", "", PAGE)  # a test of an exit code has options, which are not gpuanom's
    for line in re.findall(r"^ *gpuanom .*(?:\\\n.*)*", page, flags=re.MULTILINE):
        for option in re.findall(r"(?<!\S)(--?[a-z][a-z-]*)", line):
            assert option in known, line


def test_array_and_merge(night, slurm, whole):
    for k in (1, 2):
        run("array.sh", night, [("N=16", "N=2")], ARRAY_TASK_ID=k, CPUS_PER_TASK=1)
    (Path("merge.sh")).write_text(SCRIPTS["merge.sh"])
    for _ in range(2):
        subprocess.run(["bash", "merge.sh"], check=True, capture_output=True)
    assert nights.tables(Path("scored")) == whole


@pytest.mark.proof
def test_shards_on_a_gpu_node(night, slurm, whole):
    run("gpu-shards.sh", night, [("--device 0", "--device cpu")], NTASKS=2, CPUS_PER_TASK=1)
    assert nights.tables(Path("scored")) == whole


def test_dask_in_a_batch_job(night, slurm, whole):
    run("dask.sh", night, JOB_ID=17, CPUS_PER_TASK=1)
    assert nights.tables(Path("scored")) == whole
    assert not Path("scheduler-17.json").exists()


def test_dask_jobqueue(night, slurm, whole):
    pytest.importorskip("dask_jobqueue")
    smaller = [("cores=8", "cores=1"), ("processes=8", "processes=1"), ("16GiB", "1GiB"), ("jobs=16", "jobs=1")]
    done = run("jobqueue.py", night, smaller)
    assert done.stdout.splitlines()[-1] == "7 exposures; 0 failed"
    assert nights.tables(Path("scored")) == whole
