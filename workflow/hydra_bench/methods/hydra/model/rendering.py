"""Fields on grids: what the pose search slices, and the maps that are written."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch

from hydra_bench.core.on_device import on_device
from hydra_bench.methods.hydra.data.images import largest_l
from hydra_bench.methods.hydra.model.networks import Field
from hydra_bench.physics.fourier import centre_pad, fft_centred, frequency_radius, real_from_hartley
from hydra_bench.physics.projection import PADDING, interpolation_falloff

_CHUNK = 1 << 15
_LATENTS = 16  # at 256 px one grid is 67 MB
_POINTS = 1 << 15
"""Points whose slices a thread of a CPU works out at a time: 5 MB, most of which its caches hold, whatever the box."""


@torch.no_grad()
def render_hartleys(field: Field, l: int, latents: Sequence[torch.Tensor | None]) -> Iterator[torch.Tensor]:
    """Hartley transforms of a field on the grid of box 2l+2, zero beyond |k| = l: (2l+2,)*3, z, y, x.

    One for each of the latents (d,), a few at a time, which share the part of the work that is alike.
    """
    box = 2 * l + 2
    device = field.envelope.device
    inside, points = ball(l, device)
    for start in range(0, len(latents), _LATENTS):
        some = latents[start : start + _LATENTS]
        grids = torch.zeros(len(some), box**3, device=device)
        for voxels, part in zip(inside.split(_CHUNK), points.split(_CHUNK), strict=True):
            embedded = field.embedded(part[None])
            for grid, latent in zip(grids, some, strict=True):
                z = None if latent is None else latent[None]
                grid[voxels] = field.at_latents(embedded, part[None], z)[0]
        yield from grids.reshape(-1, box, box, box)


def ball(l: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Voxels (m,) of a flat grid of box 2l+2 with |k| <= l, and these k (m, 3) as (x, y, z)."""
    return (_kept_ball if l <= _KEPT_L else _ball)(l, device)


def _ball(l: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    box = 2 * l + 2
    k = torch.arange(box, dtype=torch.float32) - box // 2
    inside = (frequency_radius(box, 3) <= l).flatten().nonzero()[:, 0]
    points = torch.stack(torch.meshgrid(k, k, k, indexing="ij"), -1).flip(-1).reshape(-1, 3)[inside]
    return on_device(inside, device), on_device(points, device)


_KEPT_L = 40
"""The search renders at the same l again and again; its points, 5 MB at this l, are kept."""
_kept_ball = lru_cache(maxsize=2)(_ball)


@lru_cache(maxsize=2)
def _falloff(box: int, device: torch.device) -> torch.Tensor:
    return on_device(interpolation_falloff(box, PADDING * box), device)


def slicing_grid(grid: torch.Tensor) -> torch.Tensor:
    """The padded grids (2, P, P, P) that slices are interpolated from: even and odd part of a Hartley transform.

    They are the Fourier transform's real part and its imaginary one's negative; for P see projection.PADDING.
    """
    box = grid.shape[-1]
    padded = PADDING * box
    volume = real_from_hartley(grid, 3) / _falloff(box, grid.device)
    transform = fft_centred(centre_pad(volume, padded, 3), 3)
    return torch.stack([transform.real, -transform.imag])


def slices(grid: torch.Tensor, rotations: torch.Tensor, plane: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Even and odd part, (..., h) each, of central slices at rotations (..., 3, 3) and frequencies k (h, 3).

    Of the grids that `slicing_grid` makes of a transform up to l, at |k| <= l. The slice at k is their sum, and their
    difference that at -k. As physics.fourier.slice_volume of k @ R, but that all points come from one product of
    matrices, which is quicker.
    """
    interpolate = _gathered if grid.device.type == "cpu" else _grid_sampled
    turned = rotations.reshape(-1, 3, 3)[:, :2].mT  # k has no z
    even, odd = interpolate(grid, turned, plane[:, :2].T)
    shape = (*rotations.shape[:-2], len(plane))
    return even.view(shape), odd.view(shape)


def _grid_sampled(grid: torch.Tensor, turned: torch.Tensor, plane: torch.Tensor) -> torch.Tensor:
    """Trilinear values (2, R, h) of the grids at the points that are turned, (R, 3, 2), from the plane's k, (2, h)."""
    size = grid.shape[-1]
    # Voxel size//2 and its neighbours on grid_sample's scale, on which -1 and 1 are the first and the last voxel.
    origin, scale = grid.new_full((), 2 * (size // 2) / (size - 1) - 1), 2 * PADDING / (size - 1)
    points = torch.addmm(origin, turned.reshape(-1, 2), plane, alpha=scale)
    points = points.view(1, -1, 3, plane.shape[1], 1).movedim(2, -1)
    return torch.nn.functional.grid_sample(grid[None], points, padding_mode="zeros", align_corners=True)[0, ..., 0]


def _gathered(grid: torch.Tensor, turned: torch.Tensor, plane: torch.Tensor) -> torch.Tensor:
    """Trilinear values (2, R, h), as `_grid_sampled`, on a CPU, where that works on one number after the other.

    Here the corners of all cells are one view of the grids, from which one call gathers those of a block of points.
    Then whole blocks are interpolated along one axis after the other. A point must have all its corners in the grids.
    """
    size, h = grid.shape[-1], plane.shape[1]
    # By part, step along z, y and x, and cell, whose number is that of its first corner in a flat grid.
    strides, cells = (size**3, size**2, size, 1, 1), size**3 - (size**2 + size + 1)
    corners = grid.contiguous().as_strided((2, 2, 2, 2, cells), strides)
    origin, values = grid.new_full((), size // 2), grid.new_empty(2, len(turned), h)
    rows = max(1, _POINTS * torch.get_num_threads() // h)
    for some, found in zip(turned.split(rows), values.split(rows, 1), strict=True):
        points = torch.addmm(origin, some.movedim(1, 0).reshape(-1, 2), plane, alpha=PADDING).view(3, -1)
        x, y, z = points.int()
        cell = z.mul_(size).add_(y).long().mul_(size).add_(x)
        cell.clamp_(0, cells - 1)  # poses that are no numbers, of fields that diverged, are told of later
        along_x, along_y, along_z = points.frac_()
        block = torch.gather(corners, 4, cell.expand(2, 2, 2, 2, -1))
        for along in (along_z, along_y, along_x):
            block = torch.lerp(block[:, 0], block[:, 1], along)
        found.copy_(block.view_as(found))
    return values


def render_map(field: Field, box_px: int, latent: torch.Tensor | None) -> torch.Tensor:
    """The map (D, D, D) of a field in a conformation, in units in which projections are sums over voxels."""
    return next(render_maps(field, box_px, [latent]))


def render_maps(field: Field, box_px: int, latents: Sequence[torch.Tensor | None]) -> Iterator[torch.Tensor]:
    """The same for several latents (d,)."""
    for rendered in render_hartleys(field, largest_l(box_px), latents):
        yield real_from_hartley(centre_pad(rendered, box_px, 3), 3) * box_px
