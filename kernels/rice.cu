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
// Twin       gpuanom/fits/decoding/rice.py, the host's decoder
// Test       tests/steps/test_rice.py
#include "common.cuh"

constexpr int WARPS = 4, RANDOM = 10000, WANTED = 7;
constexpr int ZERO = -2147483646;            // with dither 2
constexpr long long MOST_BYTES = 1LL << 32;  // of a tile: its words are counted as int

__device__ __forceinline__ unsigned big_endian(unsigned word) {
    return __byte_perm(word, 0u, 0x0123u);
}

// Reads the bits of a tile from the first to the last. The next 32 bits are always at hand: they
// come by a funnel shift from two words, of which `shift` bits are used up; a third word is on its
// way. Words are aligned in memory, and those that lie wholly in the tile are read as words; the
// first and the last are put together from bytes, once. Behind the end the last word comes again
// and again: whatever uses a bit of it has used more bits than there are, and is found out.
struct Bits {
    const unsigned* words;            // the first one holds the tile's first byte
    int whole, rest;                  // words before the tile's end, and its bits behind them
    int next, shift;                  // the next word to ask for; 0 to 31
    unsigned high, low, ahead, tail;  // the last two as they lie in memory

    __device__ __forceinline__ unsigned in_part(int word, int first, long long end) const {
        unsigned found = 0u;
        for (int i = 0; i < 4; i++) {
            const long long at = 4LL * word + i;
            if (at >= first && at < end)
                found |= (unsigned)((const unsigned char*)words)[at] << 8 * i;
        }
        return found;
    }
    __device__ __forceinline__ unsigned take() {
        const int word = next++;
        unsigned found = tail;
        if (word < whole) found = words[word];
        return found;
    }
    __device__ __forceinline__ void open(const unsigned char* tile, long long size) {
        const int before = (int)((unsigned long long)tile & 3ull);
        const long long end = before + size;
        words = (const unsigned*)(tile - before), whole = (int)(end / 4),
        rest = 8 * (int)(end % 4), next = 1, shift = 8 * before;
        tail = in_part(whole, before, end), high = big_endian(in_part(0, before, end));
        low = big_endian(take()), ahead = take();
    }
    __device__ __forceinline__ unsigned window() const {
        return __funnelshift_l(low, high, shift);
    }
    // Passes over 32 - kept bits, of which there are 0 to 32.
    __device__ __forceinline__ void keep(int kept) {
        shift -= kept;
        if (shift >= 0)
            high = low, low = big_endian(ahead), ahead = take();
        else
            shift += 32;
    }
    // Passes over at most 32 bits, or returns 1 to 32 of them.
    __device__ __forceinline__ void skip(int bits) { keep(32 - bits); }
    __device__ __forceinline__ unsigned read(int bits) {
        const unsigned value = window() >> (32 - bits);
        skip(bits);
        return value;
    }
    // Whether more bits were used than the tile has.
    __device__ __forceinline__ bool overrun() const {
        const int behind = next - 3 - whole;
        return behind > 0 || (behind == 0 && shift > rest);
    }
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

// What a warp shares.
struct Work {
    struct alignas(16) Units {
        double scale, zero;
    } units[WARP];
    int places[WARP];  // of the next pixel's random number
    // The next numbers of each tile, and what is added to a place behind the last random number:
    // the numbers of a tile go on where another random number says.
    int numbers[WARP][WARP + 1];
};
constexpr int JUMP = WARP;

// Where pixel `at` of a tile of several rows is, counted from the tile's first pixel, which is
// pixel `origin` of its CCD.
__device__ __noinline__ int in_rows(int at, int origin, int columns, int nx) {
    const int width = min(columns, nx - origin % nx);
    return at / width * nx + at % width;
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
//            The compiler keeps to so few registers that 36 warps fit a multiprocessor.
// Bytes      The codes are read once (0.6 a pixel for quantised floats at q = 4), 40 a tile, and 4
//            a pixel are written. The random numbers come from the cache.
extern "C" __global__ void __launch_bounds__(128, 9)
    rice(const unsigned char* data, const long long* start, const long long* size,
         const double* scale, const double* zero, const long long* blank, const int* wanted,
         const long long* first, const float* random, int ny, int nx, float* images,
         int* damaged) {
    __shared__ Work works[WARPS];
    const int lane = threadIdx.x, warp = threadIdx.y;
    Work& work = works[warp];
    const int* form = wanted + WANTED * blockIdx.y;
    const int ccd = form[0], rows = min(form[1], ny), columns = min(form[2], nx),
              bytepix = form[3], blocksize = form[4];
    const int dither = form[5];
    const int literal = 8 * bytepix, field = bytepix == 4 ? 5 : bytepix == 2 ? 4 : 3;
    const int largest = bytepix == 4 ? 25 : bytepix == 2 ? 14 : 6;
    const long long from = first[blockIdx.y];
    const int across = (nx - 1) / columns + 1, n_tiles = (int)(first[blockIdx.y + 1] - from);
    const int tile0 = (blockIdx.x * WARPS + warp) * WARP, tile = tile0 + lane;
    if (tile0 >= n_tiles) return;

    const auto origin_of = [&](int number) {
        return number / across * rows * nx + number % across * columns;
    };
    const auto count_of = [&](int number) {
        return min(rows, ny - number / across * rows) *
               min(columns, nx - number % across * columns);
    };
    float* const image = images + (long long)ccd * ny * nx;
    // Writes a tile: the pixels that the host has decoded, or NaN where there are none.
    const auto write = [&](int number, const float* pixels) {
        const int origin = origin_of(number), n = count_of(number);
#pragma unroll 1
        for (int at = lane; at < n; at += WARP)
            image[origin + (rows == 1 ? at : in_rows(at, origin, columns, nx))] =
                pixels == nullptr ? __uint_as_float(0x7fc00000u) : pixels[at];
    };

    Bits bits;
    unsigned last = 0u;
    bool broken = false, hosted = false, has_blank = false;
    int count = 0;  // pixels of the tile
    int turn = 0;   // of the random number that says where the numbers go on
    work.units[lane] = {0.0, 0.0}, work.places[lane] = 0, work.numbers[lane][JUMP] = -RANDOM;
    if (tile < n_tiles) {
        const long long n_bytes = size[from + tile];
        hosted = n_bytes < 0;
        broken = n_bytes > MOST_BYTES;
        if (!hosted && !broken) {
            count = count_of(tile);
            work.units[lane] = {scale[from + tile], zero[from + tile]};
            has_blank = blank[from + tile] == (int)blank[from + tile];
            bits.open(data + start[from + tile], n_bytes);
            last = bits.read(literal);
            if (dither != 0) {
                turn = (int)(((long long)tile + form[6] - 1) % RANDOM);
                work.places[lane] = dither_start(random, turn);
                turn = (turn + 1) % RANDOM;
                work.numbers[lane][JUMP] = dither_start(random, turn) - RANDOM;
            }
        }
    }
    unsigned left = __ballot_sync(WHOLE_WARP, hosted);
    // The commonest tiles have a path of their own: whole rows of quantised floats.
    const bool plain = left == 0u && rows == 1 && across == 1 && bytepix == 4 && dither != 0 &&
                       !__any_sync(WHOLE_WARP, has_blank || broken);
    for (; left != 0u; left &= left - 1u) {
        const int number = tile0 + __ffs((int)left) - 1;
        write(number, (const float*)(data + start[from + number]));
    }

    const int n_warp_tiles = min(WARP, n_tiles - tile0), most = rows * columns;
    int in_block = 0, fs = 0;  // pixels that the block still has, and its code
    for (int done = 0; done < most; done += WARP) {
        const int todo = min(WARP, count - done);
        for (int j = 0; j < todo && !broken;) {
            if (in_block == 0) {
                fs = (int)bits.read(field) - 1;
                in_block = blocksize;
                // Checked once for each block: nothing worse than wrong numbers is read behind the
                // end.
                broken = fs > largest || bits.overrun();
                if (broken) break;
            }
            const int stop = min(todo, j + in_block);
            in_block -= stop - j;
            const auto add = [&](unsigned v) {
                last += (v >> 1) ^ (0u - (v & 1u));
                work.numbers[lane][j++] = (int)last;
            };
            if (fs < 0) {
                while (j < stop) work.numbers[lane][j++] = (int)last;
            } else if (fs == largest) {
#pragma unroll 1
                while (j < stop) add(bits.read(literal));
            } else {
                while (j < stop) {
                    // The first one is bit `high` of the window, after 31 - high zeros. Shifted
                    // down, so that the code's bits remain, the one is worth 1 << fs itself.
                    const auto code = [&](unsigned window, int high) {
                        return (window >> (high - fs)) + ((unsigned)(30 - high) << fs);
                    };
                    const unsigned window = bits.window();
                    const int high = 31 - __clz((int)window), kept = high - fs;
                    // Most codes are so short that the next one is in the window, too.
                    const unsigned behind = __funnelshift_r(0u, window, kept);
                    const int next = 31 - __clz((int)behind), left = kept + next - fs - 32;
                    if (left >= 0 && j + 1 < stop) {
                        bits.keep(left);
                        add(code(window, high)), add(code(behind, next));
                    } else if (kept >= 0) {
                        bits.keep(kept);
                        add(code(window, high));
                    } else {
                        add(read_long(bits, fs));
                    }
                }
            }
            broken = bits.overrun();
        }
        __syncwarp();
        const int at = done + lane;
        const auto random_of = [&](int row) {
            int place = work.places[row] + lane;
            if (place >= RANDOM) place += work.numbers[row][JUMP];
            return (double)random[place];
        };
        if (plain) {
            float* column = image + (long long)tile0 * nx + at;
#pragma unroll 2
            for (int row = 0; row < n_warp_tiles; row++, column += nx) {
                const int q = work.numbers[row][lane];
                const Work::Units u = work.units[row];
                float found = narrow(((double)q - random_of(row) + 0.5) * u.scale + u.zero);
                if (dither == 2 && q == ZERO) found = 0.0f;
                // Lanes behind the last pixel have computed what nobody stores.
                if (at < nx) *column = found;
            }
        } else {
            const int origin = origin_of(tile);
#pragma unroll 1
            for (int row = 0; row < n_warp_tiles; row++) {
                const int word = work.numbers[row][lane];
                const Work::Units u = work.units[row];
                const int q = bytepix == 4 ? word : bytepix == 2 ? (int)(short)word : word & 0xff;
                double value = (double)q;
                if (dither != 0) value = value - random_of(row) + 0.5;
                float found = narrow(value * u.scale + u.zero);
                if (dither == 2 && q == ZERO) found = 0.0f;
                if (q == blank[from + tile0 + row]) found = __uint_as_float(0x7fc00000u);
                const int first = __shfl_sync(WHOLE_WARP, origin, row),
                          n = __shfl_sync(WHOLE_WARP, count, row);
                if (at < n)
                    image[first + (rows == 1 ? at : in_rows(at, first, columns, nx))] = found;
            }
        }
        __syncwarp();
        // The lane of the tile goes on to the next random number.
        if (dither != 0) {
            int place = work.places[lane] + WARP;
            if (place >= RANDOM) {
                place += work.numbers[lane][JUMP];
                turn = (turn + 1) % RANDOM;
                work.numbers[lane][JUMP] = dither_start(random, turn) - RANDOM;
            }
            work.places[lane] = place;
        }
    }

    // Pixels of a damaged tile may have been written before the damage was seen.
    left = __ballot_sync(WHOLE_WARP, broken);
    if (broken) atomicMin((unsigned*)damaged + ccd, (unsigned)tile);
    for (; left != 0u; left &= left - 1u) write(tile0 + __ffs((int)left) - 1, nullptr);
}
