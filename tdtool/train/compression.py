"""Gradients made smaller on their way between processes: torch's own communication hooks."""

from __future__ import annotations

from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

from tdtool.errors import UsageError

#: PowerSGD (Vogels et al. 2019): rank of what is sent of each gradient matrix; its steps without compression, in which
#: the gradients are still far from low rank.
POWER_RANK, POWER_START = 4, 100


def compress(model: DistributedDataParallel, how: str) -> None:
    """Send gradients as `how` says: "none", "fp16", "bf16" (half the bytes) or "powersgd" (low-rank factors).

    All but "none" lose something. PowerSGD remembers what it left out of each gradient and sends it later; that is not
    part of a checkpoint, so that a run that goes on with it starts with nothing left out and is not equal to the bit.
    """
    if how == "fp16":
        model.register_comm_hook(None, default_hooks.fp16_compress_hook)
    elif how == "bf16":
        # Under its own name DDP takes torch's hook on GPUs only, though gloo sums bfloat16 as well.
        model.register_comm_hook(None, lambda group, bucket: default_hooks.bf16_compress_hook(group, bucket))
    elif how == "powersgd":
        state = powerSGD_hook.PowerSGDState(
            None, matrix_approximation_rank=POWER_RANK, start_powerSGD_iter=POWER_START, random_seed=0
        )
        model.register_comm_hook(state, powerSGD_hook.powerSGD_hook)
    elif how != "none":
        raise UsageError(f"--compress {how} is not known", hint="none, fp16, bf16 or powersgd")
