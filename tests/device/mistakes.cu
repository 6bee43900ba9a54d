// Wrong kernels. Each must be caught; test_mistakes.py says by what.

extern "C" __global__ void past_the_end(float* a, int n) { a[blockIdx.x * blockDim.x + threadIdx.x] = n; }
extern "C" __global__ void before_the_start(float* a, int n) { a[(int)threadIdx.x - 1] = n; }
extern "C" __global__ void read_past_the_end(const float* in, float* out) { out[threadIdx.x] = in[threadIdx.x + 1]; }
// Not inlined: the compiler can't know the size of what it is given, AddressSanitizer does.
__device__ __noinline__ void store(float* to, int i, float value) { to[i] = value; }
extern "C" __global__ void past_static_shared(float* a, int offset)
{
    __shared__ float s[64];
    store(s, threadIdx.x + offset, 1.0f);
    __syncthreads();
    a[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void past_dynamic_shared(float* a, int offset)
{
    extern __shared__ float s[];
    s[threadIdx.x + offset] = 1.0f;
    __syncthreads();
    a[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void no_barrier(const float* in, float* out)
{
    __shared__ float s[128];
    s[threadIdx.x] = in[threadIdx.x];
    out[threadIdx.x] = s[127 - threadIdx.x];
}
// The barrier at the end of the loop is missing: the next round overwrites what slower threads still read.
extern "C" __global__ void no_second_barrier(const float* in, float* out, int rounds)
{
    __shared__ float s[64];
    float sum = 0.0f;
    for (int r = 0; r < rounds; r++) {
        s[threadIdx.x] = in[64 * r + threadIdx.x];
        __syncthreads();
        sum += s[63 - threadIdx.x];
    }
    out[threadIdx.x] = sum;
}
extern "C" __global__ void no_warp_barrier(const int* in, int* out)
{
    __shared__ int s[32];
    s[threadIdx.x] = in[threadIdx.x];
    out[threadIdx.x] = s[31 - threadIdx.x];  // __syncwarp() is missing
}
extern "C" __global__ void unset_shared(float* a)
{
    __shared__ float s[128];
    if (threadIdx.x & 1) s[threadIdx.x] = 1.0f;
    __syncthreads();
    a[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void unset_output(float* a, int n)
{
    if (threadIdx.x < n - 1) a[threadIdx.x] = 1.0f;
}
extern "C" __global__ void unset_local(float* a, int n)
{
    float best[2];
    if (n > 1000) best[1] = 0.0f;
    a[threadIdx.x] = best[threadIdx.x & 1] + 1.0f;
}
extern "C" __global__ void barrier_in_branches(float* a)
{
    if (threadIdx.x < 16) { a[0] = 1.0f; __syncthreads(); }
    else { a[1] = 1.0f; __syncthreads(); }
}
extern "C" __global__ void return_before_barrier(float* a, int n)
{
    if (threadIdx.x >= n) return;
    a[threadIdx.x] = 1.0f;
    __syncthreads();
}
extern "C" __global__ void shuffle_of_half_a_warp(float* a)
{
    float value = threadIdx.x;
    if (threadIdx.x < 16) value = __shfl_down_sync(0xffffffffu, value, 1);
    a[threadIdx.x] = value;
}
extern "C" __global__ void shuffle_outside_its_mask(float* a)
{
    a[threadIdx.x] = __shfl_down_sync(0x0000ffffu, (float)threadIdx.x, 1);
}
extern "C" __global__ void shuffle_from_outside_its_mask(float* a)
{
    if (threadIdx.x < 16) a[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 20);
}
extern "C" __global__ void depends_on_block_order(float* a)
{
    if (threadIdx.x == 0) a[blockIdx.x + 1] = a[blockIdx.x] + 1.0f;
}
extern "C" __global__ void depends_on_atomic_order(const int* in, int* out, int* count)
{
    if (in[threadIdx.x] & 1) out[atomicAdd(count, 1)] = threadIdx.x;
}
extern "C" __global__ void misaligned_vector(const float* in, float4* out, int offset)
{
    out[threadIdx.x] = *(const float4*)(in + offset + 4 * threadIdx.x);
}
extern "C" __global__ void lost_update_in_a_block(int* count) { count[0] += 1; }
extern "C" __global__ void lost_update_between_blocks(int* count) { if (threadIdx.x == 0) count[0] += 1; }
extern "C" __global__ void divides_by_zero(int* a, int divisor) { a[0] = a[1] / divisor; }
extern "C" __global__ void shifts_too_far(int* a, int shift) { a[0] = 1 << shift; }
extern "C" __global__ void outgrows_the_stack(float* a)
{
    volatile float local[40000];
    for (int i = 0; i < 40000; i++) local[i] = i;
    a[threadIdx.x] = local[threadIdx.x];
}
extern "C" __global__ void writes_its_input(const float* in, float* out) { *(float*)in = out[0] = 2.0f; }
extern "C" __global__ void null_pointer(float* a, const float* b) { a[0] = b == nullptr ? *b : 1.0f; }
extern "C" __global__ void no_dynamic_shared(float* a)
{
    extern __shared__ float s[];
    s[threadIdx.x] = 1.0f;
    a[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void fails_an_assertion(float* a, int n) { assert(n < 3); a[0] = n; }
__global__ void mangled(float* a) { a[0] = 1.0f; }
