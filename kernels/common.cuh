// What the kernels share: sums over a warp and over a block, always in the same order, and dynamic shared memory.
#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(type, name)                                       \
    extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[]; \
    type* name = reinterpret_cast<type*>(dynamic_shared_bytes)
#endif

#define ALL_LANES 0xffffffffu

// The sum over the 32 lanes, in every lane.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1) value += __shfl_xor_sync(ALL_LANES, value, distance);
    return value;
}

// The largest of the 32 lanes, in every lane.
template <class T>
__device__ __forceinline__ T warp_max(T value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1) {
        const T other = __shfl_xor_sync(ALL_LANES, value, distance);
        value = other > value ? other : value;
    }
    return value;
}

// The sum over a one-dimensional block of whole warps, in every thread. parts: 32 values of shared memory; a second
// call may follow at once.
template <class T>
__device__ __forceinline__ T block_sum(T value, T* parts) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, n_warps = blockDim.x / 32;
    value = warp_sum(value);
    if (lane == 0) parts[warp] = value;
    __syncthreads();
    value = lane < n_warps ? parts[lane] : T(0);
    value = warp_sum(value);
    __syncthreads();
    return value;
}
