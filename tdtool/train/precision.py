"""In which numbers a net is computed: the widest ones that the device is fast in."""

from __future__ import annotations

from pathlib import Path

import torch

_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of autocast. precision : fp32, bf16, fp16; auto: bf16 where the device multiplies it, else fp32."""
    if precision != "auto":
        return _DTYPES[precision]
    return torch.bfloat16 if _multiplies_bf16(device) else torch.float32


def precision_name(dtype: torch.dtype) -> str:
    """fp32, bf16 or fp16."""
    return next(name for name, known in _DTYPES.items() if known == dtype)


def precision_on(precision: str, kind: str) -> str:
    """The name of what `precision` means on a kind of device, "cpu" or "cuda"."""
    return precision_name(compute_dtype(precision, torch.device(kind)))


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """The context of a forward pass; it does nothing for float32."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))  # older ones imitate it, slowly
    return bool(_CPU_FLAGS & _cpu_flags())


def _cpu_flags() -> set[str]:
    """What Linux says the processor can do; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.split()[2:]) for line in lines if line.startswith("flags")), set())
