"""A field and its grids and maps; what the images are made into before anything is learned from them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra_cases import PLAIN, Case, in_double, load_batch, run, source_of, tiny, whole_slices, write_stack

from hydra_bench.datasets.simulated.troubles import coloured
from hydra_bench.methods.hydra.data.images import Frequencies
from hydra_bench.methods.hydra.model.networks import Field
from hydra_bench.methods.hydra.model.rendering import render_hartleys, render_map, slicing_grid
from hydra_bench.methods.hydra.settings import Settings
from hydra_bench.physics.fourier import fourier_crop, hartley
from hydra_bench.physics.preparation import soft_window
from hydra_bench.physics.rotations import hopf_grid

EVERY = slice(None, 100)


def compact_field() -> Field:
    """A field whose map stays inside the box, as a particle's does."""
    torch.manual_seed(1)
    return Field(16, 24, 1, 0, 0.03, torch.ones(17))


def test_slices_of_a_rendered_field_are_the_field() -> None:
    field, l = compact_field(), 10
    grid = slicing_grid(next(render_hartleys(field, l, [None])))
    frequencies = Frequencies.of_box(32, 7)
    rotations = torch.from_numpy(hopf_grid(0)[:5]).float()
    with torch.no_grad():
        direct = field(frequencies.plane @ rotations)
    # Good enough for a search: the cut at l rings, and that wraps around the small box.
    assert (whole_slices(grid, rotations, frequencies.plane) - direct).abs().mean() < 0.4 * direct.std()


@pytest.mark.parametrize("box", [31, 32])
def test_rendered_map_projects_to_the_slice(box: int) -> None:
    """The map of a field, summed along z, has the field's slice at the identity for its transform."""
    field = compact_field()
    volume = render_map(field, box, None)
    assert volume.shape == (box, box, box)
    frequencies = Frequencies.of_box(box, 15)
    image = hartley(volume.sum(0), 2).flatten()[frequencies.pixels(box)] / box
    with torch.no_grad():
        expected = field(frequencies.plane[None])[0]
    torch.testing.assert_close(image, expected, atol=2e-4 * float(expected.abs().max()), rtol=0)


def test_a_latent_changes_the_field_and_none_is_the_origin() -> None:
    torch.manual_seed(0)
    field, points = Field(8, 12, 2, 2, 0.1, torch.ones(9)), torch.randn(3, 5, 3)
    torch.testing.assert_close(field(points), field(points, torch.zeros(3, 2)))
    assert (field(points) - field(points, torch.ones(3, 2))).abs().max() > 1e-4


def test_the_envelope_is_linear_between_its_radii() -> None:
    torch.manual_seed(0)
    envelope, points = torch.tensor([4.0, 4.0, 2.0, 1.0]), torch.tensor([[[0.0, 1.5, 0.0], [3.0, 0.0, 0.0]]])
    flat, scaled = Field(8, 12, 1, 0, 0.1, torch.ones(4)), Field(8, 12, 1, 0, 0.1, envelope)
    scaled.load_state_dict({**flat.state_dict(), "envelope": envelope})
    torch.testing.assert_close(scaled(points), flat(points) * torch.tensor([[3.0, 1.0]]))


def test_envelope_follows_the_signal(case: Case) -> None:
    envelope = source_of(case.stack, Frequencies.of_box(32, 15)).signal_envelope()
    assert len(envelope) == 16
    assert (envelope.diff() <= 0).all()
    assert envelope[2] > 3 * envelope[14] > 0


def test_the_noise_of_every_shell_is_one_and_the_signal_is_divided_alike(case: Case, tmp_path: Path) -> None:
    """Of images of nothing but coloured noise; the CTF, by which predictions are multiplied, has the same factor."""
    white = np.random.default_rng(0).standard_normal((60, 32, 32)).astype(np.float32)
    stack = write_stack(tmp_path, case.stack, coloured(white, 9.9, 9.0, 60.0), 9.9)
    frequencies = Frequencies.of_box(32, 15)
    settings = replace(PLAIN, noise="shells", background="plane", particle_radius=0.5)
    everything = slice(None, len(frequencies))
    measured = source_of(stack, frequencies, settings).load(np.arange(60), everything)
    untouched = source_of(stack, frequencies, PLAIN).load(np.arange(60), everything)
    rings = frequencies.plane.norm(dim=1).round().long()
    power = torch.stack([measured.hartley[:, rings == ring].square().mean() for ring in range(3, 16)])
    assert (power - 1).abs().max() < 0.25
    assert untouched.hartley[:, rings == 3].square().mean() > 3
    usable = untouched.ctf.abs() > 0.1
    divided = (untouched.ctf / measured.ctf)[usable].square()
    expected = (1 + 9 / (1 + (60 * rings / (32 * 9.9)) ** 2)).expand_as(usable)[usable]
    assert ((divided / expected).median() - 1).abs() < 0.15


def test_a_plane_under_an_image_is_taken_away(case: Case, tmp_path: Path) -> None:
    frequencies, axis = Frequencies.of_box(32, 9), np.linspace(-1, 1, 32, dtype=np.float32)
    images, rng = case.stack.read_images(np.arange(60)), np.random.default_rng(0)
    height, along_x, along_y = rng.normal(0, 3, (3, 60, 1, 1))
    tilted = images + height + along_x * axis + along_y * axis[:, None]
    stack = write_stack(tmp_path, case.stack, tilted.astype(np.float32), 9.9)
    settings = replace(PLAIN, background="plane")
    plain, levelled = (source_of(x, frequencies, settings).load(np.arange(60), EVERY) for x in (case.stack, stack))
    torch.testing.assert_close(levelled.hartley, plain.hartley, atol=1e-3, rtol=0)


def test_normalising_the_stack_undoes_one_scale_and_offset(case: Case, tmp_path: Path) -> None:
    other = write_stack(tmp_path, case.stack, 40 * case.stack.read_images(np.arange(60)) + 1000, 9.9)
    plain, same = (source_of(x, Frequencies.of_box(32, 9), Settings()) for x in (case.stack, other))
    difference = same.load(np.arange(9), EVERY).hartley - plain.load(np.arange(9), EVERY).hartley
    assert difference.abs().max() < 2e-2


@pytest.mark.parametrize("normalise", ["stack", "image"])
@pytest.mark.parametrize(("inner", "edge", "outside"), [(0.9, 0.1, 0.0), (0.8, 0.1, 0.0), (0.9, 0.02, 0.5)])
def test_the_noise_of_windowed_images_is_measured_inside_the_window(
    case: Case, tmp_path: Path, normalise: str, inner: float, edge: float, outside: float
) -> None:
    """Beyond it they hold zeros, or one grey: a deviation of 0 made them 10¹² times as bright."""
    images, window = case.stack.read_images(np.arange(60)), soft_window(32, inner, edge).numpy()
    other = write_stack(tmp_path, case.stack, 7 * (images * window + outside * (1 - window)), 9.9)
    frequencies = Frequencies.of_box(32, 9)
    plain, windowed = (
        source_of(stack, frequencies, Settings(normalise=normalise, window=0.7)).load(np.arange(60), EVERY).hartley
        for stack in (case.stack, other)
    )
    assert 0.7 < windowed.std() / plain.std() < 1.2


def test_normalising_each_image_undoes_its_own_scale_and_offset(case: Case, tmp_path: Path) -> None:
    frequencies, s = Frequencies.of_box(32, 9), Settings(normalise="image")
    rng = np.random.default_rng(0)
    images = case.stack.read_images(np.arange(60))
    other = images * rng.uniform(0.2, 9, (60, 1, 1)) + rng.uniform(-50, 50, (60, 1, 1))
    stack = write_stack(tmp_path, case.stack, other, 9.9)
    plain, same = (source_of(x, frequencies, s).load(np.arange(60), EVERY).hartley for x in (case.stack, stack))
    torch.testing.assert_close(same, plain, atol=5e-3, rtol=0)
    untouched = source_of(stack, frequencies, PLAIN).load(np.arange(60), EVERY).hartley
    assert (untouched - plain).abs().max() > 1


def test_inverted_images_change_their_sign(case: Case) -> None:
    frequencies, particles = Frequencies.of_box(32, 9), np.arange(4)
    plain, inverted = (
        source_of(case.stack, frequencies, Settings(invert=invert)).load(particles, EVERY) for invert in (False, True)
    )
    torch.testing.assert_close(inverted.hartley, -plain.hartley)
    torch.testing.assert_close(inverted.ctf, plain.ctf)


def test_a_window_clears_the_corners_and_leaves_the_middle(case: Case) -> None:
    source = source_of(case.stack, Frequencies.of_box(32, 9), replace(PLAIN, window=0.8))
    images = source._prepare(torch.ones(1, 32, 32))[0]
    radius = (torch.arange(32) - 16).float()
    radius = (radius[:, None].square() + radius.square()).sqrt() / 16
    assert (images[radius <= 0.72] == 1).all()
    assert (images[radius >= 0.8] == 0).all()
    assert ((images >= 0) & (images <= 1)).all()


@pytest.mark.parametrize("box", [23, 24])
def test_a_downsampled_source_is_the_source_of_a_cropped_stack(case: Case, tmp_path: Path, box: int) -> None:
    """Coefficients, CTF and shifts' phases, up to the last ring of the smaller box."""
    images = torch.from_numpy(case.stack.read_images(np.arange(60)))
    # A crop that keeps the mean lowers the deviation of the noise by box / 32.
    cropped = (fourier_crop(images, box, 2) * (32 / box)).numpy()
    other = write_stack(tmp_path, case.stack, cropped, case.stack.pixel_size_A * 32 / box)
    frequencies, particles = Frequencies.of_box(box), np.arange(10)
    inside, outside = (source_of(x, frequencies).load(particles, slice(None, 400)) for x in (case.stack, other))
    torch.testing.assert_close(inside.hartley, outside.hartley, atol=1e-4, rtol=0)
    torch.testing.assert_close(inside.ctf, outside.ctf, atol=1e-5, rtol=0)
    assert inside.box_px == outside.box_px == box


def test_a_downsampled_run_is_the_run_of_a_cropped_stack(case: Case, tmp_path: Path) -> None:
    images = torch.from_numpy(case.stack.read_images(np.arange(60)))
    cropped = (fourier_crop(images, 24, 2) * (32 / 24)).numpy()
    other = write_stack(tmp_path, case.stack, cropped, case.stack.pixel_size_A * 32 / 24)
    inside = run(case.stack, tiny(normalise="none", downsample_px=24))
    outside = run(other, tiny(normalise="none"))
    a, b = ([row["loss"] for row in r.history.rows] for r in (inside, outside))
    np.testing.assert_allclose(a, b, rtol=1e-3)
    assert (inside.model.tables.hard_classes() == outside.model.tables.hard_classes()).mean() > 0.9
    maps = [render_map(r.model.fields[0], 24, None) for r in (inside, outside)]
    assert torch.corrcoef(torch.stack([m.flatten() for m in maps]))[0, 1] > 0.99


def test_kept_coefficients_are_those_read_again(case: Case) -> None:
    frequencies = Frequencies.of_box(32, 9)
    n_low = frequencies.count(5)
    keeps, reads = source_of(case.stack, frequencies, n_low=n_low), source_of(case.stack, frequencies, n_low=0)
    particles = np.array([5, 2, 40])
    for chosen in (slice(None, n_low), slice(None, 30), slice(None, n_low + 2), torch.arange(8)):
        for _ in range(2):  # the second time from memory
            a, b = keeps.load(particles, chosen), reads.load(particles, chosen)
            assert torch.equal(a.hartley, b.hartley)
            assert torch.equal(a.ctf, b.ctf)
    assert keeps._known[particles].all()
    assert not reads._known.any()


def test_a_run_is_the_same_without_kept_coefficients(case: Case) -> None:
    kept, read = (run(case.stack, tiny(cache_mb=mb)).history.rows for mb in (1000, 0))
    assert [row["loss"] for row in kept] == [row["loss"] for row in read]


def test_a_stack_without_ctf_has_ones(case: Case) -> None:
    bare = type(case.stack)(case.stack.path, case.stack.images, 9.9, None, None)
    batch = in_double(load_batch(bare, Frequencies.of_box(32, 5), np.arange(3)))
    assert (batch.ctf == 1).all()
