#include "common.cuh"

// The second step of an MTTKRP: sums of partial products (P, S, R) over one of their first two modes, column by column,
// with weights. cuBLAS has no such product: each column would be a matrix by itself, of stride R. Every entry is read
// once and used for one multiplication, so that the floor is P S R entries over the bandwidth of the memory. A thread
// keeps ROWS results, which share the weights that it loads and have as many loads on their way.
// V entries are one load of 16 bytes where R is a multiple of that, else one entry.

#define THREADS 256
#define ROWS 4

template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
    T entry[V];
};

template <class T, int V>
__device__ __forceinline__ void add_product(Pack<T, V>& total, const Pack<T, V>& left, const Pack<T, V>& right) {
#pragma unroll
    for (int v = 0; v < V; ++v) total.entry[v] += left.entry[v] * right.entry[v];
}

// out[c, s, r] = sum over the p of piece c of partial[p, s, r] weights[p, r]; a piece is `length` of the p.
// One thread for each (s, r) of the first quarter of the s, and the same place in the other quarters: neighbouring
// threads read neighbouring packs of each row p. blockIdx.x runs over the pieces slowest.
template <class T, int V>
__device__ void sum_first(
    const T* partial_entries, const T* weight_entries, long long n_first, long long n_second, int rank,
    long long length, T* out_entries) {
    const Pack<T, V>* partial = reinterpret_cast<const Pack<T, V>*>(partial_entries);
    const Pack<T, V>* weights = reinterpret_cast<const Pack<T, V>*>(weight_entries);
    const int columns = rank / V;
    const long long quarter = (n_second + ROWS - 1) / ROWS * columns, row = n_second * columns;
    const long long n_blocks = (quarter + THREADS - 1) / THREADS, piece = blockIdx.x / n_blocks;
    const long long place = (blockIdx.x % n_blocks) * THREADS + threadIdx.x;
    if (place >= quarter) return;
    const long long begin = piece * length, end = min(begin + length, n_first);
    const int column = place % columns;
    Pack<T, V> total[ROWS] = {};
#pragma unroll 2
    for (long long p = begin; p < end; ++p) {
        const Pack<T, V> weight = weights[p * columns + column];
#pragma unroll
        for (int j = 0; j < ROWS; ++j)
            if (place + j * quarter < row) add_product(total[j], partial[p * row + place + j * quarter], weight);
    }
    Pack<T, V>* out = reinterpret_cast<Pack<T, V>*>(out_entries) + piece * row + place;
#pragma unroll
    for (int j = 0; j < ROWS; ++j)
        if (place + j * quarter < row) out[j * quarter] = total[j];
}

// out[c, p, r] = sum over the s of piece c of partial[p, s, r] weights[s, r]; a piece is `length` of the s.
// A block has `slots` threads for each of the packs r of its tile of columns, and `across` rows side by side: thread
// (row, slot, pack), pack fastest, takes every slots-th s, so that a block reads stretches of slots x R entries. The
// slots' sums are added in their order. blockIdx.x: pieces slowest, then tiles of columns, then rows.
template <class T, int V>
__device__ void sum_second(
    const T* partial_entries, const T* weight_entries, long long n_first, long long n_second, int rank,
    long long length, int slots, int across, T* out_entries) {
    __shared__ Pack<T, V> sums[THREADS * ROWS];
    const Pack<T, V>* partial = reinterpret_cast<const Pack<T, V>*>(partial_entries);
    const Pack<T, V>* weights = reinterpret_cast<const Pack<T, V>*>(weight_entries);
    const int columns = rank / V, width = min(columns, THREADS), n_tiles = (columns + width - 1) / width;
    const long long height = (long long)across * ROWS, n_blocks = (n_first + height - 1) / height;
    const long long block = blockIdx.x % n_blocks, tile = blockIdx.x / n_blocks % n_tiles;
    const long long piece = blockIdx.x / n_blocks / n_tiles;
    const int column = tile * width + threadIdx.x % width, slot = threadIdx.x / width % slots;
    const int beside = threadIdx.x / width / slots;
    const bool works = beside < across && column < columns;
    const long long first = block * height + beside, begin = piece * length, end = min(begin + length, n_second);
    Pack<T, V> total[ROWS] = {};
    if (works) {
        const Pack<T, V>* row = partial + first * n_second * columns + column;
        const long long apart = across * n_second * columns;
        for (long long s = begin + slot; s < end; s += slots) {
            const Pack<T, V> weight = weights[s * columns + column];
#pragma unroll
            for (int j = 0; j < ROWS; ++j)
                if (first + (long long)j * across < n_first)
                    add_product(total[j], row[s * columns + j * apart], weight);
        }
    }
#pragma unroll
    for (int j = 0; j < ROWS; ++j) sums[j * THREADS + threadIdx.x] = total[j];
    __syncthreads();
    if (!works || slot) return;
#pragma unroll
    for (int j = 0; j < ROWS; ++j) {
        const long long p = first + (long long)j * across;
        if (p >= n_first) continue;
        Pack<T, V> whole = sums[j * THREADS + threadIdx.x];
        for (int other = 1; other < slots; ++other) {
            const Pack<T, V> part = sums[j * THREADS + threadIdx.x + other * width];
#pragma unroll
            for (int v = 0; v < V; ++v) whole.entry[v] += part.entry[v];
        }
        reinterpret_cast<Pack<T, V>*>(out_entries)[(piece * n_first + p) * columns + column] = whole;
    }
}

#define SUMS(T, V)                                                                                                    \
    extern "C" __global__ void __launch_bounds__(THREADS, 3) sum_first_##T##V(                                        \
        const T* partial, const T* weights, long long n_first, long long n_second, int rank, long long length,        \
        T* out) {                                                                                                     \
        sum_first<T, V>(partial, weights, n_first, n_second, rank, length, out);                                      \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS, 3) sum_second_##T##V(                                       \
        const T* partial, const T* weights, long long n_first, long long n_second, int rank, long long length,        \
        int slots, int across, T* out) {                                                                              \
        sum_second<T, V>(partial, weights, n_first, n_second, rank, length, slots, across, out);                      \
    }

SUMS(float, 1)
SUMS(float, 4)
SUMS(double, 1)
SUMS(double, 2)
