// Decodes RICE_1-compressed tiles to pixels (METHOD.md 6; FITS 4.0, section 10), straight into the
// stack, so that what is uploaded is what the file holds.
//
// Formula    `last` begins as the tile's first number. For each block of BLOCKSIZE pixels a field
//            fs + 1 is read. If fs = -1 there are no differences. If fs is the largest, v is the
//            next 8 BYTEPIX bits. Otherwise v = z << fs | (fs bits), after z zeros and a one. The
//            difference is v / 2, or -(v + 1) / 2 for odd v, and the pixel's number is q = last +=
//            difference, modulo 2^(8 BYTEPIX); v itself is kept modulo 2^32. The pixel is
//            float32(float64(q) scale + zero). With dither it is float32((float64(q) - r + 0.5)
//            scale + zero), where r is the next random number; with dither 2, q = -2147483646
//            stands for exactly 0. The pixel is NaN where q is the blank.
// Precision  Integers, then a product and a sum in float64, no FMA, rounded once to float32 by
//            narrow(), which keeps the subnormal results that -ftz would make 0. The one product
//            in float32 is 500 times a random number, where a dither begins, as the format says.
// Edges      Tiles at the far edges of the image are cut off. A tile is damaged if its code runs
//            past its last byte, or if a field is larger than there are; its pixels are NaN, and
//            its number is reported. Bytes behind a tile's last code are ignored. No byte outside
//            a tile is read, and every loop ends with the tile's pixels or bits. No result depends
//            on the order of threads or blocks: the only atomic takes a minimum of integers.
// Parity     Exact.
// Twin       gpuanom/fits/rice.py, the host's decoder
// Test       tests/steps/test_rice.py
#include "common.cuh"

constexpr int WARPS = 4, RANDOM = 10000, WANTED = 7;
constexpr long long MOST_BYTES = 1LL << 32;  // of a tile: its words are counted as int

__device__ __forceinline__ unsigned big_endian(unsigned word) {
    return __byte_perm(word, 0u, 0x0123u);
}

// Reads the bits of a tile from the first to the last, then zeros. The next 32 bits are always at
// hand: they come by a funnel shift from two words, of which `shift` bits are used up. Words are
// aligned in memory. Words that lie wholly in the tile are read as words, the first and the last
// byte by byte.
struct Bits {
    const unsigned char* bytes;  // of the word that holds the tile's first byte
    long long end;               // of the tile, as bytes from there
    int words, next, shift;  // words before `end` that are whole; the next one to read; 0 to 31
    unsigned high, low;

    __device__ __forceinline__ unsigned in_part(int word, int first) const {
        unsigned bits = 0u;
        for (int i = 0; i < 4; i++) {
            const long long at = 4LL * word + i;
            bits = bits << 8 | (at >= first && at < end ? bytes[at] : 0u);
        }
        return bits;
    }
    __device__ __forceinline__ unsigned take() {
        const int word = next++;
        return word < words ? big_endian(((const unsigned*)bytes)[word]) : in_part(word, 0);
    }
    __device__ __forceinline__ void open(const unsigned char* tile, long long size) {
        const int before = (int)((unsigned long long)tile & 3ull);
        bytes = tile - before, end = before + size, words = (int)(end / 4), next = 1,
        shift = 8 * before;
        high = in_part(0, before), low = take();
    }
    __device__ __forceinline__ unsigned window() const {
        return __funnelshift_l(low, high, shift);
    }
    // At most 32 bits.
    __device__ __forceinline__ void skip(int bits) {
        shift += bits;
        if (shift >= 32) high = low, low = take(), shift -= 32;
    }
    __device__ __forceinline__ unsigned read(int bits) {
        const unsigned value = window() >> (32 - bits);
        skip(bits);
        return value;
    }
    // Whether more bits were used than the tile has.
    __device__ __forceinline__ bool overrun() const { return 32LL * (next - 2) + shift > 8 * end; }
};

// Reads a code of z zeros, a one and fs bits that is longer than 32 bits, and returns z << fs |
// bits. A cosmic ray in a quiet block has thousands of zeros; in a damaged tile the zeros end with
// the tile's bytes.
__device__ __forceinline__ unsigned read_long(Bits& bits, int fs) {
    unsigned zeros = 0u, window = bits.window();
    while (window == 0u && !bits.overrun()) {
        zeros += 32u;
        bits.skip(32);
        window = bits.window();
    }
    const int rest = __clz(window);
    zeros += rest;
    bits.skip(min(rest + 1, 32));
    return zeros << fs | (fs > 0 ? bits.read(fs) : 0u);
}

// The place in the table of random numbers where a tile's dither begins: 500 times its random
// number.
__device__ __forceinline__ int dither_start(const float* random, int turn) {
    return (int)(random[turn] * 500.0f);
}

// All tiles of all CCDs of a stack.
//
// Arguments
//   data       (n_bytes,) uint8, codes of all tiles, and pixels decoded by the host, which begin
//              at multiples of 4
//   start      (n_tiles,) int64, bytes: where each tile begins in data, in FITS order
//   size       (n_tiles,) int64, bytes of each tile's code; below 0 for a tile decoded by the
//              host, which is -size bytes of float32 pixels in the image unit
//   scale      (n_tiles,) float64, image unit: ZSCALE, or BSCALE of integers
//   zero       (n_tiles,) float64, image unit: ZZERO, or BZERO of integers
//   blank      (n_tiles,) int64, the number for "no value"; beyond int32 where there is none
//   wanted     (n_images, 7) int32, of each image: its place in the stack, rows and columns of a
//              whole tile in pixels, BYTEPIX (1, 2 or 4), BLOCKSIZE (1 or more), dither (0, 1 or
//              2), ZDITHER0 (1 to 10000)
//   first      (n_images + 1,) int64, number of each image's first tile, and of all tiles
//   random     (10000,) float32, no unit: numbers between 0 and 1, FITS 4.0 appendix I
//   ny         int32, pixels: rows of a CCD
//   nx         int32, pixels: columns of a CCD; ny nx is below 2^31
//   images     in and out, (n_ccd, ny, nx) float32, image unit: CCDs not wanted stay as they are
//   damaged    in and out, (n_ccd,) int32, smallest number of a CCD's damaged tiles, taken as
//              unsigned, so that -1 stands for none
//
// Launch     grid (ceil(most tiles of an image / 128), n_images), block (32, 4). A thread takes a
//            tile, since a code must be read from its beginning: 61 CCDs of 4094 rows are 249,734
//            threads. A warp decodes the next 32 numbers of each of its 32 tiles into shared
//            memory (rows of 33 words, so that no two lanes use one bank). Then it writes tile
//            after tile, a lane a pixel: 128 bytes at once, with 32 neighbouring random numbers.
// Bytes      The codes are read once (0.6 a pixel for quantised floats at q = 4), 40 a tile, and 4
//            a pixel are written. The random numbers, and 28 bytes of the tile for every 32
//            pixels, come from the cache.
extern "C" __global__ void __launch_bounds__(128, 8)
    rice(const unsigned char* data, const long long* start, const long long* size,
         const double* scale, const double* zero, const long long* blank, const int* wanted,
         const long long* first, const float* random, int ny, int nx, float* images,
         int* damaged) {
    __shared__ unsigned staged[WARPS][WARP][WARP + 1];
    __shared__ int origins[WARPS][WARP], widths[WARPS][WARP], counts[WARPS][WARP],
        dithers[WARPS][WARP], turns[WARPS][WARP];
    const int lane = threadIdx.x, warp = threadIdx.y;
    const int* own = wanted + WANTED * blockIdx.y;
    const int ccd = own[0], rows = min(own[1], ny), columns = min(own[2], nx), bytepix = own[3],
              blocksize = own[4];
    const int dither = own[5];
    const int literal = 8 * bytepix, field = bytepix == 4 ? 5 : bytepix == 2 ? 4 : 3;
    const int largest = bytepix == 4 ? 25 : bytepix == 2 ? 14 : 6;
    const long long from = first[blockIdx.y];
    const int across = (nx - 1) / columns + 1, n_tiles = (int)(first[blockIdx.y + 1] - from);
    const int tile0 = (blockIdx.x * WARPS + warp) * WARP, tile = tile0 + lane;
    if (tile0 >= n_tiles) return;

    // Each lane writes what all lanes need to know of its tile: the first pixel, the width, the
    // number of pixels, the place of the next pixel's random number (-1 for a tile that the host
    // has decoded), and the place of the random number that said where those begin.
    Bits bits;
    unsigned last = 0u;
    bool broken = false;
    counts[warp][lane] = dithers[warp][lane] = turns[warp][lane] = 0;
    if (tile < n_tiles) {
        const int y = tile / across * rows, x = tile % across * columns,
                  width = min(columns, nx - x);
        origins[warp][lane] = y * nx + x, widths[warp][lane] = width;
        counts[warp][lane] = min(rows, ny - y) * width;
        const long long n_bytes = size[from + tile];
        if (n_bytes < 0) {
            dithers[warp][lane] = -1;
        } else if (n_bytes > MOST_BYTES) {
            broken = true;
        } else {
            bits.open(data + start[from + tile], n_bytes);
            last = bits.read(literal);
            if (dither != 0) {
                const int turn = (int)(((long long)tile + own[6] - 1) % RANDOM);
                turns[warp][lane] = turn, dithers[warp][lane] = dither_start(random, turn);
            }
        }
    }

    const int n_warp_tiles = min(WARP, n_tiles - tile0), most = rows * columns;
    float* const image = images + (long long)ccd * ny * nx;
    int in_block = 0, fs = 0;  // pixels that the block still has, and its code
    for (int done = 0; done < most; done += WARP) {
        const int todo = dithers[warp][lane] < 0 ? 0 : min(WARP, counts[warp][lane] - done);
        for (int j = 0; j < todo && !broken;) {
            if (in_block == 0) {
                fs = (int)bits.read(field) - 1;
                in_block = blocksize;
                // Checked once for each block, because only zeros are read behind the end.
                broken = fs > largest || bits.overrun();
                if (broken) break;
            }
            const int stop = min(todo, j + in_block);
            in_block -= stop - j;
            if (fs < 0) {
                for (; j < stop; j++) staged[warp][lane][j] = last;
                continue;
            }
            for (; j < stop; j++) {
                unsigned v;
                if (fs == largest) {
                    v = bits.read(literal);
                } else {
                    const unsigned window = bits.window();
                    const int zeros = __clz((int)window), length = zeros + 1 + fs;
                    if (length <= 32) {
                        // The one stands at bit fs of the window and is subtracted with zeros - 1.
                        v = (window >> (32 - length)) + ((unsigned)(zeros - 1) << fs);
                        bits.skip(length);
                    } else {
                        v = read_long(bits, fs);
                    }
                }
                last += (v >> 1) ^ (0u - (v & 1u));
                staged[warp][lane][j] = last;
            }
            broken = bits.overrun();
        }
        __syncwarp();
        for (int row = 0; row < n_warp_tiles; row++) {
            const int at = done + lane;
            if (at >= counts[warp][row]) continue;
            const long long number = from + tile0 + row;
            const int width = widths[warp][row];
            float* const pixel =
                image + origins[warp][row] + (rows == 1 ? at : at / width * nx + at % width);
            int now = dithers[warp][row];
            if (now < 0) {
                *pixel = ((const float*)(data + start[number]))[at];
                continue;
            }
            const unsigned word = staged[warp][row][lane];
            const int q = bytepix == 4   ? (int)word
                          : bytepix == 2 ? (int)(short)word
                                         : (int)(word & 0xffu);
            double value = (double)q;
            if (dither != 0) {
                now += lane;
                if (now >= RANDOM)
                    now += dither_start(random, (turns[warp][row] + 1) % RANDOM) - RANDOM;
                value = value - (double)random[now] + 0.5;
            }
            float found = narrow(value * scale[number] + zero[number]);
            if (dither == 2 && q == -2147483646) found = 0.0f;
            if (q == blank[number]) found = __uint_as_float(0x7fc00000u);
            *pixel = found;
        }
        __syncwarp();
        // The lane of the tile goes on to the next random number.
        if (dither != 0 && dithers[warp][lane] >= 0) {
            int next = dithers[warp][lane] + WARP;
            if (next >= RANDOM) {
                const int turn = (turns[warp][lane] + 1) % RANDOM;
                turns[warp][lane] = turn, next += dither_start(random, turn) - RANDOM;
            }
            dithers[warp][lane] = next;
        }
    }

    // Pixels of a damaged tile may have been written before the damage was seen.
    unsigned left = __ballot_sync(WHOLE_WARP, broken);
    if (broken) atomicMin((unsigned*)damaged + ccd, (unsigned)tile);
    for (; left != 0u; left &= left - 1u) {
        const int row = __ffs((int)left) - 1, width = widths[warp][row];
        for (int at = lane; at < counts[warp][row]; at += WARP) {
            image[origins[warp][row] + at / width * nx + at % width] =
                __uint_as_float(0x7fc00000u);
        }
    }
}
