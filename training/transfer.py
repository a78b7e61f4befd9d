"""Numbers between the host and the device, without either waiting for the other longer than it must."""

from __future__ import annotations

import torch
from torch import Tensor


def send(tensor: Tensor, device: str | torch.device) -> Tensor:
    """Return a CPU tensor on ``device``; the host goes on at once, and what is launched next sees the values.

    Of memory that is not pinned, torch's copy to a GPU waits until that has done all it was given before.
    """
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
