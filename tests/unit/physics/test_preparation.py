"""The window that Hydra's `window` and an experiment's `window_radius` share, and the pixels that noise is told by."""

import numpy as np
import torch

from hydra_bench.physics.preparation import mean_and_deviation, radius_in_half_boxes, soft_window


def test_radii_are_shares_of_half_the_box_from_its_origin() -> None:
    radius = radius_in_half_boxes(8)
    assert radius[4, 4] == 0
    assert radius[4, 0] == radius[0, 4] == 1
    assert radius[4, 6] == 0.5
    np.testing.assert_allclose(radius[0, 0], np.sqrt(2))
    assert radius_in_half_boxes(7)[3, 3] == 0


def test_the_window_is_1_inside_0_outside_and_half_in_the_middle_of_its_edge() -> None:
    inner, edge = 0.5, 0.25
    radius, window = radius_in_half_boxes(64), soft_window(64, inner, edge)
    assert window.shape == (64, 64)
    assert (window[radius <= inner] == 1).all()
    assert (window[radius >= inner + edge].abs() < 1e-6).all()
    np.testing.assert_allclose(window[32, 32 + 20], 0.5, atol=1e-6)  # 20 px are 0.625 of half the box
    assert (window[32, 32:].diff() <= 0).all()
    # It is round about the pixel D//2.
    torch.testing.assert_close(window, window.T)
    torch.testing.assert_close(window[1:, 1:], window[1:, 1:].flip(0, 1))


def test_mean_and_deviation_are_those_of_the_measured_pixels_alone() -> None:
    background = radius_in_half_boxes(16) > 1
    images = torch.full((2, 16, 16), 100.0)
    pixels = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (2, int(background.sum())))).float()
    images[:, background] = pixels
    for correction in (0, 1):
        mean, deviation = mean_and_deviation(images, background, correction)
        assert mean.shape == deviation.shape == (2, 1, 1)
        np.testing.assert_allclose(mean.ravel(), pixels.numpy().mean(1), rtol=1e-5)
        np.testing.assert_allclose(deviation.ravel(), pixels.numpy().std(1, ddof=correction), rtol=1e-5)
