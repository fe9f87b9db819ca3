#include "common.cuh"
// Sums over the entries of sparse rows, and products of sparse rows with dense blocks, always in one fixed order.
//
// A row is entries begins[r] ... ends[r] - 1; with begins = indptr and ends = indptr + 1 that is CSR. Rows of more than
// `longest` entries are left alone: they come as segments in a second launch, whose sums add_segments adds.

// out[r, :] = sum over entries e of row r of values[e] * block[indices[e], :].
//
// A group of LANES lanes takes a row and 4 * LANES columns; a block is 256 threads, the tile of columns is the slow
// part of the block's number, so that the rows of `block` in use at a time (V * 512 bytes at 32 lanes) stay in the L2
// cache. Each entry reads 8 bytes of the matrix, the same for all lanes, and 16 bytes a lane of the block: 4 q + 8
// bytes an entry in all, against 2 q operations, so that the L2 cache sets the floor (nnz * (4 q + 8) bytes at about
// 5.5 TB/s on an H100; main memory at 3.35 TB/s where the tile of the block is larger than 50 MB). Four entries are on
// their way at once.
template <bool ALIGNED>
struct Four {
    // Columns of a lane: next to each other where 16 bytes can be read at a time, else LANES apart, so that the lanes of
    // a group read neighbours.
    template <int LANES>
    static __device__ __forceinline__ int column(int lane, int place) {
        return ALIGNED ? 4 * lane + place : lane + LANES * place;
    }

    template <int LANES>
    static __device__ __forceinline__ void load(const float* row, int lane, int n, float* to) {
        if (ALIGNED) {
            if (4 * lane < n) {
                const float4 got = *reinterpret_cast<const float4*>(row + 4 * lane);
                to[0] = got.x; to[1] = got.y; to[2] = got.z; to[3] = got.w;
            } else {
                to[0] = to[1] = to[2] = to[3] = 0.0f;
            }
        } else {
#pragma unroll
            for (int place = 0; place < 4; ++place) {
                const int at = column<LANES>(lane, place);
                to[place] = at < n ? row[at] : 0.0f;
            }
        }
    }

    template <int LANES>
    static __device__ __forceinline__ void store(float* row, int lane, int n, const float* from) {
        if (ALIGNED) {
            if (4 * lane < n) *reinterpret_cast<float4*>(row + 4 * lane) = make_float4(from[0], from[1], from[2], from[3]);
        } else {
#pragma unroll
            for (int place = 0; place < 4; ++place) {
                const int at = column<LANES>(lane, place);
                if (at < n) row[at] = from[place];
            }
        }
    }
};

template <int LANES, bool ALIGNED>
__device__ __forceinline__ void csr_dot(const long long* __restrict__ begins, const long long* __restrict__ ends,
                                        const int* __restrict__ indices, const float* __restrict__ values,
                                        long long n_rows, const float* __restrict__ block, long long block_lead,
                                        int n_columns, float* __restrict__ out, long long out_lead,
                                        long long longest) {
    const int groups = blockDim.x / LANES, lane = threadIdx.x % LANES;
    const long long n_row_blocks = (n_rows + groups - 1) / groups;
    const long long row = blockIdx.x % n_row_blocks * groups + threadIdx.x / LANES;
    const int first = int(blockIdx.x / n_row_blocks) * 4 * LANES, n = min(n_columns - first, 4 * LANES);
    if (row >= n_rows) return;
    const long long begin = begins[row], end = ends[row];
    if (end - begin > longest) return;
    block += first;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    long long e = begin;
    for (; e + 4 <= end; e += 4) {
        float value[4], got[4][4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            value[i] = values[e + i];
            Four<ALIGNED>::template load<LANES>(block + indices[e + i] * block_lead, lane, n, got[i]);
        }
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
            for (int place = 0; place < 4; ++place) sum[place] += value[i] * got[i][place];
    }
    for (; e < end; ++e) {
        float got[4];
        Four<ALIGNED>::template load<LANES>(block + indices[e] * block_lead, lane, n, got);
#pragma unroll
        for (int place = 0; place < 4; ++place) sum[place] += values[e] * got[place];
    }
    Four<ALIGNED>::template store<LANES>(out + row * out_lead + first, lane, n, sum);
}

#define CSR_DOT(LANES, ALIGNED, NAME)                                                                                  \
    extern "C" __global__ void __launch_bounds__(256) NAME(                                                            \
        const long long* __restrict__ begins, const long long* __restrict__ ends, const int* __restrict__ indices,     \
        const float* __restrict__ values, long long n_rows, const float* __restrict__ block, long long block_lead,     \
        int n_columns, float* __restrict__ out, long long out_lead, long long longest) {                               \
        csr_dot<LANES, ALIGNED>(begins, ends, indices, values, n_rows, block, block_lead, n_columns, out, out_lead,    \
                                longest);                                                                              \
    }
CSR_DOT(8, true, csr_dot_8_aligned)
CSR_DOT(16, true, csr_dot_16_aligned)
CSR_DOT(32, true, csr_dot_32_aligned)
CSR_DOT(8, false, csr_dot_8)
CSR_DOT(16, false, csr_dot_16)
CSR_DOT(32, false, csr_dot_32)

// out[rows[r], :] = the sum of the rows indptr[r] ... indptr[r + 1] - 1 of `parts` (n_segments, n_columns), in order.
// One thread a column of a row: neighbours read neighbours, 4 bytes a segment and column.
template <class T>
__device__ __forceinline__ void add_segments(const long long* __restrict__ rows, const long long* __restrict__ indptr,
                                             long long n_rows, const T* __restrict__ parts, int n_columns,
                                             T* __restrict__ out, long long out_lead) {
    const long long place = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (place >= n_rows * n_columns) return;
    const long long row = place / n_columns, column = place % n_columns;
    T sum = 0;
    for (long long part = indptr[row]; part < indptr[row + 1]; ++part) sum += parts[part * n_columns + column];
    out[rows[row] * out_lead + column] = sum;
}

extern "C" __global__ void add_segments_float(const long long* __restrict__ rows, const long long* __restrict__ indptr,
                                              long long n_rows, const float* __restrict__ parts, int n_columns,
                                              float* __restrict__ out, long long out_lead) {
    add_segments(rows, indptr, n_rows, parts, n_columns, out, out_lead);
}

extern "C" __global__ void add_segments_double(const long long* __restrict__ rows, const long long* __restrict__ indptr,
                                               long long n_rows, const double* __restrict__ parts, int n_columns,
                                               double* __restrict__ out, long long out_lead) {
    add_segments(rows, indptr, n_rows, parts, n_columns, out, out_lead);
}

// out[r] = the sum of the values of row r, in double precision. A warp a row, its lanes along the entries: 4 (8) bytes
// an entry once, which is the floor.
template <class T>
__device__ __forceinline__ void row_sums(const long long* __restrict__ begins, const long long* __restrict__ ends,
                                         const T* __restrict__ values, long long n_rows, double* __restrict__ out,
                                         long long longest) {
    const int lane = threadIdx.x % 32;
    const long long row = blockIdx.x * (long long)(blockDim.x / 32) + threadIdx.x / 32;
    if (row >= n_rows) return;
    const long long begin = begins[row], end = ends[row];
    if (end - begin > longest) return;
    double sum = 0.0;
    for (long long e = begin + lane; e < end; e += 32) sum += double(values[e]);
    sum = warp_sum(sum);
    if (lane == 0) out[row] = sum;
}

extern "C" __global__ void row_sums_float(const long long* __restrict__ begins, const long long* __restrict__ ends,
                                          const float* __restrict__ values, long long n_rows, double* __restrict__ out,
                                          long long longest) {
    row_sums(begins, ends, values, n_rows, out, longest);
}

extern "C" __global__ void row_sums_double(const long long* __restrict__ begins, const long long* __restrict__ ends,
                                           const double* __restrict__ values, long long n_rows,
                                           double* __restrict__ out, long long longest) {
    row_sums(begins, ends, values, n_rows, out, longest);
}

// row[e] = the row of entry e. A warp a row: 4 bytes written an entry.
extern "C" __global__ void entry_rows(const long long* __restrict__ indptr, long long n_rows, int* __restrict__ row) {
    const long long mine = blockIdx.x * (long long)(blockDim.x / 32) + threadIdx.x / 32;
    if (mine >= n_rows) return;
    for (long long e = indptr[mine] + threadIdx.x % 32; e < indptr[mine + 1]; e += 32) row[e] = int(mine);
}

// rows[r, c] = scale[r] * rows[r, c]^2, in place: one read and one write of the block between two matrix products.
extern "C" __global__ void scaled_squares(float* __restrict__ rows, const float* __restrict__ scale, long long n_rows,
                                          int n_columns) {
    const long long place = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (place >= n_rows * n_columns) return;
    const float value = rows[place];
    rows[place] = scale[place / n_columns] * (value * value);
}

// What the words take out of the third moment along directions: with a = (v u) and b = (z u) of a word (row) and a
// direction (column), b becomes n a^2 - a b and a becomes a^2, in place.
extern "C" __global__ void word_terms(float* __restrict__ along_v, float* __restrict__ along_z,
                                      const float* __restrict__ n, long long n_rows, int n_columns) {
    const long long place = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (place >= n_rows * n_columns) return;
    const float a = along_v[place], b = along_z[place], square = a * a;
    along_v[place] = square;
    along_z[place] = n[place / n_columns] * square - a * b;
}

// pairs[r, c] = pairs[r, c] * factor - diagonal[r] * block[r, c] - mean[r] * along[c], in place: what is left to do for
// the product of a second moment with a block. 12 bytes an entry, the last term in double precision as it cancels most.
extern "C" __global__ void second_moment(float* __restrict__ pairs, const float* __restrict__ block, float factor,
                                         const float* __restrict__ diagonal, const double* __restrict__ mean,
                                         const double* __restrict__ along, long long n_rows, int n_columns) {
    const long long place = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (place >= n_rows * n_columns) return;
    const long long row = place / n_columns;
    const int column = int(place - row * n_columns);
    pairs[place] = pairs[place] * factor - diagonal[row] * block[place] - float(mean[row] * along[column]);
}
