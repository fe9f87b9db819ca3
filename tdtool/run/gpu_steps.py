"""The steps that a GPU does, joined from where they are."""

from __future__ import annotations

from tdtool.data.device_rows import GpuSteps
from tdtool.models import inference_gpu, polish_gpu
from tdtool.moments import pairs_gpu, sketched_triples_gpu, triples_gpu

GPU_STEPS: GpuSteps = {
    **pairs_gpu.GPU_STEPS,
    **triples_gpu.GPU_STEPS,
    **sketched_triples_gpu.GPU_STEPS,
    **polish_gpu.GPU_STEPS,
    **inference_gpu.GPU_STEPS,
}
