// The document step and the word step of variational LDA, and what is scored with it. Semantics: topic_cpu.py.
//
// A block fits one document. Its working set of topics (members, gamma, weights) is in shared memory, and, where they
// fit, the probabilities of its words in these topics too: then word_topic is read once in the whole step, and a sweep
// touches nothing but shared memory. Where they do not fit (a cold start with many topics), rows of word_topic are read
// in every sweep, mostly from the L2 cache, until enough topics have left the document.
//
// Bytes that must move in a pass of the polish over D documents of n entries, S topics of a document left, T in all:
// document step: 8 T D for `start` and `expected`; 8 n for indices and counts; 4 S n gathered from word_topic, in
// sectors of 32 bytes where a document's topics are scattered (from the L2 cache where word_topic fits there); 8 n for
// ratios and shares; 12 S D for lists. Word step: 8 n to find the entries; a sector of `places`, one of `entries` and
// 12 S bytes of lists for each entry; 8 T V.
#include "common.cuh"

#define NEGLIGIBLE 1e-2f
#define TINY 1e-30f

// As topic_cpu.exp_digamma.
__device__ __forceinline__ float exp_digamma(float v) {
    const float z = v + 2.5f, inverse = 1.0f / z;
    const float series = z + inverse * (float(1.0 / 24) - float(7.0 / 960) * inverse * inverse);
    const float s = 1.0f / v + 1.0f / (v + 1.0f) + 1.0f / (v + 2.0f);
    const float u = min(s, 80.0f) * float(1.0 / 64);
    float e = float(1.0 / 720) * u + float(1.0 / 120);
    e = e * u + float(1.0 / 24);
    e = e * u + float(1.0 / 6);
    e = e * u + 0.5f;
    e = e * u + 1.0f;
    e = e * u + 1.0f;
#pragma unroll
    for (int i = 0; i < 6; ++i) e *= e;
    return series / e;
}

// The sum, and the largest, over a block of whole warps, in every thread; what was written before is seen after.
template <class T>
__device__ __forceinline__ T team_sum(T value, float* parts) {
    if (blockDim.x > 32) return block_sum(value, reinterpret_cast<T*>(parts));
    __syncwarp();
    return warp_sum(value);
}

__device__ __forceinline__ float team_max(float value, float* parts) {
    value = warp_max(value);
    if (blockDim.x > 32) {
        if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
        __syncthreads();
        value = warp_max(threadIdx.x % 32 < blockDim.x / 32 ? parts[threadIdx.x % 32] : 0.0f);
        __syncthreads();
    }
    return value;
}

__device__ __forceinline__ int round4(int n) { return (n + 3) & ~3; }

// The lanes that share a row of `n` values: a power of two.
__device__ __forceinline__ int lanes_for(int n) {
    int lanes = 1;
    while (lanes < n && lanes < 32) lanes *= 2;
    return lanes;
}

struct Document {
    long long first;  // its entries: n_words from here
    int n_words;
    const int* indices;
    const float* counts;
    float* entries;  // two for each entry: count / probability of the word (ratio); and, with own counts, what is
                     // taken out of it in units of a member's `take` (share)
    const float* word_topic;
    const float* alpha;
    const float* floor;  // own counts are taken out down to this, by topic
    int n_topics;
    int size, slots;  // of the working set, and how many fit
    bool corrected;   // own counts are taken out
    int* members;
    float *parts, *gamma, *weight, *take, *total;
    float* near;  // shared memory for the words: ratios, then probabilities
    int room;     // floats there
};

// Floats from a word's probabilities to the next one's: an odd number of 16 bytes, so that lanes that each read 16
// bytes of another word meet in no bank.
__device__ __forceinline__ int step_of(int size) { return 4 * ((round4(size) / 4) | 1); }

// Floats of shared memory that a document of `size` topics takes besides what its words take.
__device__ __forceinline__ int floats_of(int size, int n_warps, int has_own) {
    return 32 + round4(size) * (3 + (has_own != 0) + n_warps);
}

__device__ __forceinline__ bool fits(const Document& it) {
    return (long long)it.n_words * step_of(it.size) + round4(it.n_words) <= it.room;
}

__device__ __forceinline__ float without_own(float p, float share, float take, float floor) {
    return fmaxf(p * (1.0f - share * take), floor);
}

// exp(digamma(gamma)) over its maximum; 0 for the places that fill up a group of four.
__device__ __forceinline__ void weigh(const Document& it) {
    float most = 0;
    for (int a = threadIdx.x; a < it.size; a += blockDim.x) {
        const float weight = exp_digamma(it.gamma[a]);
        it.weight[a] = weight;
        most = max(most, weight);
    }
    most = team_max(most, it.parts);
    const float scale = 1.0f / max(most, 1e-37f);
    for (int a = threadIdx.x; a < round4(it.size); a += blockDim.x)
        it.weight[a] = a < it.size ? it.weight[a] * scale : 0.0f;
    __syncthreads();
}

// Gather the probabilities of the words into shared memory. Lanes run along a word's members, several words a warp.
__device__ __forceinline__ void store(const Document& it) {
    const int padded = round4(it.size), step = step_of(it.size), lanes = lanes_for(padded), groups = 32 / lanes;
    const int lane = threadIdx.x % lanes, first = threadIdx.x / 32 * groups + threadIdx.x % 32 / lanes;
    float* local = it.near + round4(it.n_words);
#pragma unroll 4
    for (int j = first; j < it.n_words; j += blockDim.x / 32 * groups) {
        const float* row = it.word_topic + (long long)it.indices[it.first + j] * it.n_topics;
        const float share = it.corrected ? it.entries[2 * (it.first + j) + 1] : 0.0f;
#pragma unroll 1
        for (int a = lane; a < padded; a += lanes) {
            float p = 0;
            if (a < it.size) {
                const int topic = it.members[a];
                p = __ldg(row + topic);
                if (it.corrected) p = without_own(p, share, it.take[a], it.floor[topic]);
            }
            local[(long long)j * step + a] = p;
        }
    }
    __syncthreads();
}

// out[out_step j] = count / probability of word j, from shared memory: a thread takes a word, 16 bytes at a time.
__device__ __forceinline__ void stored_ratios(const Document& it, float* out, int out_step) {
    const int n_fours = round4(it.size) / 4, step = step_of(it.size) / 4;
    const float4* local = reinterpret_cast<const float4*>(it.near + round4(it.n_words));
    const float4* weight = reinterpret_cast<const float4*>(it.weight);
    for (int j = threadIdx.x; j < it.n_words; j += blockDim.x) {
        float norm = 0;
#pragma unroll 2
        for (int q = 0; q < n_fours; ++q) {
            const float4 w = weight[q], p = local[j * step + q];
            norm += w.x * p.x + w.y * p.y + w.z * p.z + w.w * p.w;
        }
        out[out_step * j] = it.counts[it.first + j] / (norm + TINY);
    }
    __syncthreads();
}

// Each warp's sums over its words of ratio * probability, by member, from shared memory. A lane takes four members; the
// lanes that are left over take other words.
__device__ __forceinline__ void stored_totals(const Document& it) {
    const int n_fours = round4(it.size) / 4, step = step_of(it.size) / 4;
    const int lanes = lanes_for(n_fours), groups = 32 / lanes;
    const int warp = threadIdx.x / 32, group = threadIdx.x % 32 / lanes;
    const float4* local = reinterpret_cast<const float4*>(it.near + round4(it.n_words));
    for (int start = 0; start < n_fours; start += lanes) {
        const int q = start + threadIdx.x % lanes;
        float4 sum = make_float4(0, 0, 0, 0);
        if (q < n_fours)
#pragma unroll 2
            for (int j = warp * groups + group; j < it.n_words; j += blockDim.x / 32 * groups) {
                const float4 p = local[j * step + q];
                const float ratio = it.near[j];
                sum.x += ratio * p.x, sum.y += ratio * p.y, sum.z += ratio * p.z, sum.w += ratio * p.w;
            }
        for (int distance = lanes; distance < 32; distance *= 2) {
            sum.x += __shfl_xor_sync(ALL_LANES, sum.x, distance);
            sum.y += __shfl_xor_sync(ALL_LANES, sum.y, distance);
            sum.z += __shfl_xor_sync(ALL_LANES, sum.z, distance);
            sum.w += __shfl_xor_sync(ALL_LANES, sum.w, distance);
        }
        if (group == 0 && q < n_fours) reinterpret_cast<float4*>(it.total + warp * it.slots)[q] = sum;
    }
    __syncthreads();
}

// The same two, in one pass over the rows of word_topic: lanes along the members, four words of a warp at a time. The
// second look at a row finds it in the L1 cache. SUM: totals too. CORRECTED: own counts are taken out. out: every
// second value; may be null.
template <bool SUM, bool CORRECTED>
__device__ __forceinline__ void read_words(const Document& it, float* out) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float* total = it.total + warp * it.slots;
    if (SUM)
#pragma unroll 1
        for (int a = lane; a < it.size; a += 32) total[a] = 0;
    for (int first = warp * 4; first < it.n_words; first += blockDim.x / 8) {
        const float* rows[4];
        float share[4], norm[4], ratio[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int j = min(first + i, it.n_words - 1);
            rows[i] = it.word_topic + (long long)it.indices[it.first + j] * it.n_topics;
            share[i] = CORRECTED ? it.entries[2 * (it.first + j) + 1] : 0.0f;
            norm[i] = 0;
        }
#pragma unroll 1
        for (int a = lane; a < it.size; a += 32) {
            const int topic = it.members[a];
            const float weight = it.weight[a], take = CORRECTED ? it.take[a] : 0.0f;
            const float floor = CORRECTED ? it.floor[topic] : 0.0f;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float p = __ldg(rows[i] + topic);
                norm[i] += weight * (CORRECTED ? without_own(p, share[i], take, floor) : p);
            }
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int j = first + i;
            norm[i] = warp_sum(norm[i]) + TINY;
            ratio[i] = j < it.n_words ? it.counts[it.first + j] / norm[i] : 0.0f;
            if (lane == 0 && j < it.n_words && out != nullptr) out[2 * j] = ratio[i];
        }
#pragma unroll 1
        for (int a = lane; SUM && a < it.size; a += 32) {
            const int topic = it.members[a];
            const float take = CORRECTED ? it.take[a] : 0.0f, floor = CORRECTED ? it.floor[topic] : 0.0f;
            float sum = total[a];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float p = __ldg(rows[i] + topic);
                sum += ratio[i] * (CORRECTED ? without_own(p, share[i], take, floor) : p);
            }
            total[a] = sum;
        }
    }
    __syncthreads();
}

// What the document itself gave to its words is taken out of them from here on (topic_cpu._take_out_own).
__device__ __forceinline__ void take_out_own(Document& it, const float* own, bool stored) {
    weigh(it);
    if (stored)
        stored_ratios(it, it.entries + 2 * it.first + 1, 2);
    else
        read_words<false, false>(it, it.entries + 2 * it.first + 1);
    for (int a = threadIdx.x; a < it.size; a += blockDim.x)
        it.take[a] = it.weight[a] * own[it.n_topics + it.members[a]];
    it.corrected = true;
    __syncthreads();
    if (!stored) return;
    const int step = step_of(it.size), lanes = lanes_for(it.size), groups = 32 / lanes;
    float* local = it.near + round4(it.n_words);
    for (int j = threadIdx.x / 32 * groups + threadIdx.x % 32 / lanes; j < it.n_words; j += blockDim.x / 32 * groups)
        for (int a = threadIdx.x % lanes; a < it.size; a += lanes) {
            float* place = local + (long long)j * step + a;
            *place = without_own(*place, it.entries[2 * (it.first + j) + 1], it.take[a], it.floor[it.members[a]]);
        }
    __syncthreads();
}

// One fixed-point update; returns how far gamma moved, in words.
__device__ __forceinline__ float sweep(const Document& it, bool stored, bool keep) {
    weigh(it);
    if (stored) {
        stored_ratios(it, it.near, 1);
        stored_totals(it);
    } else if (it.corrected) {
        read_words<true, true>(it, keep ? it.entries + 2 * it.first : nullptr);
    } else {
        read_words<true, false>(it, keep ? it.entries + 2 * it.first : nullptr);
    }
    float moved = 0;
    for (int a = threadIdx.x; a < it.size; a += blockDim.x) {
        float total = 0;
#pragma unroll 1
        for (int warp = 0; warp < blockDim.x / 32; ++warp) total += it.total[warp * it.slots + a];
        const float gamma = it.alpha[it.members[a]] + it.weight[a] * total;
        moved += fabsf(gamma - it.gamma[a]);
        it.gamma[a] = gamma;
    }
    moved = team_sum(moved, it.parts);
    __syncthreads();
    return moved;
}

// Leave out the topics with negligible counts when that at least halves the work; the first warp moves the others up.
__device__ __forceinline__ bool compact(Document& it) {
    int kept = 0;
    for (int a = threadIdx.x; a < it.size; a += blockDim.x) kept += it.gamma[a] - it.alpha[it.members[a]] >= NEGLIGIBLE;
    kept = team_sum(kept, it.parts);
    if (kept == 0 || 2 * kept > it.size) return false;
    if (threadIdx.x < 32) {
        int at = 0;
        for (int start = 0; start < it.size; start += 32) {
            const int a = start + threadIdx.x;
            const bool inside = a < it.size;
            const int topic = inside ? it.members[a] : 0;
            const float gamma = inside ? it.gamma[a] : 0.0f, take = inside && it.corrected ? it.take[a] : 0.0f;
            const bool stays = inside && gamma - it.alpha[topic] >= NEGLIGIBLE;
            const unsigned all = __ballot_sync(ALL_LANES, stays);
            __syncwarp();  // all have read what is written over now
            if (stays) {
                const int place = at + __popc(all & ((1u << threadIdx.x) - 1));
                it.members[place] = topic;
                it.gamma[place] = gamma;
                if (it.corrected) it.take[place] = take;
            }
            __syncwarp();
            at += __popc(all);
        }
    }
    it.size = kept;
    __syncthreads();
    return true;
}

// The working set: all topics, each with an equal share of the words, or those in which `start` (null: none) has some.
__device__ __forceinline__ void begin(Document& it, const float* start, float length) {
    if (start == nullptr) {
        const float even = length / float(it.n_topics);
        for (int t = threadIdx.x; t < it.n_topics; t += blockDim.x) {
            it.members[t] = t;
            it.gamma[t] = it.alpha[t] + even;
        }
    } else if (threadIdx.x < 32) {
        int at = 0;
        for (int first = 0; first < it.n_topics; first += 32) {
            const int t = first + threadIdx.x;
            const float words = t < it.n_topics ? start[t] : 0.0f;
            const bool in = words >= NEGLIGIBLE;
            const unsigned all = __ballot_sync(ALL_LANES, in);
            if (in) {
                const int place = at + __popc(all & ((1u << threadIdx.x) - 1));
                it.members[place] = t;
                it.gamma[place] = it.alpha[t] + words;
            }
            at += __popc(all);
        }
    }
    __syncthreads();
}

// Fit the documents of `queue`, a block each. The shared memory of `room` floats holds, for a document that starts with
// S topics (rounded up to fours): 32 parts, members, gamma, weight, with own counts take, S of each, S totals of each
// warp, and what is left is for the words.
// start: (D, T) or, without has_start, anything. places: two for each document: where its list begins, and S; at the
// end, how many topics it has. With keep, what the word step looks up, side by side because it is met at random: lists,
// three for each topic of a document: its number, the last sweep's weight, and take; entries: ratio, and share (-1:
// nothing was taken out).
extern "C" __global__ void __launch_bounds__(256, 4)
    document_fit(const long long* __restrict__ begins, const long long* __restrict__ ends,
                 const int* __restrict__ indices, const float* __restrict__ counts,
                 const int* __restrict__ queue, const float* __restrict__ word_topic, int n_topics,
                 const float* __restrict__ alpha, const float* __restrict__ own, int has_own,
                 const float* __restrict__ start, int has_start, float* expected, long long* places, float* lists,
                 float* entries, int keep, int max_iters, float tol, int room) {
    DYNAMIC_SHARED(float, shared);
    const int document = queue[blockIdx.x], n_warps = blockDim.x / 32;
    const float* row = has_start ? start + (long long)document * n_topics : nullptr;
    if (has_start && row[0] < 0) row = nullptr;
    Document it;
    it.first = begins[document];
    it.n_words = int(ends[document] - it.first);
    it.indices = indices;
    it.counts = counts;
    it.entries = entries;
    it.word_topic = word_topic;
    it.alpha = alpha;
    it.floor = own;
    it.n_topics = n_topics;
    it.size = int(places[2 * (long long)document + 1]);
    it.slots = round4(it.size);
    it.corrected = false;
    it.parts = shared;
    it.members = reinterpret_cast<int*>(shared + 32);
    it.gamma = shared + 32 + it.slots;
    it.weight = it.gamma + it.slots;
    it.take = it.weight + it.slots;
    it.total = it.take + (has_own ? it.slots : 0);
    it.near = it.total + n_warps * it.slots;
    it.room = room - floats_of(it.size, n_warps, has_own);

    float length = 0;
    for (int j = threadIdx.x; j < it.n_words; j += blockDim.x) length += it.counts[it.first + j];
    length = team_sum(length, it.parts);
    begin(it, row, length);
    bool stored = fits(it);
    if (stored) store(it);
    if (has_own && row != nullptr) take_out_own(it, own, stored);
    for (int iteration = 0; iteration < max_iters; ++iteration) {
        if (sweep(it, stored, keep) < tol * length) break;
        if (iteration + 1 == max_iters || !compact(it)) continue;
        stored = fits(it);
        if (stored) store(it);
    }

    float* out = expected + (long long)document * n_topics;
    for (int t = threadIdx.x; t < n_topics; t += blockDim.x) out[t] = 0;
    __syncthreads();
    for (int a = threadIdx.x; a < it.size; a += blockDim.x) out[it.members[a]] = it.gamma[a] - alpha[it.members[a]];
    if (!keep) return;
    float* list = lists + 3 * places[2 * (long long)document];
    for (int a = threadIdx.x; a < it.size; a += blockDim.x) {
        list[3 * a] = __int_as_float(it.members[a]);
        list[3 * a + 1] = it.weight[a];
        list[3 * a + 2] = it.corrected ? it.take[a] : 0.0f;
    }
    for (int j = threadIdx.x; j < it.n_words; j += blockDim.x) {
        if (stored) it.entries[2 * (it.first + j)] = it.near[j];
        if (!it.corrected) it.entries[2 * (it.first + j) + 1] = -1;
    }
    if (threadIdx.x == 0) places[2 * (long long)document + 1] = it.size;
}

// sizes: topics that a document starts with, 0 for those that are not fitted; those keep what they have: `start`, or -1
// without. keys: 0 where a document is not fitted, otherwise less the more room it takes: its kind, the first of
// `n_rooms` (warps, floats) where all its words have place, or the last, in the bits above 40. A warp takes a document.
extern "C" __global__ void document_sizes(const long long* __restrict__ begins, const long long* __restrict__ ends,
                                          const unsigned char* __restrict__ active, int n_documents, int n_topics,
                                          const float* __restrict__ start, int has_start, int has_own,
                                          const int* __restrict__ rooms, int n_rooms, float* __restrict__ expected,
                                          int* __restrict__ sizes, long long* __restrict__ keys) {
    const int document = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (document >= n_documents) return;
    const long long place = (long long)document * n_topics, n_words = ends[document] - begins[document];
    int size = 0;
    long long key = 0;
    if (!active[document] || n_words == 0) {
        for (int t = lane; t < n_topics; t += 32) expected[place + t] = has_start ? start[place + t] : -1.0f;
    } else {
        if (!has_start || start[place] < 0) {
            size = n_topics;
        } else {
            for (int t = lane; t < n_topics; t += 32) size += start[place + t] >= NEGLIGIBLE;
            size = warp_sum(size);
        }
        const long long floats = n_words * step_of(size) + round4(int(n_words));
        long long kind = 0;
        while (kind + 1 < n_rooms && floats + floats_of(size, rooms[2 * kind], has_own) > rooms[2 * kind + 1]) ++kind;
        key = -1 - (kind << 40) - min(floats, (1LL << 40) - 1);
    }
    if (lane == 0) {
        sizes[document] = size;
        keys[document] = key;
    }
}

// An entry of a word: the list of its document, and its own two numbers.
struct Entry {
    long long list;
    int size;
    float ratio, share;

    __device__ __forceinline__ Entry of_lane(int lane) const {
        return {__shfl_sync(ALL_LANES, list, lane), __shfl_sync(ALL_LANES, size, lane),
                __shfl_sync(ALL_LANES, ratio, lane), __shfl_sync(ALL_LANES, share, lane)};
    }
    __device__ __forceinline__ int topic(const float* lists, int a) const {
        return __float_as_int(lists[list + 3 * a]);
    }
    // What the entry gives to its document's member a.
    __device__ __forceinline__ float value(const float* lists, int a, int topic, const float* row,
                                           const float* own) const {
        const float p = __ldg(row + topic), weight = lists[list + 3 * a + 1];
        return ratio * weight * (share < 0 ? p : without_own(p, share, lists[list + 3 * a + 2], own[topic]));
    }
};

// out[i] = sum over the entries of words[i] of ratio * weight * probability, by topic. A warp takes the places
// begins[i] ... ends[i] in the order of ByWord, all of one word, where they are `longest` at most; its sums are in
// shared memory. It looks up 32 entries at a time, a lane each, then takes them one after the other, lanes along the
// document's members, four entries on their way at a time.
extern "C" __global__ void __launch_bounds__(128, 10)
    word_gather(const long long* __restrict__ begins, const long long* __restrict__ ends,
                const long long* __restrict__ words, long long n, long long longest,
                const int* __restrict__ order, const int* __restrict__ documents,
                const long long* __restrict__ places, const float* __restrict__ lists,
                const float* __restrict__ entries, const float* __restrict__ word_topic, int n_topics,
                const float* __restrict__ own, float* __restrict__ out) {
    DYNAMIC_SHARED(float, shared);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const long long i = (long long)blockIdx.x * (blockDim.x / 32) + warp;
    if (i >= n) return;
    const long long begin = begins[i], end = ends[i];
    if (end - begin > longest) return;
    float* sums = shared + warp * n_topics;
    for (int t = lane; t < n_topics; t += 32) sums[t] = 0;
    __syncwarp();
    const float* row = word_topic + words[i] * n_topics;
    for (long long start = begin; start < end; start += 32) {
        const bool inside = start + lane < end;
        const long long document = inside ? documents[start + lane] : 0;
        Entry mine = {0, 0, 0.0f, -1.0f};
        if (inside) mine.size = int(places[2 * document + 1]);
        if (mine.size > 0) {
            const long long entry = order[start + lane];
            mine = {3 * places[2 * document], mine.size, entries[2 * entry], entries[2 * entry + 1]};
        }
        const int n_entries = int(min(end - start, (long long)32));
        const bool any_long = __any_sync(ALL_LANES, mine.size > 32);
        for (int first = 0; first < n_entries; first += 4) {
            int topics[4];
            float values[4];
#pragma unroll
            for (int u = 0; u < 4; ++u) {
                const Entry entry = mine.of_lane(first + u);
                topics[u] = lane < entry.size ? entry.topic(lists, lane) : -1;
                values[u] = lane < entry.size ? entry.value(lists, lane, topics[u], row, own) : 0.0f;
            }
#pragma unroll
            for (int u = 0; u < 4; ++u) {
                if (topics[u] >= 0) sums[topics[u]] += values[u];
                __syncwarp();
            }
            for (int u = 0; u < 4 && any_long; ++u) {  // the other topics of documents of more than 32
                const Entry entry = mine.of_lane(first + u);
#pragma unroll 1
                for (int a = 32 + lane; a < entry.size; a += 32) {
                    const int topic = entry.topic(lists, a);
                    sums[topic] += entry.value(lists, a, topic, row, own);
                }
                __syncwarp();
            }
        }
    }
    for (int t = lane; t < n_topics; t += 32) out[i * n_topics + t] = sums[t];
}

// out[i] = sums over the entries of document i of count log(theta . word_topic) and of count, in double precision. A
// block takes a document, a warp an entry at a time; 4 T bytes an entry, mostly from the L2 cache.
extern "C" __global__ void __launch_bounds__(128)
    log_likelihood(const long long* __restrict__ begins, const long long* __restrict__ ends,
                   const int* __restrict__ indices, const float* __restrict__ counts,
                   const float* __restrict__ word_topic, int n_topics, const float* __restrict__ theta,
                   double* __restrict__ out) {
    __shared__ double parts[32];
    const int lane = threadIdx.x % 32;
    const float* shares = theta + (long long)blockIdx.x * n_topics;
    double total = 0, n_words = 0;
    for (long long e = begins[blockIdx.x] + threadIdx.x / 32; e < ends[blockIdx.x]; e += blockDim.x / 32) {
        if (!(counts[e] > 0)) continue;
        const float* row = word_topic + (long long)indices[e] * n_topics;
        double probability = 0;
        for (int t = lane; t < n_topics; t += 32) probability += double(shares[t]) * double(row[t]);
        probability = warp_sum(probability);
        if (lane > 0) continue;
        total += double(counts[e]) * log(max(probability, 1e-300));
        n_words += double(counts[e]);
    }
    total = block_sum(total, parts);
    n_words = block_sum(n_words, parts);
    if (threadIdx.x == 0) {
        out[2 * (long long)blockIdx.x] = total;
        out[2 * (long long)blockIdx.x + 1] = n_words;
    }
}

// As topic_cpu.split_tokens; half of each entry where a document has a count that is not whole. A thread takes a
// document: each draw depends on the one before.
extern "C" __global__ void split_counts(const long long* __restrict__ begins, const long long* __restrict__ ends,
                                        const float* __restrict__ counts, const unsigned long long* __restrict__ keys,
                                        int n_documents, float* __restrict__ seen) {
    const int document = blockIdx.x * blockDim.x + threadIdx.x;
    if (document >= n_documents) return;
    const long long begin = begins[document], end = ends[document];
    bool whole = true;
    long long left = 0;
    for (long long e = begin; e < end; ++e) {
        left += (long long)counts[e];
        whole = whole && counts[e] == floorf(counts[e]);
    }
    long long wanted = left / 2;
    unsigned long long state = keys[document];
    for (long long e = begin; e < end; ++e) {
        if (!whole) {
            seen[e] = counts[e] / 2;
            continue;
        }
        long long taken = 0;
        for (long long token = (long long)counts[e]; token > 0; --token, --left) {
            state += 0x9E3779B97F4A7C15ull;
            unsigned long long z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9ull;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
            z ^= z >> 31;
            const double uniform = double(z >> 11) * (1.0 / 9007199254740992.0);
            if (uniform * double(left) < double(wanted)) --wanted, ++taken;
        }
        seen[e] = float(taken);
    }
}
