// Put in front of a .cu file, unmodified: what CUDA C++ has and C++ lacks, for g++ and one CPU core.
#pragma once
#include "language.h"
#include "runtime.h"
// The order matters: the files below use the two above.
#include "arithmetic.h"
#include "atomics.h"
#include "export.h"
#include "warp.h"
