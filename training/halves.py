"""How a network's tensors are stored when it is kept for its answers rather than to go on training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def half_precision(network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of ``network`` as files hold them: on the CPU, parameters in float16, statistics in float32.

    Statistics (batch norm's, spectral norm's vectors) are few and of any scale, so float16 would save little and could
    lose them; whole numbers stay what they are.
    """
    parameters = {name for name, _ in network.named_parameters()}
    stored = {}
    for name, tensor in network.state_dict().items():
        small = torch.float16 if name in parameters else torch.float32
        stored[name] = tensor.detach().cpu().to(small if tensor.is_floating_point() else tensor.dtype).contiguous()
    return stored
