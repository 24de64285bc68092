"""What is done to images (B, D, D) before they are worked on: the background that noise is told by, and the window.

Radii are shares of half the box, measured from the pixel D//2.
"""

import torch


def radius_in_half_boxes(box_px: int) -> torch.Tensor:
    """The distance of every pixel from the origin, (D, D), as a share of half the box."""
    axis = (torch.arange(box_px) - box_px // 2) / (box_px / 2)
    return torch.hypot(axis[:, None], axis)


def soft_window(box_px: int, inner: float, edge: float) -> torch.Tensor:
    """1 within the radius `inner`, falling as a raised cosine to 0 at `inner + edge`: (D, D)."""
    position = ((radius_in_half_boxes(box_px) - inner) / edge).clamp(0, 1)
    return 0.5 * (1 + torch.cos(torch.pi * position))


def soft_ball(box_px: int, radius: float) -> torch.Tensor:
    """1 within 0.9 of a radius in boxes, falling as a raised cosine to 0 at the radius: (D, D, D)."""
    axis = (torch.arange(box_px) - box_px // 2) / box_px
    distance = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0)
    return 0.5 * (1 + torch.cos(torch.pi * (10 * distance / radius - 9).clamp(0, 1)))


_NO_NOISE = 1e-3
_EDGE, _RING = 0.1, 0.1
"""Widths in half boxes: of the edge that a window may have, and of the ring inside it that noise is measured on."""


def ring_inside_window(images: torch.Tensor, outside: torch.Tensor) -> tuple[float, float] | None:
    """Where to measure the noise of images (B, D, D) that were windowed: a ring's radii, inside the window's edge.

    None where they have noise on the pixels `outside` (D, D), bool: a deviation of at least 0.1 % of the whole image's.
    """
    whole = images.flatten(1).std(1).mean()
    if images[:, outside].std(1).mean() > _NO_NOISE * whole:
        return None
    radius = radius_in_half_boxes(images.shape[-1])
    half = images.shape[-1] // 2
    rings = [(number / half, (radius * half).round() == number) for number in range(1, half + 1)]
    shown = [place for place, ring in rings if images[:, ring].std(1).mean() > _NO_NOISE * whole]
    farthest = max(shown, default=1.0)
    return max(farthest - _EDGE - _RING, 0.0), max(farthest - _EDGE, _RING)


def mean_and_deviation(
    images: torch.Tensor, measured: torch.Tensor, correction: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation, (B, 1, 1) each, of each image's measured pixels (D, D), bool.

    correction : 1 estimates the noise's deviation from a sample of it, 0 gives the deviation of the pixels themselves.
    """
    pixels = images[:, measured]
    return pixels.mean(1)[:, None, None], pixels.std(1, correction=correction)[:, None, None]
