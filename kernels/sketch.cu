// Sketches: hashed sums, products of spectra, and answers read off. No atomics: every place adds up what is hashed to it,
// in a fixed order, from lists of indices sorted by bucket.
//
// Codes are int32: bucket t or index i with sign 1 as it is, with sign -1 as its one's complement (~t, ~i).
// Letters: B repeats, L length, F = L / 2 + 1, R columns, n indices. starts (B, L + 1): where the list of a bucket begins.
#include "common.cuh"

struct Signed {
    int value;
    bool negative;
    __device__ explicit Signed(int code) : value(code < 0 ? ~code : code), negative(code < 0) {}
};

// out[b, r, t] = sum of sign x[i, r] over the indices i of bucket t; x[i, r] lies at i * x_row + r * x_column.
// A thread for each place, for up to 16 columns: the list's ends are read once for them. Places are written in rows of
// 128 bytes a warp, which is what takes the time: floor B R L entries written; where n < L most lists are empty.
constexpr int SKETCH_COLUMNS = 16;
template <class T>
__device__ void count_sketch(const T* __restrict__ x, long long x_row, long long x_column, int n_columns,
                             const int* __restrict__ order, const int* __restrict__ starts, int n, int length,
                             T* __restrict__ out) {
    const int n_parts = (length + blockDim.x - 1) / blockDim.x;
    const int n_groups = (n_columns + SKETCH_COLUMNS - 1) / SKETCH_COLUMNS;
    const int place = blockIdx.x % n_parts * blockDim.x + threadIdx.x;
    const int group = blockIdx.x / n_parts % n_groups;
    const long long repeat = blockIdx.x / n_parts / n_groups;
    if (place >= length) return;
    const int* list = order + repeat * n;
    const int begin = starts[repeat * (length + 1) + place], end = starts[repeat * (length + 1) + place + 1];
    const int last = min(n_columns, (group + 1) * SKETCH_COLUMNS);
    for (int column = group * SKETCH_COLUMNS; column < last; ++column) {
        T sum = 0;
        for (int at = begin; at < end; ++at) {
            const Signed index(list[at]);
            const T value = x[index.value * x_row + column * x_column];
            sum += index.negative ? -value : value;
        }
        out[(repeat * n_columns + column) * length + place] = sum;
    }
}

// First of two steps of the sketch of a dense tensor, whose rows are hashed by the sum of two codes, one of `other`
// (n_other) and one of a sorted mode (n): out[b, c, u] = sum of sign tensor[row, first_column + c] over the rows of
// bucket u, which begin at other_places[o] + stride j, in entries.
// distinct: only entries with other < sorted index < column, of a tensor (n, n, n).
//
// A warp adds up the rows of a bucket for 512 bytes of columns, four loads of a lane in flight; it finds the rows by
// looking up, for 32 others at a time, the one bucket of the sorted mode that completes the sum, and puts them in a
// queue. 32 buckets make a tile, turned in shared memory so that both reading and writing run along memory.
// Floor: the tensor is read once for each repeat; n_columns L entries are written.
constexpr int TILE = 32, ROW_WARPS = 8, QUEUE = 64, FLIGHT = 4;

template <class T, int WIDTH>
struct alignas(sizeof(T) * WIDTH) Pack {
    T part[WIDTH];
};

template <class T>
struct Rows {
    const T* tensor;
    int end_column;
    bool distinct;

    // Add up to `count` queued rows to the sums of this lane's columns. place: entries from the tensor's beginning.
    template <int WIDTH, bool PACKED>
    __device__ void add(const long long* place, const int* index, int count, int column, T (&sum)[WIDTH]) const {
        for (int first = 0; first < count; first += FLIGHT) {
            Pack<T, WIDTH> found[FLIGHT];
#pragma unroll
            for (int flight = 0; flight < FLIGHT; ++flight) {
                const bool there = first + flight < count;
                const int after = there && distinct ? index[first + flight] : -1;
                const long long code = there ? place[first + flight] : 0;
                const T* row = tensor + (code < 0 ? ~code : code);
                if (PACKED) {
                    Pack<T, WIDTH> got = {};
                    if (there && column < end_column && column + WIDTH - 1 > after)
                        got = *reinterpret_cast<const Pack<T, WIDTH>*>(row + column);
#pragma unroll
                    for (int w = 0; w < WIDTH; ++w) {
                        const T value = column + w > after ? got.part[w] : T(0);
                        found[flight].part[w] = code < 0 ? -value : value;
                    }
                } else {
#pragma unroll
                    for (int w = 0; w < WIDTH; ++w) {
                        const int at = column + 32 * w;
                        const T value = there && at < end_column && at > after ? row[at] : T(0);
                        found[flight].part[w] = code < 0 ? -value : value;
                    }
                }
            }
#pragma unroll
            for (int flight = 0; flight < FLIGHT; ++flight)
#pragma unroll
                for (int w = 0; w < WIDTH; ++w) sum[w] += found[flight].part[w];
        }
    }
};

template <class T, bool PACKED>
__device__ void sketch_rows(const T* __restrict__ tensor, int first_column, int n_columns,
                            const int* __restrict__ other_codes, const long long* __restrict__ other_places,
                            int n_other, const int* __restrict__ order, const int* __restrict__ starts, int n,
                            long long stride, int length, int distinct, T* __restrict__ out) {
    constexpr int WIDTH = 16 / sizeof(T), CHUNK = 32 * WIDTH;
    __shared__ T tile[TILE][CHUNK + 1];
    __shared__ long long places[ROW_WARPS][QUEUE];
    __shared__ int indices[ROW_WARPS][QUEUE];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int n_chunks = (n_columns + CHUNK - 1) / CHUNK, n_tiles = (length + TILE - 1) / TILE;
    // neighbouring blocks read neighbouring parts of the same rows
    const int chunk = blockIdx.x % n_chunks, first_bucket = blockIdx.x / n_chunks % n_tiles * TILE;
    const long long repeat = blockIdx.x / n_chunks / n_tiles;
    other_codes += repeat * n_other;
    order += repeat * n;
    starts += repeat * (length + 1);
    const int column = first_column + chunk * CHUNK + (PACKED ? lane * WIDTH : lane);
    const int last_column = first_column + min(n_columns, (chunk + 1) * CHUNK) - 1;
    const Rows<T> rows{tensor, first_column + n_columns, distinct != 0};
    long long* place = places[warp];
    int* index = indices[warp];

    for (int u = warp; u < TILE; u += ROW_WARPS) {
        const int bucket = first_bucket + u;
        T sum[WIDTH] = {};
        int waiting = 0;
        for (int first = 0; first < n_other && bucket < length; first += 32) {
            const int other = first + lane;
            int at = 0, end = 0;
            bool negative = false;
            if (other < n_other) {
                const Signed code(other_codes[other]);
                const int completes = bucket - code.value + (bucket < code.value ? length : 0);
                at = starts[completes];
                end = starts[completes + 1];
                negative = code.negative;
            }
            while (__any_sync(ALL_LANES, at < end)) {
                bool take = at < end;
                int sorted = 0;
                long long found = 0;
                if (take) {
                    const Signed code(order[at++]);
                    sorted = code.value;
                    found = other_places[other] + sorted * stride;
                    if (negative != code.negative) found = ~found;
                    if (distinct) take = other < sorted && sorted < last_column;
                }
                const unsigned taken = __ballot_sync(ALL_LANES, take);
                if (take) {
                    const int at_queue = waiting + __popc(taken & ((1u << lane) - 1));
                    place[at_queue] = found;
                    index[at_queue] = sorted;
                }
                waiting += __popc(taken);
                __syncwarp();
                if (waiting >= 32) {
                    rows.template add<WIDTH, PACKED>(place, index, 32, column, sum);
                    waiting -= 32;
                    const long long rest = place[32 + lane];
                    const int rest_index = index[32 + lane];
                    __syncwarp();
                    place[lane] = rest;
                    index[lane] = rest_index;
                    __syncwarp();
                }
            }
        }
        rows.template add<WIDTH, PACKED>(place, index, waiting, column, sum);
        __syncwarp();
#pragma unroll
        for (int w = 0; w < WIDTH; ++w) tile[u][PACKED ? lane * WIDTH + w : lane + 32 * w] = sum[w];
    }
    __syncthreads();
    const int bucket = first_bucket + lane;
    for (int c = warp; c < CHUNK; c += ROW_WARPS) {
        const long long out_column = (long long)chunk * CHUNK + c;
        if (out_column < n_columns && bucket < length)
            out[(repeat * n_columns + out_column) * length + bucket] = tile[lane][c];
    }
}

// Second step: out[b, t] += sum over columns c of sign_c sums[b, c, t - bucket_c], in double precision.
// A thread for each place; a warp reads rows of 32 neighbours. Floor: sums are read once.
template <class T>
__device__ void fold_columns(const T* __restrict__ sums, const int* __restrict__ codes, int n_columns, int length,
                             double* __restrict__ out) {
    const int n_parts = (length + blockDim.x - 1) / blockDim.x;
    const int place = blockIdx.x % n_parts * blockDim.x + threadIdx.x;
    const long long repeat = blockIdx.x / n_parts;
    if (place >= length) return;
    codes += repeat * n_columns;
    sums += repeat * n_columns * length;
    double total = 0;
#pragma unroll 8
    for (int column = 0; column < n_columns; ++column) {
        const Signed code(codes[column]);
        const int from = place - code.value + (place < code.value ? length : 0);
        const double value = sums[(long long)column * length + from];
        total += code.negative ? -value : value;
    }
    out[repeat * length + place] += total;
}

// out[b, t] = sum over (i, j) with h_i + 2 h_j = t modulo L of sign_i matrix[i, j]; matrix (n, n).
// A thread for each place looks up, for each j, the list of the i that complete the sum: B n L lookups of eight bytes,
// from the cache, and each entry read once for each repeat.
template <class T>
__device__ void sketch_pairs(const T* __restrict__ matrix, const int* __restrict__ codes, const int* __restrict__ order,
                             const int* __restrict__ starts, int n, int length, T* __restrict__ out) {
    const int n_parts = (length + blockDim.x - 1) / blockDim.x;
    const int place = blockIdx.x % n_parts * blockDim.x + threadIdx.x;
    const long long repeat = blockIdx.x / n_parts;
    if (place >= length) return;
    codes += repeat * n;
    order += repeat * n;
    starts += repeat * (length + 1);
    double total = 0;
#pragma unroll 4
    for (int j = 0; j < n; ++j) {
        const int bucket = Signed(codes[j]).value;
        int from = place - bucket + (place < bucket ? length : 0);
        from = from - bucket + (from < bucket ? length : 0);
        for (int at = starts[from]; at < starts[from + 1]; ++at) {
            const Signed i(order[at]);
            const double value = matrix[(long long)i.value * n + j];
            total += i.negative ? -value : value;
        }
    }
    out[repeat * length + place] = T(total);
}

// out[t] += sum of values[order[e]], with their signs, for e from starts[t] to starts[t + 1]. A warp for each place.
extern "C" __global__ void sketch_entries(const double* __restrict__ values, const int* __restrict__ order,
                                          const int* __restrict__ starts, int length, double* __restrict__ out) {
    const int lane = threadIdx.x % 32;
    const long long place = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (place >= length) return;
    double total = 0;
    for (int at = starts[place] + lane; at < starts[place + 1]; at += 32) {
        const Signed entry(order[at]);
        total += entry.negative ? -values[entry.value] : values[entry.value];
    }
    total = warp_sum(total);
    if (lane == 0) out[place] += total;
}

// out[r, i] = scale * median over b of sign[b, i] sketches[b, r, bucket[b, i]]; of an even number, the mean of the two.
// A thread for each answer; its B values are sorted in shared memory, a column of it for each thread (no conflicts).
// Floor: a sector of 32 bytes for each value, where rows of L do not stay in the cache.
template <class T>
__device__ void gather_median(const T* __restrict__ sketches, const int* __restrict__ codes, int n_hashes, int n_columns,
                              int n, int length, double scale, T* __restrict__ out) {
    DYNAMIC_SHARED(T, shared);
    const long long answer = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (answer >= (long long)n_columns * n) return;
    const long long column = answer / n, i = answer % n;
    T* found = shared + threadIdx.x;
    const int step = blockDim.x;
    for (int b = 0; b < n_hashes; ++b) {
        const Signed code(codes[(long long)b * n + i]);
        const T value = sketches[((long long)b * n_columns + column) * length + code.value];
        const T given = code.negative ? -value : value;
        int at = b;
        for (; at > 0 && found[(at - 1) * step] > given; --at) found[at * step] = found[(at - 1) * step];
        found[at * step] = given;
    }
    const int middle = n_hashes / 2;
    const double upper = found[middle * step], lower = found[(middle - (n_hashes % 2 == 0)) * step];
    out[answer] = T(scale * (lower + upper) / 2);
}

template <class C>
__device__ __forceinline__ C times(C x, C y) {
    C product;
    product.x = x.x * y.x - x.y * y.y;
    product.y = x.x * y.y + x.y * y.x;
    return product;
}

// The product of up to three spectra at one place; those that repeat come from the nearest cache.
template <class C>
__device__ __forceinline__ C product_at(const C* first, const C* second, const C* third, int n_factors, long long at) {
    C product = first[at];
    if (n_factors > 1) product = times(product, second[at]);
    if (n_factors > 2) product = times(product, third[at]);
    return product;
}

// out[b, f] += sum_r weights[r] first[b, r, f] second[b, r, f] third[b, r, f], of the first n_factors; in double.
// A thread for each place, neighbours in f. Floor: B R F entries of each different array read once.
template <class C>
__device__ void add_products(const C* __restrict__ first, const C* __restrict__ second, const C* __restrict__ third,
                             int n_factors, const double* __restrict__ weights, int n_columns, int n_places,
                             double2* __restrict__ out) {
    const int n_parts = (n_places + blockDim.x - 1) / blockDim.x;
    const int place = blockIdx.x % n_parts * blockDim.x + threadIdx.x;
    const long long repeat = blockIdx.x / n_parts;
    if (place >= n_places) return;
    double2 total = out[repeat * n_places + place];
#pragma unroll 4
    for (int r = 0; r < n_columns; ++r) {
        const long long at = (repeat * n_columns + r) * n_places + place;
        const C product = product_at(first, second, third, n_factors, at);
        total.x += weights[r] * product.x;
        total.y += weights[r] * product.y;
    }
    out[repeat * n_places + place] = total;
}

// out[b, r] = sum_f weight_f Re(spectrum[b, f] conj(product[b, r, f])), the inner product over L real places; in double.
// A block for each (b, r). Floor: B R F entries of each different array read once; spectrum stays in the cache.
template <class C>
__device__ void inner_products(const double2* __restrict__ spectrum, const C* __restrict__ first,
                               const C* __restrict__ second, const C* __restrict__ third, int n_factors, int n_columns,
                               int n_places, int length, double* __restrict__ out) {
    __shared__ double parts[32];
    const long long repeat = blockIdx.x / n_columns, row = (long long)blockIdx.x * n_places;
    double total = 0;
    for (int place = threadIdx.x; place < n_places; place += blockDim.x) {
        const C product = product_at(first, second, third, n_factors, row + place);
        const double2 sketch = spectrum[repeat * n_places + place];
        const double weight = place == 0 || 2 * (long long)place == length ? 1.0 : 2.0;
        total += weight * (sketch.x * product.x + sketch.y * product.y);
    }
    total = block_sum(total, parts);
    if (threadIdx.x == 0) out[blockIdx.x] = total / length;
}

// out[b, r, f] = spectrum[b, f] conj(product[b, r, f]); out may be one of the factors. A thread for each place.
template <class C>
__device__ void correlate(const C* spectrum, const C* first, const C* second, const C* third, int n_factors,
                          int n_columns, int n_places, C* out) {
    const int n_parts = (n_places + blockDim.x - 1) / blockDim.x;
    const int place = blockIdx.x % n_parts * blockDim.x + threadIdx.x;
    const long long row = blockIdx.x / n_parts, at = row * n_places + place;
    if (place >= n_places) return;
    C product = product_at(first, second, third, n_factors, at);
    product.y = -product.y;
    out[at] = times(spectrum[row / n_columns * n_places + place], product);
}

#define SKETCH_KERNELS(T, C, SUFFIX)                                                                                   \
    extern "C" __global__ void count_sketch_##SUFFIX(                                                                  \
        const T* x, long long x_row, long long x_column, int n_columns, const int* order, const int* starts, int n,    \
        int length, T* out) {                                                                                          \
        count_sketch<T>(x, x_row, x_column, n_columns, order, starts, n, length, out);                                 \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256) sketch_rows_##SUFFIX(                                            \
        const T* tensor, int first_column, int n_columns, const int* other_codes, const long long* other_places,       \
        int n_other, const int* order, const int* starts, int n, long long stride, int length, int distinct, T* out) { \
        sketch_rows<T, false>(tensor, first_column, n_columns, other_codes, other_places, n_other, order,              \
                              starts, n, stride, length, distinct, out);                                               \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256) sketch_packed_rows_##SUFFIX(                                     \
        const T* tensor, int first_column, int n_columns, const int* other_codes, const long long* other_places,       \
        int n_other, const int* order, const int* starts, int n, long long stride, int length, int distinct, T* out) { \
        sketch_rows<T, true>(tensor, first_column, n_columns, other_codes, other_places, n_other, order,               \
                              starts, n, stride, length, distinct, out);                                               \
    }                                                                                                                  \
    extern "C" __global__ void fold_columns_##SUFFIX(const T* sums, const int* codes, int n_columns, int length,       \
                                                     double* out) {                                                    \
        fold_columns<T>(sums, codes, n_columns, length, out);                                                          \
    }                                                                                                                  \
    extern "C" __global__ void sketch_pairs_##SUFFIX(const T* matrix, const int* codes, const int* order,              \
                                                     const int* starts, int n, int length, T* out) {                   \
        sketch_pairs<T>(matrix, codes, order, starts, n, length, out);                                                 \
    }                                                                                                                  \
    extern "C" __global__ void gather_median_##SUFFIX(const T* sketches, const int* codes, int n_hashes,               \
                                                      int n_columns, int n, int length, double scale, T* out) {        \
        gather_median<T>(sketches, codes, n_hashes, n_columns, n, length, scale, out);                                 \
    }                                                                                                                  \
    extern "C" __global__ void add_products_##SUFFIX(const C* first, const C* second, const C* third, int n_factors,   \
                                                     const double* weights, int n_columns, int n_places,               \
                                                     double2* out) {                                                   \
        add_products<C>(first, second, third, n_factors, weights, n_columns, n_places, out);                           \
    }                                                                                                                  \
    extern "C" __global__ void inner_products_##SUFFIX(const double2* spectrum, const C* first, const C* second,       \
                                                       const C* third, int n_factors, int n_columns, int n_places,     \
                                                       int length, double* out) {                                      \
        inner_products<C>(spectrum, first, second, third, n_factors, n_columns, n_places, length, out);                \
    }                                                                                                                  \
    extern "C" __global__ void correlate_##SUFFIX(const C* spectrum, const C* first, const C* second, const C* third,  \
                                                  int n_factors, int n_columns, int n_places, C* out) {                \
        correlate<C>(spectrum, first, second, third, n_factors, n_columns, n_places, out);                             \
    }

SKETCH_KERNELS(float, float2, float)
SKETCH_KERNELS(double, double2, double)
