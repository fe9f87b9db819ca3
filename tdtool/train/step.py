"""One update of a net: forward, loss, backward, clip, optimiser, average. Nothing in it waits for the device.

Letters: B images of a part, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tdtool.config import OptimiserConfig
from tdtool.train.augment import mix, partners, to_input
from tdtool.train.averaging import Average
from tdtool.train.draws import keys
from tdtool.train.precision import autocast
from tdtool.train.strategy import clip_gradients, no_sync

if TYPE_CHECKING:
    from tdtool.train.batches import Batch

_DROPOUT = 0x44524F50  # the purpose of these draws: order and augmentation have their own
_RANDOM = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


class Updater:
    """Updates a net in place, step by step.

    model : as it is distributed; loss_sum : of the losses of all updates, (), float64 on the device.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        config: OptimiserConfig,
        *,
        device: torch.device,
        dtype: torch.dtype,
        seed: int,
        rank_id: int,
        average: Average | None = None,
    ) -> None:
        self.model, self.optimiser, self.average = model, optimiser, average
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._gradient_norm: Tensor | None = None
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self._config, self._device, self._dtype = config, device, dtype
        self._key = (seed, _DROPOUT, rank_id)
        self._draws = any(isinstance(module, _RANDOM) and module.p > 0 for module in model.modules())

    def update(self, parts: Sequence[Batch], step: int, learning_rate: float) -> None:
        """One update on the parts of this process's share of a batch, equal in size, one after the other."""
        self._seed_dropout(step)
        self.optimiser.zero_grad(set_to_none=True)
        for number, part in enumerate(parts, 1):
            with contextlib.nullcontext() if number == len(parts) else no_sync(self.model):
                loss = self._loss(part) / len(parts)
                self.scaler.scale(loss).backward()
            self.loss_sum += loss.detach()
        self.scaler.unscale_(self.optimiser)
        if self._config.clip is not None:
            self._gradient_norm = clip_gradients(self.model, self._config.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.model)

    def norm(self) -> float:
        """Norm of the last update's gradient before it was clipped; waits for the device. All processes call it."""
        return float(clip_gradients(self.model, None) if self._gradient_norm is None else self._gradient_norm)

    def state(self) -> dict[str, Any]:
        """What has to be kept besides tensors, as JSON values."""
        return self.scaler.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        if self.scaler.is_enabled() and state:
            self.scaler.load_state_dict(state)

    def _loss(self, part: Batch) -> Tensor:
        """Mean over the images of a part, (): cross entropy (Szegedy et al. 2016 for the smoothing), mixed or not."""
        x_BCHW = to_input(part.x_BHWC, self._dtype, self._device)
        y_B = part.y_B.to(self._device, non_blocking=True)
        smoothing = self._config.label_smoothing
        if part.lambda_B is None:
            with autocast(self._device, self._dtype):
                logits_BK = self.model(x_BCHW)
            return cross_entropy(logits_BK.float(), y_B, label_smoothing=smoothing)
        lambda_B = part.lambda_B.to(self._device, non_blocking=True)
        with autocast(self._device, self._dtype):
            logits_BK = self.model(mix(x_BCHW, lambda_B))
        own_B = cross_entropy(logits_BK.float(), y_B, label_smoothing=smoothing, reduction="none")
        other_B = cross_entropy(logits_BK.float(), partners(y_B), label_smoothing=smoothing, reduction="none")
        return (lambda_B * own_B + (1 - lambda_B) * other_B).mean()

    def _seed_dropout(self, step: int) -> None:
        """Dropout is a function of (seed, step, process), so that a run that is resumed draws the same."""
        if self._draws:
            torch.manual_seed(int(keys(self._key, np.array([step]))[0] >> np.uint64(1)))
