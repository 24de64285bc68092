"""From the host to a device without waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def on_device(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on a device; a GPU takes it, from memory that is pinned, when it comes to it."""
    if device.type == "cuda":
        x = x.contiguous().pin_memory()
    return x.to(device, non_blocking=True)
