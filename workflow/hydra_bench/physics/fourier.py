"""Fourier and Hartley transforms of images and maps: the conventions, once.

Images are (..., y, x), maps (..., z, y, x), and the origin is the voxel D//2 in both the real and the
Fourier picture ("centred"). Frequencies k are integers in cycles per box. Transforms are unnormalised
forwards, so that the 2-D transform of a projection is a central slice of the 3-D transform.

The Hartley transform is H = Re F - Im F = sum x (cos + sin): real, and its own inverse up to D^n.
A shift moves the content of an image by t = (x, y) px. With φ = 2π k·t / D it multiplies F by exp(-iφ), which in
Hartley form is H'(k) = cos φ H(k) + sin φ H(-k)  (Bracewell, The Hartley Transform, 1986).
"""

import torch


def fft_centred(x: torch.Tensor, n_dims: int) -> torch.Tensor:
    """Transform the last n_dims axes, origin at D//2 on both sides."""
    dims = tuple(range(-n_dims, 0))
    transform: torch.Tensor = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(x, dim=dims), dim=dims), dim=dims)
    return transform


def ifft_centred(x: torch.Tensor, n_dims: int) -> torch.Tensor:
    """The inverse of `fft_centred`."""
    dims = tuple(range(-n_dims, 0))
    values: torch.Tensor = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(x, dim=dims), dim=dims), dim=dims)
    return values


def hartley(x: torch.Tensor, n_dims: int) -> torch.Tensor:
    """Hartley transform of the last n_dims axes, centred, unnormalised."""
    f = fft_centred(x, n_dims)
    return f.real - f.imag


def real_from_hartley(h: torch.Tensor, n_dims: int) -> torch.Tensor:
    """The inverse of `hartley`."""
    return hartley(h, n_dims) / h[(0,) * (h.ndim - n_dims)].numel()


def centre_crop(x: torch.Tensor, box: int, n_dims: int) -> torch.Tensor:
    """Cut the last n_dims axes to `box` around the origin voxel."""
    start = x.shape[-1] // 2 - box // 2
    for dim in range(-n_dims, 0):
        x = x.narrow(dim, start, box)
    return x


def centre_pad(x: torch.Tensor, box: int, n_dims: int) -> torch.Tensor:
    """Pad the last n_dims axes with zeros to `box`, keeping the origin voxel the origin."""
    before = box // 2 - x.shape[-1] // 2
    after = box - x.shape[-1] - before
    return torch.nn.functional.pad(x, [before, after] * n_dims)


def fourier_crop(x: torch.Tensor, box: int, n_dims: int) -> torch.Tensor:
    """Downsample real images or maps to `box` by cutting their transform; mean values are kept.

    The Nyquist line of an even box has no partner after the cut; taking the real part halves it, as
    every Fourier crop does.
    """
    if box == x.shape[-1]:
        return x
    scale = (box / x.shape[-1]) ** n_dims
    return ifft_centred(centre_crop(fft_centred(x, n_dims), box, n_dims), n_dims).real * scale


def low_frequencies(x: torch.Tensor, box: int) -> torch.Tensor:
    """The transform of a real map (D, D, D), D and box even, at the frequencies that `box` voxels a side have.

    Returns (box, box, box // 2 + 1), not centred: ordered as torch.fft.irfftn, which makes the smaller map of it, takes
    them, and a position in the map, as a share of its side, stays where it is. Each axis is cut before the next is
    transformed, so that of a map that is much larger most is never computed.
    """
    half: torch.Tensor = torch.fft.rfft(x, dim=2)[:, :, : box // 2 + 1]
    for dim in (1, 0):
        half = torch.fft.fft(half, dim=dim)
        if box < len(x):
            low, high = half.narrow(dim, 0, box // 2), half.narrow(dim, len(x) - box // 2, box // 2)
            # Frequencies box/2 and -box/2 are one on the smaller grid.
            high.narrow(dim, 0, 1).add_(half.narrow(dim, box // 2, 1)).mul_(0.5)
            half = torch.cat([low, high], dim)
    return half


def fourier_upsample(volume: torch.Tensor, box: int) -> torch.Tensor:
    """Upsample a real map (D, D, D) to `box` voxels a side; values are kept, frequencies |k| >= D/2 are cut.

    The ball, not the cube, of frequencies stays: only it can be turned and sampled at D voxels again.
    """
    size = volume.shape[-1]
    inside = frequency_radius(size, 3).to(volume.device) < size / 2
    transform = fft_centred(volume, 3) * inside
    return ifft_centred(centre_pad(transform, box, 3), 3).real * (box / size) ** 3


def frequency_plane(box: int) -> torch.Tensor:
    """Frequencies of an image (box², 3) as (kx, ky, 0), float32, row by row."""
    k = torch.arange(box, dtype=torch.float32) - box // 2
    ky, kx = torch.meshgrid(k, k, indexing="ij")
    return torch.stack([kx, ky, torch.zeros_like(kx)], -1).reshape(-1, 3)


def frequency_radius(box: int, n_dims: int) -> torch.Tensor:
    """|k| of every voxel of a centred transform, (box,) * n_dims, float32."""
    k = torch.arange(box, dtype=torch.float32) - box // 2
    return torch.stack(torch.meshgrid(*[k] * n_dims, indexing="ij")).square().sum(0).sqrt()


def shift_phases(shifts_px: torch.Tensor, frequencies: torch.Tensor, box: int) -> torch.Tensor:
    """φ = 2π k·t / D (..., n) in radians, of shifts (..., d) in px of this box and frequencies (n, d or more)."""
    return (2 * torch.pi / box) * (shifts_px @ frequencies[:, : shifts_px.shape[-1]].T)


def shift_factors(shifts_px: torch.Tensor, frequencies: torch.Tensor, box: int) -> torch.Tensor:
    """The factors (B, n), complex, that move images by shifts (B, 2), (x, y) in px of this box."""
    phases = shift_phases(shifts_px.float(), frequencies, box)
    return torch.polar(torch.ones_like(phases), -phases)


def hartley_moved_back(at_k: torch.Tensor, at_minus_k: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
    """Hartley coefficients at k of images moved by -t, from those at k and -k, and the phases of t."""
    return torch.cos(phases) * at_k - torch.sin(phases) * at_minus_k


def slice_volume(volume: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Trilinear values of a centred volume at points.

    Parameters
    ----------
    volume : (channels, P, P, P), z, y, x, origin at P//2.
    points : (..., 3) positions (x, y, z) in voxels from the origin.

    Returns
    -------
    (channels, ...), zero outside the volume.
    """
    size, n, shape = volume.shape[-1], points[..., 0].numel(), points.shape[:-1]
    # Voxel size//2 and its neighbours on grid_sample's scale, on which -1 and 1 are the first and the last voxel.
    origin = points.new_tensor(2 * (size // 2) / (size - 1) - 1)
    normalised = torch.add(origin, points, alpha=2 / (size - 1)).reshape(n, 3)
    # grid_sample shares its work between threads by batch entries: one entry a thread, the last one padded.
    batches = torch.get_num_threads() if volume.device.type == "cpu" else 1
    normalised = torch.nn.functional.pad(normalised, (0, 0, 0, -n % batches)).reshape(batches, 1, 1, -1, 3)
    sampled = torch.nn.functional.grid_sample(
        volume.expand(batches, *volume.shape), normalised, mode="bilinear", padding_mode="zeros", align_corners=True
    )
    return sampled.transpose(0, 1).reshape(volume.shape[0], -1)[:, :n].reshape(-1, *shape)
