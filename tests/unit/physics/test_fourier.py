"""Fourier and Hartley conventions, shifts and resampling."""

import pytest
import torch

from hydra_bench.methods.hydra.data.images import Frequencies, centred_images, swap_negatives
from hydra_bench.physics.fourier import (
    centre_pad,
    fourier_crop,
    fourier_upsample,
    hartley,
    low_frequencies,
    real_from_hartley,
)


@pytest.mark.parametrize("box", [15, 16])
def test_hartley_is_its_own_inverse(box: int) -> None:
    volume = torch.randn(box, box, box, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(real_from_hartley(hartley(volume, 3), 3), volume, atol=1e-5, rtol=0)


def test_hartley_of_a_shifted_point() -> None:
    """A point at (x, y) has the transform cos + sin of 2π(kx x + ky y)/D."""
    box, (x, y) = 16, (3, -2)
    image = torch.zeros(box, box)
    image[box // 2 + y, box // 2 + x] = 1
    k = torch.arange(box) - box // 2
    phase = 2 * torch.pi / box * (k[None] * x + k[:, None] * y)
    torch.testing.assert_close(hartley(image, 2), phase.cos() + phase.sin(), atol=1e-5, rtol=0)


def test_centring_undoes_a_shift() -> None:
    box, shift = 16, torch.tensor([[3.0, -2.0]])
    image = torch.randn(box, box, generator=torch.Generator().manual_seed(1))
    displaced = torch.roll(image, (-2, 3), (0, 1))  # (y, x)
    frequencies = Frequencies.of_box(box, 7)
    first, second = (hartley(i, 2).flatten()[None, frequencies.pixels(box)] for i in (image, displaced))
    torch.testing.assert_close(centred_images(second, shift, frequencies.plane, box), first, atol=1e-4, rtol=0)


def test_frequencies_rise_in_pairs() -> None:
    frequencies = Frequencies.of_box(16, 7)
    radius = frequencies.plane.norm(dim=1)
    assert (radius.diff() >= 0).all()
    assert radius[0] == 1
    torch.testing.assert_close(swap_negatives(frequencies.plane.T), -frequencies.plane.T)
    for l in (2, 5, 7):
        n = frequencies.count(l)
        assert radius[n - 1] <= l
        assert n == len(radius) or radius[n] > l


@pytest.mark.parametrize("box", [24, 25])
def test_resampling_keeps_values_of_smooth_maps(box: int) -> None:
    axis = torch.arange(box) - box // 2.0
    blob = torch.exp(-(axis.square()) / 18)
    volume = blob[:, None, None] * blob[:, None] * blob
    small = fourier_crop(volume, 12, 3)
    assert float(small[6, 6, 6]) == pytest.approx(1.0, abs=0.01)
    large = fourier_upsample(volume, 2 * box)
    assert float(large[box, box, box]) == pytest.approx(1.0, abs=0.01)
    assert float(large[box, box, box + 2]) == pytest.approx(float(volume[box // 2, box // 2, box // 2 + 1]), abs=0.01)


def test_padding_keeps_the_origin() -> None:
    for box in (7, 8):
        volume = torch.zeros(box, box, box)
        volume[(box // 2,) * 3] = 1
        assert centre_pad(volume, 15, 3)[7, 7, 7] == 1
        assert centre_pad(volume, 16, 3)[8, 8, 8] == 1


@pytest.mark.parametrize("times", [1, 2, 3])
def test_low_frequencies_of_a_large_map_make_the_small_one_where_it_lies(times: int) -> None:
    generator = torch.Generator().manual_seed(0)
    small = fourier_upsample(torch.randn(8, 8, 8, generator=generator), 16)
    large = fourier_upsample(small, 16 * times)
    again = torch.fft.irfftn(low_frequencies(large, 16), (16,) * 3) / times**3
    assert torch.allclose(again, small, atol=1e-5)


def test_low_frequencies_are_those_of_the_whole_transform() -> None:
    x = torch.randn(24, 24, 24, generator=torch.Generator().manual_seed(1))
    low, whole = low_frequencies(x, 10), torch.fft.rfftn(x)
    kept = [0, 1, 2, 3, 4, -4, -3, -2, -1]
    for z in kept:
        for y in kept:
            assert torch.allclose(low[z, y, :5], whole[z, y, :5], atol=1e-3)
