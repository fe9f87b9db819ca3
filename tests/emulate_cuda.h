// Enough of CUDA C++ to run kernels on a CPU, thread by thread: blocks one after the other, the threads of a block as
// fibers that take turns at barriers. Slow, and exact: a missing barrier, an index beyond an array (with -fsanitize) or
// a race between threads shows as a wrong answer here as it would on a GPU. The order of the threads can be reversed.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __restrict__
#define __launch_bounds__(...)
#define __constant__ static
#define __shared__ static  // blocks run one after the other, so that one copy is enough
#define __align__(n) alignas(n)

struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline int2 make_int2(int x, int y) { return {x, y}; }

static dim3 gridDim, blockDim, blockIdx, threadIdx;
static const int warpSize = 32;
static unsigned char emulated_shared_memory[232448] __align__(16);

#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emulated_shared_memory)

namespace emulated {

// The arrays in shared memory: what the last block left there must not be read by the next one.
struct Region { void* begin; size_t n_bytes; };
static std::vector<Region> regions;
template <class T> struct Shared {
    alignas(16) T value;
    Shared() { std::memset(&value, 0xFF, sizeof value); regions.push_back({&value, sizeof value}); }
};
template <class T, int number> T& shared() { static Shared<T> kept; return kept.value; }

constexpr size_t stack_bytes = 128 * 1024;

struct Fiber {
    ucontext_t context;
    dim3 thread;
    bool done = false;
    std::vector<char> stack;
};

static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static size_t current = 0;
static void (*body)(void*) = nullptr;
static void* body_arguments = nullptr;
static size_t n_live = 0, n_waiting = 0;
static uint64_t generation = 0;
struct Warp { uint64_t generation = 1; size_t n_waiting = 0, n_live = 0; uint64_t slots[2][32] = {}, given[2][32] = {}; };
static std::vector<Warp> warps;

inline void leave() { swapcontext(&fibers[current].context, &scheduler); }

inline void barrier() {
    const uint64_t mine = generation;
    if (++n_waiting == n_live) { n_waiting = 0; ++generation; return; }
    while (generation == mine) leave();
}

inline void warp_barrier(Warp& warp) {
    const uint64_t mine = warp.generation;
    if (++warp.n_waiting == warp.n_live) { warp.n_waiting = 0; ++warp.generation; return; }
    while (warp.generation == mine) leave();
}

inline unsigned linear_thread() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }

// All live lanes of a warp give a value each and see those of the others.
template <class T> T exchange(T value, int source) {
    static_assert(sizeof(T) <= 8, "shuffles move at most eight bytes");
    Warp& warp = warps[linear_thread() / 32];
    const int parity = warp.generation & 1;
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    warp.slots[parity][linear_thread() % 32] = bits;
    warp_barrier(warp);
    T found;
    std::memcpy(&found, &warp.slots[parity][source & 31], sizeof(T));
    return found;
}

inline void fiber_main() {
    body(body_arguments);
    Fiber& fiber = fibers[current];
    fiber.done = true;
    --n_live;
    Warp& warp = warps[current / 32];
    --warp.n_live;
    if (n_live && n_waiting == n_live) { n_waiting = 0; ++generation; }
    if (warp.n_live && warp.n_waiting == warp.n_live) { warp.n_waiting = 0; ++warp.generation; }
    swapcontext(&fiber.context, &scheduler);
}

inline void run_block(bool reversed) {
    const size_t n = size_t(blockDim.x) * blockDim.y * blockDim.z;
    if (fibers.size() < n) fibers.resize(n);
    warps.assign((n + 31) / 32, Warp());
    n_live = n; n_waiting = 0;
    for (size_t i = 0; i < n; ++i) {
        Fiber& fiber = fibers[i];
        fiber.done = false;
        fiber.stack.resize(stack_bytes);
        fiber.thread = {unsigned(i % blockDim.x), unsigned(i / blockDim.x % blockDim.y), unsigned(i / blockDim.x / blockDim.y)};
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = stack_bytes;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, fiber_main, 0);
        ++warps[i / 32].n_live;
    }
    while (n_live) {
        for (size_t place = 0; place < n; ++place) {
            const size_t i = reversed ? n - 1 - place : place;
            if (fibers[i].done) continue;
            current = i;
            threadIdx = fibers[i].thread;
            swapcontext(&scheduler, &fibers[i].context);
        }
    }
}

template <class... A> struct Call {
    void (*kernel)(A...);
    void** arguments;
    template <size_t... I> void apply(std::index_sequence<I...>) { kernel(*static_cast<std::remove_reference_t<A>*>(arguments[I])...); }
    static void run(void* self) { static_cast<Call*>(self)->apply(std::index_sequence_for<A...>{}); }
};

template <class... A> void launch(void (*kernel)(A...), const unsigned* grid, const unsigned* block, int reversed, void** arguments) {
    Call<A...> call{kernel, arguments};
    body = Call<A...>::run;
    body_arguments = &call;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    for (unsigned z = 0; z < grid[2]; ++z)
        for (unsigned y = 0; y < grid[1]; ++y)
            for (unsigned x = 0; x < grid[0]; ++x) {
                blockIdx = {x, y, z};
                std::memset(emulated_shared_memory, 0xFF, sizeof emulated_shared_memory);  // NaN: not yet written
                for (const Region& region : regions) std::memset(region.begin, 0xFF, region.n_bytes);
                run_block(reversed);
            }
}

}  // namespace emulated

inline void __syncthreads() { emulated::barrier(); }
inline void __syncwarp(unsigned = ~0u) { emulated::exchange(0, 0); }
inline void __threadfence() {}
inline void __threadfence_block() {}
template <class T> T __shfl_sync(unsigned, T value, int source, int width = 32) {
    const int lane = emulated::linear_thread() % 32;
    return emulated::exchange(value, (lane & ~(width - 1)) + (source & (width - 1)));
}
template <class T> T __shfl_xor_sync(unsigned, T value, int mask, int = 32) {
    return emulated::exchange(value, int(emulated::linear_thread() % 32) ^ mask);
}
template <class T> T __shfl_down_sync(unsigned, T value, int delta, int width = 32) {
    const int lane = emulated::linear_thread() % 32, within = lane & (width - 1);
    return emulated::exchange(value, within + delta < width ? lane + delta : lane);
}
template <class T> T __shfl_up_sync(unsigned, T value, int delta, int width = 32) {
    const int lane = emulated::linear_thread() % 32, within = lane & (width - 1);
    return emulated::exchange(value, within - delta >= 0 ? lane - delta : lane);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
    unsigned all = 0;
    emulated::Warp& warp = emulated::warps[emulated::linear_thread() / 32];
    const uint64_t turn = warp.generation;
    warp.slots[turn & 1][emulated::linear_thread() % 32] = predicate != 0;
    warp.given[turn & 1][emulated::linear_thread() % 32] = turn;  // a lane that has left before gives nothing
    emulated::warp_barrier(warp);
    for (int lane = 0; lane < 32; ++lane)
        if (warp.given[turn & 1][lane] == turn && warp.slots[turn & 1][lane]) all |= 1u << lane;
    return all;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, !predicate) == 0; }
template <class T> T __ldg(const T* place) { return *place; }
template <class T, class U> T atomicAdd(T* place, U value) { T old = *place; *place += value; return old; }
template <class T, class U> T atomicMax(T* place, U value) { T old = *place; if (T(value) > old) *place = value; return old; }
inline unsigned atomicCAS(unsigned* place, unsigned expected, unsigned value) { unsigned old = *place; if (old == expected) *place = value; return old; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __int_as_float(int bits) { float x; std::memcpy(&x, &bits, 4); return x; }
inline int __float_as_int(float x) { int bits; std::memcpy(&bits, &x, 4); return bits; }
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
using std::fabs;
using std::fma;
