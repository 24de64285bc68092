"""FSC, alignment and resampling of maps on phantoms whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hydra_bench.maps.alignment import Alignment, _adam_step, align_map, apply
from hydra_bench.maps.fsc import compare, resolution, shell_frequencies
from hydra_bench.maps.masks import soft_mask, spherical_mask
from hydra_bench.metrics.pose import aligned_poses, pose_errors
from hydra_bench.physics.fourier import fft_centred, fourier_crop, frequency_radius, ifft_centred
from hydra_bench.physics.rotations import MIRROR, angular_distance_deg, random_rotations


def blobs(box: int, seed: int, matrix: np.ndarray | None = None, shift: np.ndarray | None = None) -> np.ndarray:
    """An asymmetric map (box,) * 3 of Gaussians; each centre c goes to matrix @ c + shift (x, y, z), in px."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(30, 3)) * np.array([0.13, 0.09, 0.06]) * box
    heights = generator.uniform(0.5, 1.5, 30)
    moved = centres @ (np.eye(3) if matrix is None else matrix).T + (np.zeros(3) if shift is None else shift)
    axis = np.arange(box) - box // 2
    parts = [np.exp(-((axis - moved[:, [i]]) ** 2) / (2 * 1.2**2)) for i in range(3)]
    return np.einsum("n,nz,ny,nx->zyx", heights, parts[2], parts[1], parts[0]).astype(np.float32)


def noise(box: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(box,) * 3).astype(np.float32)


def test_equal_maps_have_fsc_one_and_cryobench_maximum():
    agreement = compare(noise(128, 0), noise(128, 0))
    assert agreement.auc == pytest.approx(1)
    assert agreement.cryobench_auc == pytest.approx(63 / 128)
    assert agreement.curve.shape == shell_frequencies(128, 1.5).shape == (63,)


def test_independent_noise_and_opposite_contrast():
    assert abs(compare(noise(32, 0), noise(32, 1)).curve[3:]).max() < 0.15
    assert compare(noise(32, 0), -noise(32, 0)).auc == pytest.approx(-1)
    assert compare(noise(32, 0), 3 * noise(32, 0)).auc == pytest.approx(1)


def test_lowpassed_map_counts_only_its_shells():
    full = noise(32, 0)
    f = fft_centred(torch.from_numpy(full), 3) * (frequency_radius(32, 3) < 6.5)
    low = ifft_centred(f, 3).real.numpy()
    curve = compare(low, full).curve
    np.testing.assert_allclose(curve[:6], 1, atol=1e-5)
    np.testing.assert_allclose(curve[6:], 0, atol=1e-5)


def test_empty_map_scores_zero():
    assert compare(np.zeros((16,) * 3, np.float32), noise(16, 0)).auc == 0


def test_mask_hides_what_is_outside():
    a, mask = blobs(32, 0), spherical_mask(32, 20, 2)
    b = a.copy()
    b[:3] += 1
    assert compare(a, b).auc < 0.9
    assert compare(a, b, mask).auc == pytest.approx(1)


def test_resolution_is_linear_between_shells():
    curve = np.array([1.0, 0.8, 0.4, 0.0, 0.0, 0.0, 0.0])
    assert resolution(curve, 2.0, 0.5) == pytest.approx(32 / 2.75)
    assert resolution(np.ones(7), 2.0, 0.5) == pytest.approx(32 / 7)
    assert resolution(np.zeros(7), 2.0, 0.5) is None


def random_case(seed: int, box: int) -> tuple[np.ndarray, np.ndarray]:
    """An orthogonal matrix (3, 3), mirrored for odd seeds, and a shift in px."""
    generator = np.random.default_rng(seed)
    matrix = random_rotations(1, generator)[0] @ (MIRROR if seed % 2 else np.eye(3))
    return matrix, generator.uniform(-0.08, 0.08, 3) * box


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_alignment_recovers_rotation_shift_and_hand(seed):
    box = 40
    matrix, shift = random_case(seed, box)
    reference, moving = blobs(box, seed), blobs(box, seed, matrix, shift)
    alignment = align_map(moving + 0.3 * moving.std() * noise(box, seed), reference)
    assert alignment.mirrored == bool(seed % 2)
    np.testing.assert_allclose(alignment.matrix @ matrix, np.eye(3), atol=0.01)
    np.testing.assert_allclose(alignment.matrix @ shift + alignment.shift_px, 0, atol=0.1)
    assert compare(apply(moving, alignment), reference).curve[:-4].min() > 0.95


def test_alignment_ignores_amplitudes_and_repeats_itself():
    matrix, shift = random_case(3, 32)
    reference, moving = blobs(32, 5), blobs(32, 5, matrix, shift)
    f = fft_centred(torch.from_numpy(moving), 3) * torch.exp(-frequency_radius(32, 3) / 4)
    smooth = ifft_centred(f, 3).real.numpy()
    first, second = align_map(smooth, reference), align_map(smooth, reference)
    np.testing.assert_allclose(first.matrix @ matrix, np.eye(3), atol=0.02)
    assert np.array_equal(first.rotation, second.rotation)
    assert np.array_equal(first.shift_px, second.shift_px)


def test_alignment_of_an_empty_map_is_the_identity():
    alignment = align_map(np.zeros((16,) * 3, np.float32), blobs(16, 0))
    assert alignment.correlation == 0
    assert np.array_equal(alignment.matrix, np.eye(3))


@pytest.mark.parametrize("box", [33, 48])
def test_apply_costs_no_resolution(box):
    matrix, shift = random_case(1, box)

    def sharp(*pose: np.ndarray) -> np.ndarray:
        # Cropped from twice the box, so that nothing is aliased and there is power up to Nyquist.
        return fourier_crop(torch.from_numpy(blobs(2 * box, 3, *pose)), box, 3).numpy()

    moved = apply(sharp(), Alignment(matrix @ MIRROR, shift, True, 1.0))
    assert compare(moved, sharp(matrix, 2 * shift)).curve.min() > 0.97


@pytest.mark.parametrize("mirrored", [False, True])
def test_aligned_poses_explain_the_same_images(mirrored):
    """The projection of the method's map at its pose is that of the aligned map at the aligned pose."""
    generator = np.random.default_rng(4)
    turn, shift = random_rotations(1, generator)[0], generator.uniform(-2, 2, 3)
    rotations, shifts = random_rotations(3, generator), generator.uniform(-3, 3, (3, 2))
    alignment = Alignment(turn, shift, mirrored, 1.0)
    turned, displaced = aligned_poses(rotations, shifts, alignment, 1.5)
    np.testing.assert_allclose(np.linalg.det(turned), 1)
    for i in range(3):
        own = blobs(32, 7, rotations[i], np.append(shifts[i] / 1.5, 0)).sum(0)
        # The aligned map, in coordinates: x_ref = matrix @ x + shift, then viewed and displaced.
        view = turned[i] @ alignment.matrix
        offset = turned[i] @ shift + np.append(displaced[i] / 1.5, 0)
        np.testing.assert_allclose(blobs(32, 7, view, offset).sum(0), own, atol=1e-3 * own.max())


def test_pose_errors_know_symmetry():
    generator = np.random.default_rng(0)
    true = random_rotations(5, generator)
    half_turn = np.diag([-1.0, -1.0, 1.0])
    equivalent, shifts = true @ half_turn, np.zeros((5, 2))
    plain = pose_errors(equivalent, shifts + np.array([3.0, 4.0]), true, shifts)
    np.testing.assert_allclose(plain.angle_deg, 180)
    np.testing.assert_allclose(plain.shift_A, 5)
    symmetric = pose_errors(equivalent, shifts, true, shifts, np.stack([np.eye(3), half_turn]))
    np.testing.assert_allclose(symmetric.angle_deg, 0, atol=1e-5)


def test_a_soft_mask_holds_the_particle_and_little_more():
    volume = blobs(32, 0)
    noisy = volume + np.random.default_rng(0).normal(0, 0.1 * volume.max(), volume.shape).astype(np.float32)
    for made in (soft_mask(volume, 8.0), soft_mask(noisy, 8.0)):
        assert (made.min(), made.max()) == (0, 1)
        assert 0.02 < made.mean() < 0.7
        assert (volume * made).sum() > 0.95 * volume.sum()
    assert compare(noisy * soft_mask(noisy, 8.0), volume).auc > compare(noisy, volume).auc + 0.02
    assert (soft_mask(np.zeros((8, 8, 8), np.float32), 8.0) == 1).all()


def symmetric(box: int, group: str, heavier: float = 0.0) -> np.ndarray:
    """A map (box,) * 3 of units turned by the elements of a point group; the first has more mass than the others."""
    unit = np.random.default_rng(3).normal(size=(9, 3)) * 0.05 * box + np.array([0.24, 0.02, 0.05]) * box
    axis = np.arange(box) - box // 2
    parts = []
    for n, element in enumerate(Rotation.create_group(group).as_matrix()):
        x, y, z = (np.exp(-((axis - (unit @ element.T)[:, [i]]) ** 2) / (2 * 1.1**2)) for i in range(3))
        parts.append((1 + heavier * (n == 0)) * np.einsum("nz,ny,nx->zyx", z, y, x))
    return np.sum(parts, axis=0).astype(np.float32)


@pytest.mark.parametrize(("group", "heavier"), [("C3", 0.0), ("C7", 0.02), ("D2", 0.0)])
def test_a_nearly_symmetric_map_is_put_into_register(group: str, heavier: float) -> None:
    reference = symmetric(28, group, heavier)
    elements = Rotation.create_group(group).as_matrix()
    for seed in range(2):
        generator = np.random.default_rng(seed)
        turn, shift = random_rotations(1, generator)[0], generator.uniform(-1, 1, 3)
        moving = apply(reference, Alignment(turn, shift, bool(seed), 1.0))
        found = align_map(moving, reference)
        matrix = found.matrix @ (turn @ MIRROR if seed else turn)
        right = elements if not heavier else np.eye(3)[None]
        assert np.linalg.det(matrix) > 0
        assert min(angular_distance_deg(matrix, element) for element in right) < 3, f"{group}, seed {seed}"


def test_a_noise_map_is_aligned_to_what_it_can_be() -> None:
    reference = blobs(24, 0)
    found = align_map(noise(24, 1), reference)
    assert np.isfinite(found.matrix).all()
    assert 0 < found.correlation < 0.4


def test_steps_of_the_ascent_are_those_of_pytorch() -> None:
    """Whose own Adam loads a compiler, which takes longer than an alignment."""
    target = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    ours, theirs = (torch.zeros(5, 6, requires_grad=True) for _ in range(2))
    mean, square = torch.zeros(5, 6), torch.zeros(5, 6)
    adam = torch.optim.Adam([theirs], lr=0.1, betas=(0.8, 0.95))
    for step in range(30):
        for state in (ours, theirs):
            state.grad = None
            (state - target).square().sum().backward()
        adam.param_groups[0]["lr"] = 0.1 * (1 - step / 30)
        adam.step()
        with torch.no_grad():
            _adam_step(ours, mean, square, step + 1, 0.1 * (1 - step / 30))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
