// The M step of the overlapping block model on dense rows, (n, k) float32 (see block_strengths_cpu.py): sums of columns
// in double precision, and steps of F <- sqrt(F a / (S - min(F, S / 2))).
//
// A block takes `chunk` rows and `lanes` columns (a power of two up to 32), its 256 threads 256 / lanes rows at once, so
// that reads are whole sectors. Each block leaves its sums of columns; a second kernel adds those of all blocks in their
// order. How much sums have changed stays on the GPU: when they have settled, the steps that follow do nothing. A step
// reads 8 bytes and writes 4 for each entry.
#include "common.cuh"

namespace {

constexpr double settled = 1e-4;

struct Place {
    int column, row_lane, row_lanes;
    long long first, last;
};

__device__ __forceinline__ Place place_of(long long n_rows, int k, int lanes, int chunk, int n_tiles) {
    Place place;
    place.column = static_cast<int>(blockIdx.x % n_tiles) * lanes + threadIdx.x % lanes;
    place.row_lane = threadIdx.x / lanes;
    place.row_lanes = blockDim.x / lanes;
    place.first = static_cast<long long>(blockIdx.x / n_tiles) * chunk;
    place.last = place.first + chunk < n_rows ? place.first + chunk : n_rows;
    if (place.column >= k) place.last = place.first;
    return place;
}

// The sums of a block's columns, in the order of its row lanes.
__device__ __forceinline__ void leave_sums(const Place& place, double sum, int k, int lanes, int n_tiles, double* parts) {
    __shared__ double sums[256];
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (place.row_lane != 0 || place.column >= k) return;
    double total = 0;
    for (int lane = 0; lane < place.row_lanes; ++lane) total += sums[lane * lanes + threadIdx.x];
    parts[static_cast<long long>(blockIdx.x / n_tiles) * k + place.column] = total;
}

}  // namespace

// parts (chunks, k): sums of the columns of (n_rows, k) values.
extern "C" __global__ void __launch_bounds__(256) column_sums(
    const float* __restrict__ values, long long n_rows, int k, int lanes, int chunk, int n_tiles, double* __restrict__ parts) {
    const Place place = place_of(n_rows, k, lanes, chunk, n_tiles);
    double sum = 0;
    for (long long row = place.first + place.row_lane; row < place.last; row += place.row_lanes)
        sum += values[row * k + place.column];
    leave_sums(place, sum, k, lanes, n_tiles, parts);
}

// strengths = expected * scale, and the sums of their columns.
extern "C" __global__ void __launch_bounds__(256) first_strengths(
    const float* __restrict__ expected, const double* __restrict__ scale, long long n_rows, int k, int lanes, int chunk,
    int n_tiles, float* __restrict__ strengths, double* __restrict__ parts) {
    const Place place = place_of(n_rows, k, lanes, chunk, n_tiles);
    double sum = 0;
    for (long long row = place.first + place.row_lane; row < place.last; row += place.row_lanes) {
        const float f = static_cast<float>(expected[row * k + place.column] * scale[place.column]);
        strengths[row * k + place.column] = f;
        sum += f;
    }
    leave_sums(place, sum, k, lanes, n_tiles, parts);
}

// A step, from the sums S of the last one; nothing where these had settled.
extern "C" __global__ void __launch_bounds__(256) next_strengths(
    const float* __restrict__ expected, const double* __restrict__ totals, const double* __restrict__ change,
    long long n_rows, int k, int lanes, int chunk, int n_tiles, float* __restrict__ strengths, double* __restrict__ parts) {
    if (*change < settled) return;
    const Place place = place_of(n_rows, k, lanes, chunk, n_tiles);
    const double total = place.column < k ? totals[place.column] : 0;
    double sum = 0;
    for (long long row = place.first + place.row_lane; row < place.last; row += place.row_lanes) {
        double f = strengths[row * k + place.column];
        const double rest = total - (f < 0.5 * total ? f : 0.5 * total);
        if (f > 0 && rest > 0) {
            f = sqrt(f * expected[row * k + place.column] / rest);
            strengths[row * k + place.column] = static_cast<float>(f);
        }
        sum += f;
    }
    leave_sums(place, sum, k, lanes, n_tiles, parts);
}

// totals (k,): sums of the parts, in their order; change: the largest relative one. A block; nothing where they had
// settled, but for the first sums.
extern "C" __global__ void __launch_bounds__(256) fold_columns(
    const double* __restrict__ parts, int n_chunks, int k, int is_first, double* __restrict__ totals,
    double* __restrict__ change) {
    __shared__ double turns[32];
    const bool is_done = !is_first && *change < settled;
    __syncthreads();  // all have read it
    if (is_done) return;
    double turn = 0;
    for (int column = threadIdx.x; column < k; column += blockDim.x) {
        double total = 0;
        for (int chunk = 0; chunk < n_chunks; ++chunk) total += parts[static_cast<long long>(chunk) * k + column];
        const double before = is_first ? 0 : totals[column];
        if (before > 0) {
            const double here = fabs(total / before - 1);
            turn = here > turn ? here : turn;
        }
        totals[column] = total;
    }
    turn = warp_max(turn);
    if (threadIdx.x % 32 == 0) turns[threadIdx.x / 32] = turn;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int warp = 1; warp < static_cast<int>(blockDim.x) / 32; ++warp) turn = turns[warp] > turn ? turns[warp] : turn;
    *change = is_first ? 1 : turn;
}

// ---- sparse supports: entries in the order of their groups (communities, of each side in a bipartite graph)

// parts (n_pieces,): sums of values over at most `longest` entries of one group each, the entries order[begins[p]] ...;
// a warp for each piece. It reads 8 + 8 bytes an entry, the values from anywhere.
extern "C" __global__ void __launch_bounds__(128) group_sums(
    const double* __restrict__ values, const long long* __restrict__ order, const long long* __restrict__ starts,
    const int* __restrict__ groups, const long long* __restrict__ begins, int n_pieces, int longest,
    double* __restrict__ parts) {
    const long long warp = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
    if (warp >= n_pieces) return;
    const int lane = threadIdx.x % 32;
    const long long begin = begins[warp], whole = starts[groups[warp] + 1];
    const long long end = begin + longest < whole ? begin + longest : whole;
    double sum = 0;
    for (long long place = begin + lane; place < end; place += 32) sum += values[order[place]];
    sum = warp_sum(sum);
    if (lane == 0) parts[warp] = sum;
}

// totals (n_groups,): of the pieces of each group, firsts[g] ... firsts[g + 1], in their order.
extern "C" __global__ void fold_groups(
    const double* __restrict__ parts, const long long* __restrict__ firsts, int n_groups, double* __restrict__ totals) {
    const int group = blockIdx.x * blockDim.x + threadIdx.x;
    if (group >= n_groups) return;
    double total = 0;
    for (long long piece = firsts[group]; piece < firsts[group + 1]; ++piece) total += parts[piece];
    totals[group] = total;
}

// A step of the strengths of entries, from the sums S of the last one; nothing where these had settled.
extern "C" __global__ void next_entries(
    const double* __restrict__ expected, const int* __restrict__ support, const double* __restrict__ totals,
    const double* __restrict__ change, long long n_entries, double* __restrict__ strengths) {
    const long long entry = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (entry >= n_entries || *change < settled) return;
    const double f = strengths[entry], total = totals[support[entry]];
    const double rest = total - (f < 0.5 * total ? f : 0.5 * total);
    if (f > 0 && rest > 0) strengths[entry] = sqrt(f * expected[entry] / rest);
}
