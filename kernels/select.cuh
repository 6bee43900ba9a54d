// What background.cu and profiles.cu share: medians, selected by the bits of the numbers.
#pragma once

// Threads of a block that selects, and values of a byte.
constexpr int SELECTORS = 512, BINS = 256;
typedef unsigned long long Key;  // a float64 as an integer that sorts as the number does

// Zeros of both signs are one number, as in every comparison: to add 0 takes the sign off.
__device__ __forceinline__ Key key_of(double value) {
    const Key bits = (Key)__double_as_longlong(value + 0.0);
    return bits >> 63 != 0ull ? ~bits : bits | 1ull << 63;
}

__device__ __forceinline__ double value_of(Key key) {
    return __longlong_as_double((long long)(key >> 63 != 0ull ? key ^ 1ull << 63 : ~key));
}

// What the threads of a block share during a selection.
struct Selection {
    Key key, warp_keys[SELECTORS / WARP];
    int bins[BINS], bin, below, within;
};

// The key of the given rank (0 is the lowest) among n keys. Its bytes are found one after the
// other, from the highest on, until only one key has them. *less gets the number of lower keys.
// The whole block calls.
__device__ Key select_key(const Key* keys, int n, int rank, int* less, Selection* s) {
    Key chosen = 0ull;
    int* bins = s->bins;
    *less = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        for (int i = threadIdx.x; i < BINS; i += SELECTORS) bins[i] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < n; i += SELECTORS) {
            const Key key = keys[i];
            if (shift == 56 || key >> (shift + 8) == chosen)
                atomicAdd(&bins[key >> shift & 255ull], 1);
        }
        __syncthreads();
        if (threadIdx.x < WARP) {
            const int lane = threadIdx.x, first = lane * (BINS / WARP);
            int n_of_lane = 0;
            for (int i = 0; i < BINS / WARP; i++) n_of_lane += bins[first + i];
            int upto = n_of_lane;
            for (int step = 1; step < WARP; step *= 2) {
                const int lower = __shfl_up_sync(WHOLE_WARP, upto, step);
                if (lane >= step) upto += lower;
            }
            int before = *less + upto - n_of_lane;
            if (rank >= before && rank < before + n_of_lane) {
                int bin = first;
                while (rank >= before + bins[bin]) before += bins[bin++];
                s->bin = bin, s->below = before, s->within = bins[bin];
            }
        }
        __syncthreads();
        chosen = chosen << 8 | (Key)s->bin;
        *less = s->below;
        if (s->within == 1 && shift > 0) {
            for (int i = threadIdx.x; i < n; i += SELECTORS) {
                if (keys[i] >> shift == chosen) s->key = keys[i];
            }
            __syncthreads();
            return s->key;
        }
    }
    return chosen;
}

// The highest key below a limit, returned to every thread; there must be such a key.
__device__ Key highest_below(const Key* keys, int n, Key limit, Key* warp_keys) {
    Key highest = 0ull;
    for (int i = threadIdx.x; i < n; i += SELECTORS) {
        if (keys[i] < limit && keys[i] > highest) highest = keys[i];
    }
    for (int step = WARP / 2; step > 0; step /= 2)
        highest = max(highest, __shfl_xor_sync(WHOLE_WARP, highest, step));
    if (threadIdx.x % WARP == 0) warp_keys[threadIdx.x / WARP] = highest;
    __syncthreads();
    for (int warp = 0; warp < SELECTORS / WARP; warp++) highest = max(highest, warp_keys[warp]);
    return highest;
}

// The middle value of n > 1 keys, or the mean of the two in the middle.
__device__ double median(const Key* keys, int n, Selection* s) {
    int less;
    const Key upper = select_key(keys, n, n / 2, &less, s);
    // The key before it in order is equal, unless exactly n / 2 keys are lower.
    if (n % 2 == 1 || less < n / 2) return value_of(upper);
    return (value_of(highest_below(keys, n, upper, s->warp_keys)) + value_of(upper)) / 2.0;
}
