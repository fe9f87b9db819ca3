// Copies between layouts, and products and sums at any strides. All of it is limited by memory: an entry is read once
// and written once, and neighbouring threads take neighbouring entries on the side that decides.
//
// Modes are listed in a table of int64 numbers, the fastest mode first: size and steps in entries. Threads find their
// place by dividing: with 32 bits below 2^32; beyond, by a reciprocal in single precision, each round of which brings 21
// bits more (the compiler's 64-bit division is a call that makes the kernels spill).
#include "common.cuh"

typedef long long Long;

// index = quotient * size + what is returned; the quotient takes the place of the index.
__device__ __forceinline__ Long rest_of(Long& index, Long size) {
    const Long dividend = index;
    if (((dividend | size) >> 32) == 0) {
        index = (unsigned)dividend / (unsigned)size;
    } else {
        const float inverse = __fdividef(1.0f, (float)size);
        Long rest = dividend;
        index = 0;
#pragma unroll
        for (int round = 0; round < 3; ++round) {
            const Long step = (Long)((float)rest * inverse);
            index += step;
            rest -= step * size;
        }
        while (rest < 0) { rest += size; --index; }
        while (rest >= size) { rest -= size; ++index; }
    }
    return dividend - index * size;
}

// Entries of a run of the fastest mode on both sides: 256 threads with four entries each, 256 apart, so that four loads
// are under way in each thread. Bytes: 2 an entry's size.
template <class T>
__device__ __forceinline__ void copy_entries(const T* source, T* target, const Long* table, int n_modes, Long total) {
    const Long first = (Long)blockIdx.x * 1024 + threadIdx.x;
#pragma unroll
    for (int item = 0; item < 4; ++item) {
        Long index = first + item * 256;
        if (index >= total) return;
        Long from = 0, to = 0;
        for (int mode = 0; mode < n_modes - 1; ++mode) {
            const Long place = rest_of(index, table[3 * mode]);
            from += place * table[3 * mode + 1];
            to += place * table[3 * mode + 2];
        }
        target[to + index * table[3 * n_modes - 1]] = source[from + index * table[3 * n_modes - 2]];
    }
}

// A transposition of tiles of 32 by 32: a warp reads along x, the source's fastest mode, and writes along y, the
// target's. The tile's rows are 33 entries long, so that the lanes of a column lie in different banks.
template <class T>
__device__ __forceinline__ void turn_tiles(
    const T* source, T* target, const Long* table, int n_outer, Long n_x, Long x_from, Long x_to, Long n_y, Long y_from, Long y_to
) {
    __shared__ T tile[32][33];
    Long block = blockIdx.x;
    const Long x = rest_of(block, (n_x + 31) / 32) * 32, y = rest_of(block, (n_y + 31) / 32) * 32;
    for (int mode = 0; mode < n_outer; ++mode) {
        const Long place = rest_of(block, table[3 * mode]);
        source += place * table[3 * mode + 1];
        target += place * table[3 * mode + 2];
    }
    const int lane = threadIdx.x, row = threadIdx.y;
#pragma unroll
    for (int j = row; j < 32; j += 8)
        if (x + lane < n_x && y + j < n_y) tile[j][lane] = source[(x + lane) * x_from + (y + j) * y_from];
    __syncthreads();
#pragma unroll
    for (int j = row; j < 32; j += 8)
        if (y + lane < n_y && x + j < n_x) target[(x + j) * x_to + (y + lane) * y_to] = tile[lane][j];
}

#define COPIES(SIZE, T)                                                                                          \
    extern "C" __global__ void __launch_bounds__(256) copy_##SIZE(                                               \
        const T* __restrict__ source, T* __restrict__ target, const long long* __restrict__ table, int n_modes,   \
        long long total, long long source_at, long long target_at) {                                             \
        copy_entries<T>(source + source_at, target + target_at, table, n_modes, total);                          \
    }                                                                                                            \
    extern "C" __global__ void __launch_bounds__(256, 4) turn_##SIZE(                                               \
        const T* __restrict__ source, T* __restrict__ target, const long long* __restrict__ table, int n_outer,   \
        long long n_x, long long x_from, long long x_to, long long n_y, long long y_from, long long y_to,        \
        long long source_at, long long target_at) {                                                              \
        turn_tiles<T>(source + source_at, target + target_at, table, n_outer, n_x, x_from, x_to, n_y, y_from, y_to); \
    }
COPIES(4, float)
COPIES(8, double)
COPIES(16, double2)

// What products of a type are summed in, and how. Reading bounds the time: the double-precision units of a GPU for
// computing are faster than that.
struct Real {
    typedef double Sum;
    static __device__ __forceinline__ double zero() { return 0; }
    template <class T>
    static __device__ __forceinline__ void add_product(double& sum, T a, T b) { sum += (double)a * (double)b; }
    static __device__ __forceinline__ void add(double& sum, double value) { sum += value; }
    static __device__ __forceinline__ double over_block(double value, double* parts) { return block_sum(value, parts); }
};
struct Complex {
    typedef double2 Sum;
    static __device__ __forceinline__ double2 zero() { return make_double2(0, 0); }
    template <class T>
    static __device__ __forceinline__ void add_product(double2& sum, T a, T b) {
        sum.x += (double)a.x * b.x - (double)a.y * b.y;
        sum.y += (double)a.x * b.y + (double)a.y * b.x;
    }
    static __device__ __forceinline__ void add(double2& sum, double2 value) { sum.x += value.x; sum.y += value.y; }
    static __device__ __forceinline__ double2 over_block(double2 value, double* parts) {
        value.x = block_sum(value.x, parts);
        value.y = block_sum(value.y, parts);
        return value;
    }
};
__device__ __forceinline__ void narrow(double value, float* place) { *place = (float)value; }
__device__ __forceinline__ void narrow(double value, double* place) { *place = value; }
__device__ __forceinline__ void narrow(double2 value, float2* place) { *place = make_float2((float)value.x, (float)value.y); }
__device__ __forceinline__ void narrow(double2 value, double2* place) { *place = value; }

// Steps in the two factors and in the result at a place of the modes that a table lists.
struct Places { Long left, right, out; };
__device__ __forceinline__ Places places_at(Long index, const Long* table, int n_modes) {
    Places at = {0, 0, 0};
    for (int mode = 0; mode < n_modes; ++mode) {
        const Long place = mode == n_modes - 1 ? index : rest_of(index, table[4 * mode]);
        at.left += place * table[4 * mode + 1];
        at.right += place * table[4 * mode + 2];
        at.out += place * table[4 * mode + 3];
    }
    return at;
}

// out = left right, entry by entry: outer products and shared modes. Bytes: the result's, and each factor's from
// memory or the cache.
template <class R, class T>
__device__ __forceinline__ void each_product(const T* left, const T* right, T* out, const Long* table, int n_modes, Long total) {
    const Long first = (Long)blockIdx.x * 1024 + threadIdx.x;
#pragma unroll 2
    for (int item = 0; item < 4; ++item) {
        const Long index = first + item * 256;
        if (index >= total) return;
        const Places at = places_at(index, table, n_modes);
        typename R::Sum sum = R::zero();
        R::add_product(sum, left[at.left], right[at.right]);
        narrow(sum, out + at.out);
    }
}

// Sums for results that lie side by side: a lane takes one result, the warps of a block share the part of the sum that
// is the block's, and their shares are added in their order. Loads go along the results: whole lines.
template <class R, class T>
__device__ __forceinline__ void across(
    const T* left, const T* right, T* out, typename R::Sum* partial, const Long* table, int n_kept_modes, int n_sum_modes, Long n_kept,
    Long n_sums, Long per_share, int n_parts
) {
    __shared__ typename R::Sum shares[8][32];
    Long part = blockIdx.x;
    const Long kept = rest_of(part, (n_kept + 31) / 32) * 32 + threadIdx.x;
    const Long begin = (part * blockDim.y + threadIdx.y) * per_share, end = min(begin + per_share, n_sums);
    typename R::Sum sum = R::zero();
    if (kept < n_kept) {
        const Places own = places_at(kept, table, n_kept_modes);
        const Long* modes = table + 4 * n_kept_modes;
        const Long size = modes[0], left_step = modes[1], right_step = modes[2];
#pragma unroll 1
        for (Long index = begin; index < end;) {
            Long outer = index;
            const Long inner = rest_of(outer, size), run = min(size - inner, end - index);
            const Places at = places_at(outer, modes + 4, n_sum_modes - 1);
            const T* a = left + own.left + at.left + inner * left_step;
            const T* b = right + own.right + at.right + inner * right_step;
#pragma unroll 4
            for (Long i = 0; i < run; ++i) R::add_product(sum, a[i * left_step], b[i * right_step]);
            index += run;
        }
    }
    shares[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || kept >= n_kept) return;
    for (int other = 1; other < blockDim.y; ++other) R::add(sum, shares[other][threadIdx.x]);
    if (n_parts == 1) {
        narrow(sum, out + places_at(kept, table, n_kept_modes).out);
    } else {
        partial[part * n_kept + kept] = sum;
    }
}

// Sums along long runs: a block takes a part of one sum, its threads every 256th entry.
template <class R, class T>
__device__ __forceinline__ void along(
    const T* left, const T* right, T* out, typename R::Sum* partial, const Long* table, int n_kept_modes, int n_sum_modes, Long n_kept,
    Long n_sums, Long per_part, int n_parts
) {
    __shared__ double parts[32];
    Long part = blockIdx.x;
    const Long kept = rest_of(part, n_kept);
    const Places own = places_at(kept, table, n_kept_modes);
    const Long* modes = table + 4 * n_kept_modes;
    const Long begin = part * per_part + threadIdx.x, end = min((part + 1) * per_part, n_sums);
    left += own.left;
    right += own.right;
    typename R::Sum sum = R::zero();
    if (n_sum_modes == 1) {
        const Long left_step = modes[1], right_step = modes[2];
#pragma unroll 4
        for (Long index = begin; index < end; index += 256) R::add_product(sum, left[index * left_step], right[index * right_step]);
    } else {
#pragma unroll 1
        for (Long index = begin; index < end; index += 256) {
            const Places at = places_at(index, modes, n_sum_modes);
            R::add_product(sum, left[at.left], right[at.right]);
        }
    }
    sum = R::over_block(sum, parts);
    if (threadIdx.x != 0) return;
    if (n_parts == 1) {
        narrow(sum, out + own.out);
    } else {
        partial[part * n_kept + kept] = sum;
    }
}

// The parts of each sum, added in their order.
template <class R, class T>
__device__ __forceinline__ void end_of_sums(
    const typename R::Sum* partial, T* out, const Long* table, int n_modes, Long n_kept, int n_parts
) {
    const Long kept = (Long)blockIdx.x * 256 + threadIdx.x;
    if (kept >= n_kept) return;
    typename R::Sum sum = R::zero();
    for (int part = 0; part < n_parts; ++part) R::add(sum, partial[part * n_kept + kept]);
    narrow(sum, out + places_at(kept, table, n_modes).out);
}

#define SUMS(LETTER, T, R, S)                                                                                    \
    extern "C" __global__ void __launch_bounds__(256) products_##LETTER(                                         \
        const T* __restrict__ left, const T* __restrict__ right, T* __restrict__ out,                            \
        const long long* __restrict__ table, int n_modes, long long total) {                                     \
        each_product<R, T>(left, right, out, table, n_modes, total);                                             \
    }                                                                                                            \
    extern "C" __global__ void __launch_bounds__(256, 3) sums_across_##LETTER(                                      \
        const T* __restrict__ left, const T* __restrict__ right, T* __restrict__ out, S* __restrict__ partial,   \
        const long long* __restrict__ table, int n_kept_modes, int n_sum_modes, long long n_kept,                 \
        long long n_sums, long long each, int n_parts) {                                                                       \
        across<R, T>(left, right, out, partial, table, n_kept_modes, n_sum_modes, n_kept, n_sums, each, n_parts);              \
    }                                                                                                            \
    extern "C" __global__ void __launch_bounds__(256, 5) sums_along_##LETTER(                                       \
        const T* __restrict__ left, const T* __restrict__ right, T* __restrict__ out, S* __restrict__ partial,   \
        const long long* __restrict__ table, int n_kept_modes, int n_sum_modes, long long n_kept,                 \
        long long n_sums, long long each, int n_parts) {                                                                       \
        along<R, T>(left, right, out, partial, table, n_kept_modes, n_sum_modes, n_kept, n_sums, each, n_parts);               \
    }                                                                                                            \
    extern "C" __global__ void __launch_bounds__(256) sums_end_##LETTER(                                         \
        const S* __restrict__ partial, T* __restrict__ out, const long long* __restrict__ table, int n_modes,     \
        long long n_kept, int n_parts) {                                                                         \
        end_of_sums<R, T>(partial, out, table, n_modes, n_kept, n_parts);                                        \
    }
SUMS(f, float, Real, double)
SUMS(d, double, Real, double)
SUMS(F, float2, Complex, double2)
SUMS(D, double2, Complex, double2)
