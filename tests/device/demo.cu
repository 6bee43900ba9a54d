// Correct kernels, one for each thing that the device must be able to do. Compiled by g++ in the device's own tests.

template <int WARPS>
__device__ double block_sum(double value) {
    __shared__ double part[WARPS];
    for (int offset = 16; offset > 0; offset >>= 1) value += __shfl_down_sync(0xffffffffu, value, offset);
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = value;
    __syncthreads();
    double total = 0.0;
    for (int warp = 0; warp < WARPS; warp++) total += part[warp];
    __syncthreads();
    return total;
}

constexpr int TILE = 32;
__constant__ float weight[4] = {1.0f, 2.0f, 3.0f, 4.0f};

// Brightest pixel of each tile of a stack (n, ny, nx): a 3-D grid, a tree in shared memory with a barrier a level.
extern "C" __global__ void __launch_bounds__(TILE * TILE)
tile_max(const float* __restrict__ image, float* __restrict__ out, int ny, int nx)
{
    __shared__ float tile[TILE * TILE];
    const int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    const int t = threadIdx.y * TILE + threadIdx.x;
    tile[t] = x < nx && y < ny ? __ldg(&image[((size_t)blockIdx.z * ny + y) * nx + x]) : -INFINITY;
    __syncthreads();
    for (int half = TILE * TILE / 2; half > 0; half >>= 1) {
        if (t < half) tile[t] = fmaxf(tile[t], tile[t + half]);
        __syncthreads();
    }
    if (t == 0) out[(blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x] = tile[0];
}

// Sum of a block's values, through a template with shared memory of its own, for two sizes in one kernel file.
extern "C" __global__ void __launch_bounds__(128) sum_of_128(const double* in, double* out, int n)
{
    const int i = blockIdx.x * 128 + threadIdx.x;
    const double total = block_sum<4>(i < n ? in[i] : 0.0);
    if (threadIdx.x == 0) out[blockIdx.x] = total;
}

extern "C" __global__ void __launch_bounds__(64) sum_of_64(const double* in, double* out, int n)
{
    const int i = blockIdx.x * 64 + threadIdx.x;
    const double total = block_sum<2>(i < n ? in[i] : 0.0);
    if (threadIdx.x == 0) out[blockIdx.x] = total;
}

// Histogram: counters in dynamic shared memory, then integer atomics to global memory.
extern "C" __global__ void histogram(const int* bin, unsigned long long* counts, int bins, int n)
{
    extern __shared__ int tally[];
    for (int b = threadIdx.x; b < bins; b += blockDim.x) tally[b] = 0;
    __syncthreads();
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&tally[bin[i]], 1);
    __syncthreads();
    for (int b = threadIdx.x; b < bins; b += blockDim.x)
        if (tally[b]) atomicAdd(&counts[b], (unsigned long long)tally[b]);
}

// Everything lanes can do together; a lane a row of the output, 12 columns.
extern "C" __global__ void lanes(const int* in, int* out)
{
    const unsigned all = 0xffffffffu;
    const int lane = threadIdx.x & 31, value = in[threadIdx.x];
    int* row = out + 12 * threadIdx.x;
    row[0] = __shfl_sync(all, value, 5);
    row[1] = __shfl_down_sync(all, value, 3);
    row[2] = __shfl_up_sync(all, value, 3, 8);
    row[3] = __shfl_xor_sync(all, value, 1);
    row[4] = (int)__ballot_sync(all, value & 1);
    row[5] = __any_sync(all, value == 7);
    row[6] = __all_sync(all, value >= 0);
    row[7] = (int)__match_any_sync(all, value % 4);
    __syncwarp();
    row[8] = __syncthreads_count(value & 1);
    row[9] = __syncthreads_or(value == 7);
    row[10] = __syncthreads_and(value >= 0);
    if (lane < 16) row[11] = __shfl_sync(0xffffu, value, 2, 16);
    else row[11] = -1;
}

// Atomics whose result does not depend on the order: int, unsigned, 64 bit, float and double of whole numbers, minimum,
// maximum, compare and swap.
extern "C" __global__ void atomics(const int* in, int* i, unsigned* u, unsigned long long* l, float* f, double* d, int n)
{
    const int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= n) return;
    const int value = in[k];
    atomicAdd(&i[0], value);
    atomicMin(&i[1], value);
    atomicMax(&i[2], value);
    atomicOr(&u[0], 1u << (value & 31));
    atomicInc(&u[1], 1000000u);
    atomicMax(&l[0], (unsigned long long)value << 32);
    atomicAdd(&f[0], (float)value);
    unsigned long long* bits = (unsigned long long*)d;
    unsigned long long seen = atomicCAS(bits, 0ull, 0ull), expected;
    do {
        expected = seen;
        seen = atomicCAS(bits, expected, __double_as_longlong(__longlong_as_double(expected) + value));
    } while (seen != expected);
    atomicAdd(&d[1], (double)value);
}

// Arithmetic that must round twice where the text says so, bits, conversions; a lane a value, 16 columns.
extern "C" __global__ void arithmetic(const double* a, const double* b, const double* c, double* out)
{
    const int i = threadIdx.x;
    double* row = out + 16 * i;
    row[0] = a[i] * b[i] + c[i];
    row[1] = __dadd_rn(__dmul_rn(a[i], b[i]), c[i]);
    row[2] = __fma_rn(a[i], b[i], c[i]);
    row[3] = fma(a[i], b[i], c[i]);
    row[4] = rsqrt(4.0) + min(1, 2) + max(1u, 3u) + min(2.5, nan(""));
    row[5] = __popc(0xF0F0u) + __popcll(0xFFFFFFFFFFull) + __ffs(8) + __ffsll(1ll << 40) + __clz(1) + __clzll(1);
    row[6] = __double2int_rn(2.5) + __double2int_rd(-2.5) + __float2int_rz(-2.7f) + __double2int_ru(2.1);
    row[7] = __double2int_rn(1e30);
    row[8] = __uint_as_float(__float_as_uint(1.5f)) + __int_as_float(__float_as_int(2.5f));
    row[9] = __hiloint2double(__double2hiint(a[i]), __double2loint(a[i]));
    row[10] = __byte_perm(0x11223344u, 0, 0x0123);
    double s, co;
    sincospi(0.5, &s, &co);
    row[11] = s + co;
    row[12] = __brev(1u);
    row[13] = isnan(a[i]) || isinf(b[i]) || signbit(-1.0);
    row[14] = llrint(3.5) + hypot(3.0, 4.0) + copysign(1.0, -2.0);
    row[15] = weight[i & 3] + __mulhi(1 << 30, 8) + (double)__umulhi(1u << 31, 2u);
}

// Vectors, an optional array, a bool array, bytes and shorts.
#define OPTIONAL
extern "C" __global__ void vectors(const float4* in, float4* out, const float* OPTIONAL add, const bool* keep,
                                   const unsigned char* bytes, short* shorts, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float4 v = in[i];
    const float extra = add ? add[i] : 0.0f;
    out[i] = keep[i] ? make_float4(v.w + extra, v.z, v.y, v.x) : make_float4(0, 0, 0, 0);
    shorts[i] = (short)(bytes[2 * i] << 8 | bytes[2 * i + 1]);
}

extern "C" __global__ void scale(float factor, const float* in, float* out, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = factor * in[i];
}
