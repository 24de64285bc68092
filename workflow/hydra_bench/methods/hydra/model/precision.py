"""Products of matrices that may be made in a GPU's reduced precision, and none other may.

Rotations, coordinates, phases and the CTF are computed in full float32, whatever the device: an error of 2^-11 in a
coordinate is a phase wrong by 0.06 at the edge of a box of 128 px. Overlaps of the pose search and the layers of the
fields bear it, as tests/unit/methods/test_hydra_precision.py shows by rounding their operands on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import FunctionCtx

_TF32_DROPPED_BITS = 13
"""Of float32's 23 bits of mantissa TF32 has the first 10."""


class Precision:
    """What `product` does.

    tf32 : whether a GPU may use TF32. emulated : whether operands are rounded to TF32 first, on any device.
    """

    tf32 = True
    emulated = False


def rounded_to_tf32(x: torch.Tensor) -> torch.Tensor:
    """float32 rounded to the nearest number that TF32 holds, halves away from zero."""
    bits = x.contiguous().view(torch.int32) + (1 << (_TF32_DROPPED_BITS - 1))
    return (bits & -(1 << _TF32_DROPPED_BITS)).view(torch.float32)


def _multiplied(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    if Precision.emulated:
        return torch.matmul(rounded_to_tf32(a), rounded_to_tf32(b))
    if not (a.is_cuda and Precision.tf32):
        return torch.matmul(a, b)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return torch.matmul(a, b)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


class _Product(torch.autograd.Function):
    """A product whose gradients' products are made in the same precision."""

    @staticmethod
    def forward(ctx: FunctionCtx, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(a, b)
        return _multiplied(a, b)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # Any: saved_tensors is untyped
        a, b = ctx.saved_tensors
        of_a = _multiplied(gradient, b.mT) if ctx.needs_input_grad[0] else None
        of_b = _multiplied(a.mT, gradient) if ctx.needs_input_grad[1] else None
        return of_a, of_b


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a @ b, in reduced precision where the device has one; for gradients both are stacks of as many matrices."""
    if not (a.requires_grad or b.requires_grad) or not (a.is_cuda or Precision.emulated):
        return _multiplied(a, b)
    found: torch.Tensor = _Product.apply(a, b)  # type: ignore[no-untyped-call] # torch's own
    return found
