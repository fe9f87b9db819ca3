// Passes over the edges for overlapping block models (see blocks_cpu.py), and the product with a scaled adjacency.
//
// A warp takes a node. Its lanes go by groups: those of a group share an edge and lie along what is read of the other
// end, so that an edge costs whole sectors, and a warp of narrow rows looks at many edges at once. 32 neighbours, their
// weights and propensities are read together and handed around, so that the reads of rows do not wait for each other.
// Nodes with more than `longest` edges are cut into pieces of so many, each of which leaves its sums in a workspace; they
// are added in the order of the pieces. Every sum has one order, which depends on the node alone: no atomics on numbers.
//
// Bytes per end of an edge: dense 4 k (the row) + 8 (propensity) + 4 (neighbour) + 4 (weight, if any); sparse 12 per entry
// of the other end + 8 + 16 (where its entries lie) + 4 + 4; product 4 or 8 per column + 4 + 4.
#include "common.cuh"

namespace {

constexpr double smallest_rate = 1e-12;
constexpr double ln2 = 0.693147180559945309417232121458;

// Where a warp works: node `node` of all, row `row` of those given, edges begin ... end.
struct Task {
    int row;
    long long begin, end;
    bool is_there;
};

// A row of at most `longest` edges; longer ones are left to the pieces.
__device__ __forceinline__ Task row_task(const long long* indptr, int n_rows, int longest) {
    const long long warp = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
    if (warp >= n_rows) return {0, 0, 0, false};
    const int row = static_cast<int>(warp);
    const long long begin = indptr[row], end = indptr[row + 1];
    return {row, begin, end, end - begin <= longest};
}

// A piece of a long row.
__device__ __forceinline__ Task piece_task(
    const long long* indptr, const int* rows, const long long* begins, int n_pieces, int longest) {
    const long long warp = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
    if (warp >= n_pieces) return {0, 0, 0, false};
    const int row = rows[warp];
    const long long begin = begins[warp], whole = indptr[row + 1];
    return {row, begin, begin + longest < whole ? begin + longest : whole, true};
}

template <class T>
__device__ __forceinline__ T group_sum(T value, int group) {
    for (int distance = group / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

// Over lanes of the same place in their groups.
template <class T>
__device__ __forceinline__ T sum_of_groups(T value, int group) {
    for (int distance = 16; distance >= group; distance /= 2) value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

// ---- dense rows: (n, 4 quads) float32, a lane holds PARTS quads of its node's row, of the other end's and of the sums

template <int PARTS>
__device__ __forceinline__ void dense_edges(
    const Task& task, int node, const int* __restrict__ neighbours, const float* __restrict__ weights, bool has_weights,
    const float4* __restrict__ strengths, int quads, int group, double background, const double* __restrict__ propensity,
    float4 (&mine)[PARTS], float4 (&sums)[PARTS], double& share) {
    const int lane = threadIdx.x % 32, within = lane % group, which = lane / group, at_once = 32 / group;
    const double base = background * propensity[node];
#pragma unroll
    for (int p = 0; p < PARTS; ++p) {
        const int column = within + p * group;
        mine[p] = column < quads ? strengths[static_cast<long long>(node) * quads + column] : make_float4(0, 0, 0, 0);
        sums[p] = make_float4(0, 0, 0, 0);
    }
    share = 0;
    for (long long batch = task.begin; batch < task.end; batch += 32) {
        const int n_here = task.end - batch < 32 ? static_cast<int>(task.end - batch) : 32;
        int other_end = 0;
        float plain = 0, weight = 1;
        if (lane < n_here) {
            other_end = neighbours[batch + lane];
            plain = static_cast<float>(base * propensity[other_end]);
            if (has_weights) weight = weights[batch + lane];
        }
        for (int first = 0; first < n_here; first += at_once) {
            const int source = first + which;
            const int v = __shfl_sync(ALL_LANES, other_end, source);
            const float here_plain = __shfl_sync(ALL_LANES, plain, source);
            const float here_weight = __shfl_sync(ALL_LANES, weight, source);
            float4 other[PARTS];
            float common = 0;
#pragma unroll
            for (int p = 0; p < PARTS; ++p) {
                const int column = within + p * group;
                other[p] = column < quads ? strengths[static_cast<long long>(v) * quads + column] : make_float4(0, 0, 0, 0);
                common += mine[p].x * other[p].x + mine[p].y * other[p].y + mine[p].z * other[p].z + mine[p].w * other[p].w;
            }
            const float rate = fmaxf(group_sum(common, group) + here_plain, static_cast<float>(smallest_rate));
            const float links = source < n_here ? here_weight / expm1f(rate) + 1.0f : 0.0f;
            share += static_cast<double>(here_plain) * links;
#pragma unroll
            for (int p = 0; p < PARTS; ++p) {
                sums[p].x += links * other[p].x;
                sums[p].y += links * other[p].y;
                sums[p].z += links * other[p].z;
                sums[p].w += links * other[p].w;
            }
        }
    }
    share = sum_of_groups(share, group);
#pragma unroll
    for (int p = 0; p < PARTS; ++p) {
        sums[p].x = sum_of_groups(sums[p].x, group);
        sums[p].y = sum_of_groups(sums[p].y, group);
        sums[p].z = sum_of_groups(sums[p].z, group);
        sums[p].w = sum_of_groups(sums[p].w, group);
    }
}

template <int PARTS>
__device__ __forceinline__ void dense_warp(
    const Task& task, long long at, bool is_whole, int first, const int* neighbours, const float* weights, int has_weights,
    const float* strengths, int quads, int group, double background, const double* propensity, float* out, double* shares) {
    if (!task.is_there) return;
    const int lane = threadIdx.x % 32;
    float4 mine[PARTS], sums[PARTS];
    double share;
    dense_edges<PARTS>(
        task, first + task.row, neighbours, weights, has_weights != 0, reinterpret_cast<const float4*>(strengths), quads,
        group, background, propensity, mine, sums, share);
    if (lane == 0) shares[at] = share;
    if (lane >= group) return;
    float4* row = reinterpret_cast<float4*>(out) + at * quads;
#pragma unroll
    for (int p = 0; p < PARTS; ++p) {
        const int column = lane + p * group;
        if (column >= quads) continue;
        if (is_whole) sums[p] = make_float4(
            sums[p].x * mine[p].x, sums[p].y * mine[p].y, sums[p].z * mine[p].z, sums[p].w * mine[p].w);
        row[column] = sums[p];
    }
}

}  // namespace

// out (n_rows, 4 quads), shares (n_rows,): of rows of at most `longest` edges. group : lanes of an edge; at most PARTS
// quads for each of them. weights : one for each end of an edge, looked at if has_weights.
#define DENSE(PARTS)                                                                                                       \
    extern "C" __global__ void __launch_bounds__(128, 3) dense_rows_##PARTS(                                                  \
        const long long* __restrict__ indptr, const int* __restrict__ neighbours, const float* __restrict__ weights,       \
        int has_weights, int first, int n_rows, int longest, const float* __restrict__ strengths, int quads, int group,    \
        double background, const double* __restrict__ propensity, float* __restrict__ out, double* __restrict__ shares) {  \
        const Task task = row_task(indptr, n_rows, longest);                                                               \
        dense_warp<PARTS>(task, task.row, true, first, neighbours, weights, has_weights, strengths, quads, group,          \
                          background, propensity, out, shares);                                                            \
    }                                                                                                                      \
    extern "C" __global__ void __launch_bounds__(128, 3) dense_pieces_##PARTS(                                                \
        const long long* __restrict__ indptr, const int* __restrict__ neighbours, const float* __restrict__ weights,       \
        int has_weights, int first, const int* __restrict__ rows, const long long* __restrict__ begins, int n_pieces,      \
        int longest, const float* __restrict__ strengths, int quads, int group, double background,                         \
        const double* __restrict__ propensity, float* __restrict__ out, double* __restrict__ shares) {                     \
        const long long warp = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;                       \
        dense_warp<PARTS>(piece_task(indptr, rows, begins, n_pieces, longest), warp, false, first, neighbours, weights,    \
                          has_weights, strengths, quads, group, background, propensity, out, shares);                      \
    }

DENSE(1)
DENSE(2)
DENSE(4)
DENSE(8)

// Sums of the pieces first[i] ... first[i + 1] of long row i, in their order: a warp for each long row.
extern "C" __global__ void dense_fold(
    const int* __restrict__ rows, const int* __restrict__ firsts, int n_long, int first, const float* __restrict__ strengths,
    int width, const float* __restrict__ parts, const double* __restrict__ part_shares, float* __restrict__ out,
    double* __restrict__ shares) {
    const long long warp = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
    if (warp >= n_long) return;
    const int lane = threadIdx.x % 32, start = firsts[warp], stop = firsts[warp + 1];
    const long long row = rows[start];
    for (int column = lane; column < width; column += 32) {
        float sum = 0;
        for (int piece = start; piece < stop; ++piece) sum += parts[static_cast<long long>(piece) * width + column];
        out[row * width + column] = sum * strengths[(first + row) * width + column];
    }
    double share = 0;
    for (int piece = start; piece < stop; ++piece) share += part_shares[piece];
    if (lane == 0) shares[row] = share;
}

// Rows too wide for a warp's registers: a block for each row or piece (is_whole says which), sums in shared memory.
extern "C" __global__ void __launch_bounds__(256) dense_wide(
    const long long* __restrict__ indptr, const int* __restrict__ neighbours, const float* __restrict__ weights,
    int has_weights, int first, const int* __restrict__ rows, const long long* __restrict__ begins, int is_whole,
    int longest, const float* __restrict__ strengths, int width, double background, const double* __restrict__ propensity,
    float* __restrict__ out, double* __restrict__ shares) {
    DYNAMIC_SHARED(float, sums);
    __shared__ float parts[32];
    const long long at = blockIdx.x;
    const long long row = is_whole ? at : rows[at];
    const long long begin = is_whole ? indptr[row] : begins[at];
    long long end = indptr[row + 1];
    if (is_whole && end - begin > longest) return;
    if (end - begin > longest) end = begin + longest;
    const float* mine = strengths + (first + row) * width;
    for (int column = threadIdx.x; column < width; column += blockDim.x) sums[column] = 0;
    const double base = background * propensity[first + row];
    double share = 0;
    for (long long edge = begin; edge < end; ++edge) {
        const int v = neighbours[edge];
        const float* other = strengths + static_cast<long long>(v) * width;
        float common = 0;
        for (int column = threadIdx.x; column < width; column += blockDim.x) common += mine[column] * other[column];
        common = block_sum(common, parts);
        const float plain = static_cast<float>(base * propensity[v]);
        const float rate = fmaxf(common + plain, static_cast<float>(smallest_rate));
        const float links = (has_weights ? weights[edge] : 1.0f) / expm1f(rate) + 1.0f;
        share += static_cast<double>(plain) * links;
        // A thread adds to its own columns only, here and above.
        for (int column = threadIdx.x; column < width; column += blockDim.x) sums[column] += links * other[column];
    }
    for (int column = threadIdx.x; column < width; column += blockDim.x)
        out[at * width + column] = is_whole ? sums[column] * mine[column] : sums[column];
    if (threadIdx.x == 0) shares[at] = share;
}

// ---- sparse supports: a table of the node's own communities in shared memory, the lanes of a group along those of the
// other end. Each group adds to sums of its own; an end has a community once, so that its lanes do not meet.

namespace {

constexpr unsigned no_key = 0xffffffffu;

struct Own {
    double* mine;      // (room,) strengths of the node's entries
    double* sums;      // (32 / group, room)
    unsigned* keys;    // (slots,) communities by their hash; slots: a power of two, at least twice the entries
    int* places;       // (slots,) the entry of each
    int slots;
};

__device__ __forceinline__ unsigned slot_of(unsigned key, int slots) { return (key * 2654435769u >> 7) & (slots - 1); }

__device__ __forceinline__ Own own_memory(unsigned char* shared, int room, int slots, int group) {
    const int n_copies = 32 / group;
    const size_t bytes = static_cast<size_t>(8) * room * (1 + n_copies) + static_cast<size_t>(8) * slots;
    unsigned char* here = shared + (threadIdx.x / 32) * bytes;
    Own own;
    own.mine = reinterpret_cast<double*>(here);
    own.sums = own.mine + room;
    own.keys = reinterpret_cast<unsigned*>(own.sums + static_cast<size_t>(room) * n_copies);
    own.places = reinterpret_cast<int*>(own.keys + slots);
    own.slots = slots;
    return own;
}

__device__ __forceinline__ void fill(
    const Own& own, const int* support, const double* strengths, int count, int room, int group) {
    const int lane = threadIdx.x % 32, n_copies = 32 / group;
    for (int slot = lane; slot < own.slots; slot += 32) own.keys[slot] = no_key;
    for (int i = lane; i < room * n_copies; i += 32) own.sums[i] = 0;
    __syncwarp();
    for (int entry = lane; entry < count; entry += 32) {
        own.mine[entry] = strengths[entry];
        const unsigned key = static_cast<unsigned>(support[entry]);
        unsigned slot = slot_of(key, own.slots);
        while (atomicCAS(&own.keys[slot], no_key, key) != no_key) slot = (slot + 1) & (own.slots - 1);
        own.places[slot] = entry;  // where it lies depends on who came first, what is found does not
    }
    __syncwarp();
}

__device__ __forceinline__ int find(const Own& own, int community) {
    const unsigned key = static_cast<unsigned>(community);
    unsigned slot = slot_of(key, own.slots);
    while (own.keys[slot] != no_key) {
        if (own.keys[slot] == key) return own.places[slot];
        slot = (slot + 1) & (own.slots - 1);
    }
    return -1;
}

__device__ __forceinline__ double edge_gain(double rate, double weight) { return weight * log(-expm1(-rate)) + rate; }

// sums : of `own`, of the edges of a task; GAINS : of bits that memberships save, else of expected links.
template <bool GAINS>
__device__ __forceinline__ void sparse_edges(
    const Task& task, int node, const int* __restrict__ neighbours, const float* __restrict__ weights, bool has_weights,
    const long long* __restrict__ support_indptr, const int* __restrict__ support, const double* __restrict__ strengths,
    double background, const double* __restrict__ propensity, int group, int room, bool is_scored, const Own& own,
    double& share, double& gain) {
    const int lane = threadIdx.x % 32, within = lane % group, which = lane / group, at_once = 32 / group;
    double* sums = own.sums + static_cast<size_t>(which) * room;
    const double base = background * propensity[node];
    share = gain = 0;
    for (long long batch = task.begin; batch < task.end; batch += 32) {
        const int n_here = task.end - batch < 32 ? static_cast<int>(task.end - batch) : 32;
        long long entries = 0;
        int count = 0;
        double plain = 0, weight = 1;
        if (lane < n_here) {
            const int v = neighbours[batch + lane];
            entries = support_indptr[v];
            count = static_cast<int>(support_indptr[v + 1] - entries);
            plain = base * propensity[v];
            if (has_weights) weight = weights[batch + lane];
        }
        for (int first = 0; first < n_here; first += at_once) {
            const int source = first + which;
            const bool is_there = source < n_here;
            const long long start = __shfl_sync(ALL_LANES, entries, source);
            const int n_entries = __shfl_sync(ALL_LANES, count, source);
            double here_plain = __shfl_sync(ALL_LANES, plain, source);
            const double here_weight = __shfl_sync(ALL_LANES, weight, source);
            if (GAINS) here_plain = here_plain > smallest_rate ? here_plain : smallest_rate;
            double common = 0;
            for (int entry = within; entry < n_entries; entry += group) {
                const int place = find(own, support[start + entry]);
                if (place >= 0) common += own.mine[place] * strengths[start + entry];
            }
            double rate = here_plain + group_sum(common, group);
            double links = 0, here = 0;
            if (GAINS) {
                here = is_there && rate > here_plain ? edge_gain(rate, here_weight) : 0;
            } else {
                rate = rate > smallest_rate ? rate : smallest_rate;
                const double present = -expm1(-rate);
                links = here_weight * (1 / present - 1) + 1;
                if (is_there && within == 0) {
                    share += here_plain * links;
                    if (is_scored) gain += here_weight * log(present) + rate;
                }
            }
            if (is_there && !(GAINS && rate == here_plain)) {
                for (int entry = within; entry < n_entries; entry += group) {
                    const int place = find(own, support[start + entry]);
                    if (place < 0 || own.mine[place] <= 0) continue;
                    const double theirs = strengths[start + entry];
                    if (GAINS) {
                        const double left = rate - own.mine[place] * theirs;
                        sums[place] += (here - edge_gain(left > here_plain ? left : here_plain, here_weight)) / ln2;
                    } else {
                        sums[place] += links * theirs;
                    }
                }
            }
            __syncwarp();  // another lane may add to the same place next
        }
    }
    share = warp_sum(share);
    gain = warp_sum(gain);
}

__device__ __forceinline__ double copies_sum(const Own& own, int entry, int room, int group) {
    double sum = 0;
    for (int copy = 0; copy < 32 / group; ++copy) sum += own.sums[static_cast<size_t>(copy) * room + entry];
    return sum;
}

}  // namespace

// expected : of the entries of rows of at most `longest` edges, counted from those of node `first`; shares, gains :
// (n_rows,), not written for gains of memberships. room : for entries in shared memory, no fewer than any node has.
#define SPARSE(NAME, GAINS)                                                                                                 \
    extern "C" __global__ void NAME##_rows(                                                                                 \
        const long long* __restrict__ indptr, const int* __restrict__ neighbours, const float* __restrict__ weights,        \
        int has_weights, int first, int n_rows, int longest, const long long* __restrict__ support_indptr,                  \
        const int* __restrict__ support, const double* __restrict__ strengths, double background,                           \
        const double* __restrict__ propensity, int group, int room, int slots, int is_scored,                               \
        double* __restrict__ expected, double* __restrict__ shares, double* __restrict__ gains) {                           \
        DYNAMIC_SHARED(unsigned char, shared);                                                                              \
        const Task task = row_task(indptr, n_rows, longest);                                                                \
        if (!task.is_there) return;                                                                                         \
        const int lane = threadIdx.x % 32, node = first + task.row;                                                         \
        const long long start = support_indptr[node], done = support_indptr[first];                                         \
        const int count = static_cast<int>(support_indptr[node + 1] - start);                                               \
        const Own own = own_memory(shared, room, slots, group);                                                             \
        fill(own, support + start, strengths + start, count, room, group);                                                  \
        double share, gain;                                                                                                 \
        sparse_edges<GAINS>(task, node, neighbours, weights, has_weights != 0, support_indptr, support, strengths,          \
                            background, propensity, group, room, is_scored != 0, own, share, gain);                         \
        for (int entry = lane; entry < count; entry += 32)                                                                  \
            expected[start - done + entry] = copies_sum(own, entry, room, group) * (GAINS ? 1.0 : own.mine[entry]);         \
        if (!GAINS && lane == 0) shares[task.row] = share, gains[task.row] = gain;                                          \
    }                                                                                                                       \
    extern "C" __global__ void NAME##_pieces(                                                                               \
        const long long* __restrict__ indptr, const int* __restrict__ neighbours, const float* __restrict__ weights,        \
        int has_weights, int first, const int* __restrict__ rows, const long long* __restrict__ begins, int n_pieces,       \
        int longest, const long long* __restrict__ support_indptr, const int* __restrict__ support,                         \
        const double* __restrict__ strengths, double background, const double* __restrict__ propensity, int group,          \
        int room, int slots, int is_scored, const long long* __restrict__ places, double* __restrict__ parts,               \
        double* __restrict__ shares, double* __restrict__ gains) {                                                          \
        DYNAMIC_SHARED(unsigned char, shared);                                                                              \
        const Task task = piece_task(indptr, rows, begins, n_pieces, longest);                                              \
        if (!task.is_there) return;                                                                                         \
        const int lane = threadIdx.x % 32, node = first + task.row;                                                         \
        const long long warp = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;                        \
        const long long start = support_indptr[node];                                                                       \
        const int count = static_cast<int>(support_indptr[node + 1] - start);                                               \
        const Own own = own_memory(shared, room, slots, group);                                                             \
        fill(own, support + start, strengths + start, count, room, group);                                                  \
        double share, gain;                                                                                                 \
        sparse_edges<GAINS>(task, node, neighbours, weights, has_weights != 0, support_indptr, support, strengths,          \
                            background, propensity, group, room, is_scored != 0, own, share, gain);                         \
        for (int entry = lane; entry < count; entry += 32)                                                                  \
            parts[places[warp] + entry] = copies_sum(own, entry, room, group);                                              \
        if (!GAINS && lane == 0) shares[warp] = share, gains[warp] = gain;                                                  \
    }

SPARSE(sparse, false)
SPARSE(gains, true)

// The same for long rows: parts of piece p of a row lie from places[p] on.
extern "C" __global__ void sparse_fold(
    const int* __restrict__ rows, const int* __restrict__ firsts, int n_long, int first,
    const long long* __restrict__ support_indptr, const double* __restrict__ strengths, int is_gain,
    const long long* __restrict__ places, const double* __restrict__ parts, const double* __restrict__ part_shares,
    const double* __restrict__ part_gains, double* __restrict__ expected, double* __restrict__ shares,
    double* __restrict__ gains) {
    const long long warp = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
    if (warp >= n_long) return;
    const int lane = threadIdx.x % 32, begin = firsts[warp], stop = firsts[warp + 1], row = rows[begin];
    const long long start = support_indptr[first + row], done = support_indptr[first];
    const int count = static_cast<int>(support_indptr[first + row + 1] - start);
    for (int entry = lane; entry < count; entry += 32) {
        double sum = 0;
        for (int piece = begin; piece < stop; ++piece) sum += parts[places[piece] + entry];
        expected[start - done + entry] = is_gain ? sum : sum * strengths[start + entry];
    }
    if (is_gain || lane) return;
    double share = 0, gain = 0;
    for (int piece = begin; piece < stop; ++piece) share += part_shares[piece], gain += part_gains[piece];
    shares[row] = share;
    gains[row] = gain;
}

// ---- the product: out[u] = scale[u] * sum_v w_uv x[v], x (n, width) already scaled, width at most `group` <= 32

namespace {

template <class T>
__device__ __forceinline__ T product_edges(
    const Task& task, const int* __restrict__ neighbours, const float* __restrict__ weights, bool has_weights,
    const T* __restrict__ x, int width, int group) {
    const int lane = threadIdx.x % 32, within = lane % group, at_once = 32 / group;
    T sum = 0;
    for (long long edge = task.begin + lane / group; edge < task.end; edge += at_once) {
        if (within >= width) continue;
        const T value = x[static_cast<long long>(neighbours[edge]) * width + within];
        sum += has_weights ? static_cast<T>(weights[edge]) * value : value;
    }
    return sum_of_groups(sum, group);
}

template <class T>
__device__ __forceinline__ void product_rows(
    const long long* indptr, const int* neighbours, const float* weights, int has_weights, int first, int n_rows, int longest,
    const double* scale, const T* x, int width, int group, T* out) {
    const Task task = row_task(indptr, n_rows, longest);
    if (!task.is_there) return;
    const T sum = product_edges(task, neighbours, weights, has_weights != 0, x, width, group);
    const int lane = threadIdx.x % 32;
    if (lane < width) out[static_cast<long long>(task.row) * width + lane] = static_cast<T>(scale[first + task.row] * sum);
}

template <class T>
__device__ __forceinline__ void product_pieces(
    const long long* indptr, const int* neighbours, const float* weights, int has_weights, const int* rows,
    const long long* begins, int n_pieces, int longest, const T* x, int width, int group, T* parts) {
    const Task task = piece_task(indptr, rows, begins, n_pieces, longest);
    if (!task.is_there) return;
    const T sum = product_edges(task, neighbours, weights, has_weights != 0, x, width, group);
    const long long warp = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
    const int lane = threadIdx.x % 32;
    if (lane < width) parts[warp * width + lane] = sum;
}

template <class T>
__device__ __forceinline__ void product_fold(
    const int* rows, const int* firsts, int n_long, int first, const double* scale, int width, const T* parts, T* out) {
    const long long warp = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
    const int lane = threadIdx.x % 32;
    if (warp >= n_long || lane >= width) return;
    const long long row = rows[firsts[warp]];
    T sum = 0;
    for (int piece = firsts[warp]; piece < firsts[warp + 1]; ++piece) sum += parts[static_cast<long long>(piece) * width + lane];
    out[row * width + lane] = static_cast<T>(scale[first + row] * sum);
}

}  // namespace

#define PRODUCT(T)                                                                                                         \
    extern "C" __global__ void product_rows_##T(                                                                           \
        const long long* __restrict__ indptr, const int* __restrict__ neighbours, const float* __restrict__ weights,       \
        int has_weights, int first, int n_rows, int longest, const double* __restrict__ scale, const T* __restrict__ x,    \
        int width, int group, T* __restrict__ out) {                                                                       \
        product_rows<T>(indptr, neighbours, weights, has_weights, first, n_rows, longest, scale, x, width, group, out);    \
    }                                                                                                                      \
    extern "C" __global__ void product_pieces_##T(                                                                         \
        const long long* __restrict__ indptr, const int* __restrict__ neighbours, const float* __restrict__ weights,       \
        int has_weights, const int* __restrict__ rows, const long long* __restrict__ begins, int n_pieces, int longest,    \
        const T* __restrict__ x, int width, int group, T* __restrict__ parts) {                                            \
        product_pieces<T>(indptr, neighbours, weights, has_weights, rows, begins, n_pieces, longest, x, width, group,      \
                          parts);                                                                                          \
    }                                                                                                                      \
    extern "C" __global__ void product_fold_##T(                                                                           \
        const int* __restrict__ rows, const int* __restrict__ firsts, int n_long, int first,                               \
        const double* __restrict__ scale, int width, const T* __restrict__ parts, T* __restrict__ out) {                   \
        product_fold<T>(rows, firsts, n_long, first, scale, width, parts, out);                                            \
    }

PRODUCT(float)
PRODUCT(double)
