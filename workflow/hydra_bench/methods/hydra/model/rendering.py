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

    Of the grids that `slicing_grid` makes. The slice at k is their sum, and their difference that at -k. As
    physics.fourier.slice_volume of k @ R, but that all points come from one product of matrices, which is quicker.
    """
    size, shape = grid.shape[-1], rotations.shape[:-2]
    # Voxel size//2 and its neighbours on grid_sample's scale, on which -1 and 1 are the first and the last voxel.
    origin, scale = grid.new_full((), 2 * (size // 2) / (size - 1) - 1), 2 * PADDING / (size - 1)
    turned = rotations.reshape(-1, 3, 3)[:, :2].mT  # k has no z
    # grid_sample shares its work between threads by batch entries: one entry a thread, the last one padded.
    batches = torch.get_num_threads() if grid.device.type == "cpu" else 1
    turned = torch.nn.functional.pad(turned, (0, 0, 0, 0, 0, -len(turned) % batches))
    points = torch.addmm(origin, turned.reshape(-1, 2), plane[:, :2].T, alpha=scale)
    points = points.view(batches, 1, -1, 3, len(plane)).transpose(-1, -2)
    volumes = grid.expand(batches, *grid.shape)
    sampled = torch.nn.functional.grid_sample(volumes, points, padding_mode="zeros", align_corners=True)
    even, odd = sampled.transpose(0, 1).reshape(2, -1, len(plane))[:, : shape.numel()]
    return even.view(*shape, -1), odd.view(*shape, -1)


def render_map(field: Field, box_px: int, latent: torch.Tensor | None) -> torch.Tensor:
    """The map (D, D, D) of a field in a conformation, in units in which projections are sums over voxels."""
    return next(render_maps(field, box_px, [latent]))


def render_maps(field: Field, box_px: int, latents: Sequence[torch.Tensor | None]) -> Iterator[torch.Tensor]:
    """The same for several latents (d,)."""
    for rendered in render_hartleys(field, largest_l(box_px), latents):
        yield real_from_hartley(centre_pad(rendered, box_px, 3), 3) * box_px
