#!/usr/bin/env bash
# A time line of gpuanom on a GPU, by Nsight Systems: reading, uploads, kernels and copies home, and how they overlap.
#
#     profiling/nsight/nsys.sh [FOLDER] [DEVICE]
#
# FOLDER holds FITS files; without one a night of 8 exposures is simulated. DEVICE is a GPU's number, by default 0.
# The report is written to profiling/nsight/out/ and summed up here; open the .nsys-rep file in Nsight Systems for the time line.
# Needs nsys (CUDA toolkit, or developer.nvidia.com/nsight-systems) and the nvtx package for the named ranges.
set -euo pipefail

out=$(cd "$(dirname "$0")" && pwd)/out
night=${1:-$out/night}
device=${2:-0}

if ! command -v nsys > /dev/null; then
    echo "nsys.sh: nsys is not installed (developer.nvidia.com/nsight-systems)" >&2
    exit 2
fi
mkdir -p "$out"
if [ $# -eq 0 ] && [ ! -d "$night" ]; then
    gpuanom simulate "$night" --exposures 8
fi

# The first run compiles the kernels; a profile of that is of no use.
gpuanom doctor --device "$device" > "$out/doctor.txt"

options=(
    "--trace=cuda,nvtx,osrt"         # launches, copies and events; our ranges; blocking calls of the system
    --cuda-memory-usage=true         # the memory pool's growth: a flat line after the first exposures
    --sample=process-tree            # where the threads that read and decode spend their time
    --python-sampling=true           # the same by Python function; slows the run by a few percent
    --force-overwrite=true
    --output="$out/score"
)
nsys profile "${options[@]}" \
    gpuanom score "$night" --device "$device" --output "$out/scored" --existing overwrite --quiet

# Sums by kernel, by copy, and by range. The gaps between kernels are seen in the time line only.
nsys stats --force-export=true \
    --report cuda_gpu_kern_sum --report cuda_gpu_mem_time_sum --report nvtx_pushpop_sum \
    "$out/score.nsys-rep"
