"""Pictures of maps as lit isosurfaces.

Orthographic ray casting on the density itself, not a mesh: the surface is found on each pixel's ray and
its normal is the density's gradient there, which looks smooth at any size. A 64-voxel map takes about
half a second on one core.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from skimage.transform import downscale_local_mean

from hydra_bench.core.types import FloatArray
from hydra_bench.physics.fourier import centre_pad, fft_centred, ifft_centred, slice_volume

UPSAMPLING = 2
_SUPERSAMPLING = 2
_LIGHTS = ((np.array([-0.45, 0.55, 0.70]), 0.72), (np.array([0.80, 0.10, 0.45]), 0.22))
_AMBIENT, _GLOSS, _GLOSS_POWER = 0.24, 0.20, 24
_COARSENING = 4
_MARGIN_VOXELS = 2.0


def upsample(volume: np.ndarray) -> np.ndarray:
    """The map (D, D, D) on a grid twice as fine (2D, 2D, 2D), by padding its transform; values are kept."""
    padded = centre_pad(fft_centred(torch.from_numpy(np.ascontiguousarray(volume)), 3), UPSAMPLING * len(volume), 3)
    return (ifft_centred(padded, 3).real * UPSAMPLING**3).float().numpy()


def level_holding(volume: np.ndarray, fraction: float) -> float:
    """The level whose voxels above it hold `fraction` of the map's positive density.

    Unlike mean + n·sd it does not change with the empty space around the particle.
    """
    values = np.sort(volume[volume > 0].astype(np.float64))[::-1]
    if not len(values):
        return 0.0
    held = np.cumsum(values)
    return float(values[min(np.searchsorted(held, fraction * held[-1]), len(values) - 1)])


def level_enclosing(volume: np.ndarray, voxels: int) -> float:
    """The level that `voxels` voxels of the map lie above."""
    voxels = int(np.clip(voxels, 1, volume.size))
    return float(np.partition(volume.ravel(), -voxels)[-voxels])


def broad_view(volume: np.ndarray) -> np.ndarray:
    """A rotation (3, 3), map to view, that shows the map's broadest side, its long axis across.

    Signs of the principal axes are set by the density's skewness along them, so the view depends on the
    map alone.
    """
    weights, points = _mass_points(volume)
    points = points - np.average(points, axis=0, weights=weights)
    _, axes = np.linalg.eigh((points * weights[:, None]).T @ points)
    right, up = axes[:, 2], axes[:, 1]
    right = right * (1 if np.sum(weights * (points @ right) ** 3) >= 0 else -1)
    up = up * (1 if np.sum(weights * (points @ up) ** 3) >= 0 else -1)
    return np.stack([right, up, np.cross(right, up)])


def extent(volume: np.ndarray, level: float) -> float:
    """The radius in voxels, around the map's origin, that nearly all of what lies above `level` fits in."""
    size = len(volume)
    axis = np.arange(size) - size // 2
    squares = (axis**2)[:, None, None] + (axis**2)[:, None] + axis**2
    return float(np.sqrt(np.quantile(squares[volume >= level], 0.9995)))


def _mass_points(volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (M,) and positions (M, 3), (x, y, z) from the origin, of the voxels that hold most density."""
    voxels = np.argwhere(volume >= max(level_holding(volume, 0.75), 1e-12))
    if not len(voxels):
        voxels = np.argwhere(volume == volume.max())
    weights = np.abs(volume[tuple(voxels.T)]).astype(np.float64) + 1e-12
    return weights, (voxels[:, ::-1] - len(volume) // 2).astype(np.float64)


@dataclass(frozen=True)
class _Surface:
    """Where a density (1, D, D, D) crosses `level`, in a view's frame, within ±radius voxels of the origin."""

    density: torch.Tensor
    level: float
    rotation: torch.Tensor
    radius: float

    def values(self, points: torch.Tensor) -> torch.Tensor:
        """The density at points (..., 3) of the view's frame."""
        return slice_volume(self.density, points @ self.rotation)[0]

    def first_crossing(self, x: torch.Tensor, y: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """Depth (M,) along the view's z at which rays, coming from `start`, first meet it; NaN if they don't.

        Rays advance voxel by voxel and leave once they have met it.
        """
        result, active = torch.full_like(x, torch.nan), torch.isfinite(start).nonzero()[:, 0]
        depth, before = start[active], torch.full((len(active),), -torch.inf)
        while len(active):
            values = self.values(torch.stack([x[active], y[active], depth], -1))
            met = values >= self.level
            result[active[met]] = (depth + (values - self.level) / (values - before))[met]
            going = ~met & (depth > -self.radius)
            active, depth, before = active[going], depth[going] - 1, values[going]
        return result

    def normals(self, points: torch.Tensor) -> FloatArray:
        """Unit normals (M, 3) at points (M, 3)."""
        steps = torch.eye(3)
        falling = self.values(points[:, None] - steps) - self.values(points[:, None] + steps)
        normals: FloatArray = torch.nn.functional.normalize(falling).numpy()
        return normals


def render(
    volume: np.ndarray,
    level: float,
    view: np.ndarray,
    radius_voxels: float,
    colour: tuple[float, float, float],
    size_px: int = 240,
) -> np.ndarray:
    """Picture (size_px, size_px, 4), RGBA in 0..1, of the surface where the map (D, D, D) crosses `level`.

    The viewer looks down the view's z axis with x to the right and y up, which keeps the hand; the picture
    shows ±radius_voxels around the map's origin.
    """
    density = torch.from_numpy(gaussian_filter(volume.astype(np.float32), 0.6))[None]
    surface = _Surface(density, level, torch.from_numpy(np.ascontiguousarray(view)).float(), radius_voxels)
    fine = size_px * _SUPERSAMPLING
    x, y = _pixel_grid(radius_voxels, fine)
    depth = surface.first_crossing(x, y, _ray_starts(surface, fine))
    hit = torch.isfinite(depth)
    points = torch.stack([x[hit], y[hit], depth[hit]], -1)
    shade, gloss = np.zeros(fine * fine), np.zeros(fine * fine)
    shade[hit.numpy()], gloss[hit.numpy()] = _light(surface.normals(points))
    picture_depth, mask = depth.numpy().reshape(fine, fine), hit.numpy().reshape(fine, fine)
    shade = shade.reshape(fine, fine) * _openness(picture_depth, mask, radius_voxels)
    rgb = np.clip(shade[..., None] * np.asarray(colour) + gloss.reshape(fine, fine, 1), 0, 1)
    return _antialiased(rgb, mask)


def _ray_starts(surface: _Surface, fine: int) -> torch.Tensor:
    """The depth (fine²,) at which each pixel's ray starts, NaN where there is nothing to meet.

    A coarse picture, its pixels still finer than a voxel, tells where the surface may begin: most of a
    full-size cast would step through empty space.
    """
    coarse = fine // _COARSENING
    x, y = _pixel_grid(surface.radius, coarse)
    depth = surface.first_crossing(x, y, torch.full_like(x, surface.radius))
    reach = torch.nan_to_num(depth, nan=-torch.inf).reshape(1, 1, coarse, coarse)
    nearest = torch.nn.functional.max_pool2d(reach, 3, stride=1, padding=1) + _MARGIN_VOXELS
    start = nearest.repeat_interleave(_COARSENING, 2).repeat_interleave(_COARSENING, 3).ravel()
    return torch.where(torch.isfinite(start), start, torch.nan)


def _pixel_grid(radius: float, pixels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x (to the right) and y (upwards) of the centres of pixels² pixels, row by row from the top."""
    across = ((torch.arange(pixels) + 0.5) / pixels * 2 - 1) * radius
    y, x = torch.meshgrid(across.flip(0), across, indexing="ij")
    return x.ravel(), y.ravel()


def _light(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Diffuse and glossy light (M,) on surfaces of these normals (M, 3)."""
    diffuse = np.full(len(normals), _AMBIENT)
    for direction, strength in _LIGHTS:
        diffuse += strength * np.clip(normals @ (direction / np.linalg.norm(direction)), 0, 1)
    key = _LIGHTS[0][0] / np.linalg.norm(_LIGHTS[0][0])
    halfway = key + np.array([0.0, 0.0, 1.0])
    halfway /= np.linalg.norm(halfway)
    return diffuse, _GLOSS * np.clip(normals @ halfway, 0, 1) ** _GLOSS_POWER


def _openness(depth: np.ndarray, mask: np.ndarray, radius: float) -> np.ndarray:
    """How open each pixel lies to the sky (0..1): what lies deeper than its surroundings is darker."""
    filled = np.where(mask, depth, 0.0)
    openness = np.where(mask, 0.82 + 0.18 * (filled + radius) / (2 * radius), 1.0)
    for width in (len(depth) / 120, len(depth) / 30):
        around = gaussian_filter(filled, width) / np.maximum(gaussian_filter(mask.astype(float), width), 1e-6)
        openness *= np.exp(-2.2 * np.clip((around - filled) / radius, 0, 0.5))
    return openness


def _antialiased(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Average blocks of the fine picture, colours weighted by coverage."""
    blocks = (_SUPERSAMPLING, _SUPERSAMPLING)
    cover = downscale_local_mean(mask, blocks)[..., None]
    colour = downscale_local_mean(rgb * mask[..., None], (*blocks, 1)) / np.maximum(cover, 1e-6)
    return np.concatenate([colour, cover], -1).astype(np.float32)
