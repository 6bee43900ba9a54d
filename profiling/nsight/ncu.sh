#!/usr/bin/env bash
# One kernel, or all of them, by Nsight Compute: what bounds it, and which lines of the source wait for what.
#
#     profiling/nsight/ncu.sh [KERNEL] [CCDS] [DEVICE]
#
# KERNEL is a name from kernels/*.cu such as moments_check, or a pattern; without one, all of ours. CCDS is the number of
# CCDs of the exposure, by default 8: Nsight Compute repeats each launch some 40 times, with the card's memory saved and
# restored. DEVICE is a GPU's number, by default 0. Reports are written to profiling/nsight/out/; open the .ncu-rep file
# in Nsight Compute.
# Needs ncu (CUDA toolkit, or developer.nvidia.com/nsight-compute) and the right to read the card's counters: the error
# ERR_NVGPUCTRPERM says that the administrator has to allow it (developer.nvidia.com/ERR_NVGPUCTRPERM).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$here/out
ccds=${2:-8}
device=${3:-0}

if ! command -v ncu > /dev/null; then
    echo "ncu.sh: ncu is not installed (developer.nvidia.com/nsight-compute)" >&2
    exit 2
fi
mkdir -p "$out"

# Compiled beforehand; and how fast kernels are is of interest only if they are right.
gpuanom doctor --device "$device" > "$out/doctor.txt"

# CuPy has kernels too, for fills and copies: left out.
ours=$(python -c '
from gpuanom.backends.gpu import kernel
print("|".join(name for step in kernel.steps() for name in kernel.signatures(step)))')
kernel=${1:-^($ours)\$}

options=(
    --kernel-name "regex:$kernel"
    --profile-from-start off    # only the one exposure that bench_kernels.py --once puts between start and stop
    --set full                  # all sections: speed of light, memory chart, occupancy, warp states, source counters
    --import-source yes         # keeps the sources with the report; kernels are compiled with -lineinfo
    --force-overwrite
    --export "$out/kernels"
)
ncu "${options[@]}" python "$here/../bench_kernels.py" --device "$device" --ccds "$ccds" --once

ncu --import "$out/kernels.ncu-rep" --page details --print-summary per-kernel > "$out/kernels.txt"
echo "$out/kernels.ncu-rep $out/kernels.txt"
