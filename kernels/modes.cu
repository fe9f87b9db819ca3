#include "common.cuh"

// Sums over entries of large arrays. All of them read each entry once, 16 bytes a load where the address allows it, so
// that the floor is the bandwidth of the memory: 8 (4) bytes an entry in double (single) precision, twice that for a
// difference. Sums of squares are kept in double precision: 64 million squares of single precision keep all digits.

#define THREADS 256

template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
    T entry[V];
};

template <class T>
__device__ __forceinline__ double square(T x) {
    return double(x) * double(x);
}

// sums[b] = sum of the squares of the entries that block b takes: vectors of 16 bytes in turn with the other blocks.
// What lies before the first whole vector and after the last is at most two vectors, and block 0's.
template <class T>
__device__ void square_sums(const T* x, long long n, double* sums) {
    constexpr int V = 16 / sizeof(T);
    __shared__ double parts[32];
    const long long before = min((long long)((16 - (unsigned long long)x % 16) % 16 / sizeof(T)), n);
    const long long n_packs = (n - before) / V;
    const Pack<T, V>* packs = reinterpret_cast<const Pack<T, V>*>(x + before);
    const long long step = (long long)gridDim.x * THREADS;
    double total = 0;
#pragma unroll 4
    for (long long i = (long long)blockIdx.x * THREADS + threadIdx.x; i < n_packs; i += step) {
        const Pack<T, V> pack = packs[i];
#pragma unroll
        for (int v = 0; v < V; ++v) total += square(pack.entry[v]);
    }
    if (blockIdx.x == 0) {
        if (threadIdx.x < before) total += square(x[threadIdx.x]);
        const long long last = before + n_packs * V + threadIdx.x;
        if (last < n) total += square(x[last]);
    }
    total = block_sum(total, parts);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

extern "C" __global__ void square_sums_float(const float* x, long long n, double* sums) { square_sums(x, n, sums); }
extern "C" __global__ void square_sums_double(const double* x, long long n, double* sums) { square_sums(x, n, sums); }

// sums[b] = sum of the squares of x - y, the difference taken in double precision and kept nowhere. Neighbouring
// threads take neighbouring entries; x may begin anywhere.
template <class T>
__device__ void difference_sums(const T* x, const T* y, long long n, double* sums) {
    __shared__ double parts[32];
    const long long step = (long long)gridDim.x * THREADS;
    double total = 0;
#pragma unroll 4
    for (long long i = (long long)blockIdx.x * THREADS + threadIdx.x; i < n; i += step)
        total += square(double(x[i]) - double(y[i]));
    total = block_sum(total, parts);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

extern "C" __global__ void difference_sums_float(const float* x, const float* y, long long n, double* sums) {
    difference_sums(x, y, n, sums);
}
extern "C" __global__ void difference_sums_double(const double* x, const double* y, long long n, double* sums) {
    difference_sums(x, y, n, sums);
}

// out[i] = pieces[0, i] + pieces[1, i] + ... in this order, to which `keep` adds what out[i] was. One thread an entry.
template <class T>
__device__ void add_pieces(const T* pieces, int n_pieces, long long n, int keep, T* out) {
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i >= n) return;
    T total = keep ? out[i] : T(0);
#pragma unroll 4
    for (int piece = 0; piece < n_pieces; ++piece) total += pieces[piece * n + i];
    out[i] = total;
}

extern "C" __global__ void add_pieces_float(const float* pieces, int n_pieces, long long n, int keep, float* out) {
    add_pieces(pieces, n_pieces, n, keep, out);
}
extern "C" __global__ void add_pieces_double(const double* pieces, int n_pieces, long long n, int keep, double* out) {
    add_pieces(pieces, n_pieces, n, keep, out);
}
