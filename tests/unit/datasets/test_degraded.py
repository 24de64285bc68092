"""Troubles put onto a stack that is there: each against its definition, by the command that users call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import starfile
from particle_files import write_images

from hydra_bench.cli.main import main
from hydra_bench.core.files import read_json
from hydra_bench.core.mrc_header import MRC_HEADER_BYTES
from hydra_bench.particles.particle_files import read_particles
from hydra_bench.physics.rotations import euler_from_matrices, matrices_from_euler, random_rotations

N, BOX, PIXEL_A = 240, 32, 4.0
DEVIATION = np.random.default_rng(1).uniform(0.5, 3, (N, 1, 1))
"""Of the noise of each image; what is added is in units of it."""
_AXIS = np.arange(BOX) - BOX // 2
RADIUS = np.hypot(_AXIS, _AXIS[:, None])
BLOB = 3 * np.exp(-((RADIUS / 4) ** 2))
"""Every particle, in units of the noise."""


def write_stack(folder: Path, masked: bool = False) -> Path:
    """Noise and a blob in every image, listed from the last to the first, with poses and a column of nobody's."""
    random = np.random.default_rng(0)
    images = 7 + DEVIATION * (BLOB + random.standard_normal((N, BOX, BOX))) * (RADIUS < 12 if masked else 1)
    write_images(folder / "a.mrcs", images[::-1].astype(np.float32), PIXEL_A)
    angles = euler_from_matrices(random_rotations(N, random))
    particles = {"rlnImageName": [f"{N - i:06d}@a.mrcs" for i in range(N)], "rlnOpticsGroup": 1}
    particles |= {"rlnDefocusU": random.uniform(1e4, 2e4, N), "rlnDefocusV": 1e4, "rlnDefocusAngle": 0.0}
    particles |= dict(zip(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), angles.T, strict=True))
    particles |= {"rlnOriginXAngst": 1.0, "rlnOriginYAngst": -2.0, "somebodysColumn": "it's"}
    optics = {"rlnOpticsGroup": [1], "rlnVoltage": [300.0], "rlnSphericalAberration": [2.7]}
    optics |= {"rlnAmplitudeContrast": [0.1], "rlnImagePixelSize": [PIXEL_A], "rlnImageSize": [BOX]}
    tables = {"optics": pd.DataFrame(optics), "particles": pd.DataFrame(particles)}
    starfile.write(tables, folder / "mine.star")
    return folder / "mine.star"


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stack(tmp_path_factory.mktemp("mine"))


def degrade(star: Path, out: Path, *options: str) -> pd.DataFrame:
    """What was drawn; the command must end well."""
    assert main(["dataset", "degrade", str(star), "--out", str(out), *options]) == 0
    return pd.read_csv(out / "degraded.csv", keep_default_na=False)


def images_of(star: Path) -> np.ndarray:
    stack = read_particles(star)
    return stack.read_images(np.arange(len(stack)))


def of_noise(star: Path, out: Path, drawn: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Images before and after, in units of each one's noise."""
    before, after = images_of(star)[drawn["row"]], images_of(out / "particles.star")
    return (before - 7) / DEVIATION[drawn["row"]], (after - 7) / DEVIATION[drawn["row"]]


def blob_in(images: np.ndarray) -> np.ndarray:
    """How much of the blob is in each image (n,), by least squares."""
    return (images * BLOB).sum((1, 2)) / np.square(BLOB).sum()


def noise_outside(images: np.ndarray) -> float:
    return float(images[:, RADIUS > 13].std())


def test_noise_is_added_of_the_spectrum_that_was_asked_for(star: Path, tmp_path: Path) -> None:
    drawn = degrade(star, tmp_path / "out", "--noise-excess", "4", "--noise-corner-A", "40")
    before, after = of_noise(star, tmp_path / "out", drawn)
    power = np.square(np.abs(np.fft.fft2(after - before))).mean(0) / BOX**2
    s = np.hypot(np.fft.fftfreq(BOX, PIXEL_A)[:, None], np.fft.fftfreq(BOX, PIXEL_A))
    expected = 4 / (1 + (s * 40) ** 2)
    for low, high in ((0.01, 0.03), (0.03, 0.06), (0.06, 0.1), (0.1, 0.125)):
        ring = (s >= low) & (s < high)
        assert power[ring].mean() == pytest.approx(expected[ring].mean(), rel=0.08)
    assert np.corrcoef((after - before)[0].ravel(), before[0].ravel())[0, 1] == pytest.approx(0, abs=0.2)


def test_contrasts_vary_the_particle_and_leave_the_noise(star: Path, tmp_path: Path) -> None:
    drawn = degrade(star, tmp_path / "out", "--contrast-log-sd", "0.3")
    before, after = of_noise(star, tmp_path / "out", drawn)
    contrast = drawn["contrast"].to_numpy()
    assert contrast.max() == 1
    assert np.log(contrast).std() == pytest.approx(0.3, rel=0.15)
    fainter = contrast < 0.99
    c = contrast[fainter, None, None]
    put_back = (after[fainter] - c * before[fainter]) / np.sqrt(1 - c**2)
    assert put_back.std() == pytest.approx(1, abs=0.02)
    assert blob_in(put_back).mean() == pytest.approx(0, abs=0.02)  # of each image it is 0.07
    assert noise_outside(after) == pytest.approx(noise_outside(before), rel=0.01)
    assert read_json(tmp_path / "out" / "degraded.json")["mean_contrast"] == pytest.approx(contrast.mean(), rel=1e-4)


def test_backgrounds_slope_as_the_record_says(star: Path, tmp_path: Path) -> None:
    drawn = degrade(star, tmp_path / "out", "--plane-sd", "0.5")
    before, after = of_noise(star, tmp_path / "out", drawn)
    planes = drawn[["slope_x", "slope_y"]].to_numpy() @ np.stack(
        [np.broadcast_to(_AXIS / 16, (BOX, BOX)).ravel(), np.repeat(_AXIS / 16, BOX)]
    )
    # What is drawn is in units of the noise that is measured in each image.
    slope = np.polyfit(planes.ravel(), (after - before).ravel(), 1)[0]
    assert slope == pytest.approx(1, abs=0.03)
    assert np.corrcoef(planes.ravel(), (after - before).ravel())[0, 1] > 0.99
    assert drawn["slope_x"].std() == pytest.approx(0.5, rel=0.15)


def test_neighbours_are_other_images_of_the_stack(star: Path, tmp_path: Path) -> None:
    drawn = degrade(star, tmp_path / "out", "--neighbour-share", "0.4", "--neighbour-distance-px", "10")
    before, after = of_noise(star, tmp_path / "out", drawn)
    has = drawn["other_row"].to_numpy() >= 0
    assert has.mean() == pytest.approx(0.4, abs=0.08)
    assert (drawn["other_row"] != drawn["row"]).all()
    np.testing.assert_allclose(after[~has], before[~has], atol=1e-4)
    offsets = drawn[["other_x_px", "other_y_px"]].to_numpy()[has]
    assert np.hypot(*offsets.T) == pytest.approx(10, abs=0.8)
    for n in np.flatnonzero(has)[:20]:
        x, y = drawn.loc[n, ["other_x_px", "other_y_px"]]
        other = before[drawn.loc[n, "other_row"]]
        middle = slice(11, 22)  # where the other reaches, however it lies
        moved = np.roll(other, (y, x), (0, 1))[middle, middle]
        found = np.sqrt(2) * after[n][middle, middle]
        assert np.corrcoef((found - before[n][middle, middle]).ravel(), moved.ravel())[0, 1] > 0.9
    assert noise_outside(after[has] - np.mean(after[has], 0)) == pytest.approx(1, abs=0.15)


def test_junk_has_no_particle_in_its_middle(star: Path, tmp_path: Path) -> None:
    drawn = degrade(star, tmp_path / "out", "--junk-share", "0.5")
    before, after = of_noise(star, tmp_path / "out", drawn)
    counts = drawn["junk"].value_counts()
    assert counts[""] == N // 2
    assert set(counts.index) == {"", "empty", "edge", "overlapping"}
    np.testing.assert_allclose(after[drawn["junk"] == ""], before[drawn["junk"] == ""], atol=1e-4)
    empty = after[drawn["junk"] == "empty"]
    assert blob_in(empty).mean() == pytest.approx(0, abs=0.02)
    assert empty.std() == pytest.approx(1, abs=0.03)
    overlapping = after[drawn["junk"] == "overlapping"]
    assert blob_in(overlapping).mean() < 0.75
    assert overlapping.sum((1, 2)).mean() == pytest.approx(np.sqrt(2) * BLOB.sum(), rel=0.15)
    assert after[drawn["junk"] == "edge"].mean((1, 2)).std() > 3 * empty.mean((1, 2)).std()
    # The new file says nothing of it.
    assert "junk" not in (tmp_path / "out" / "particles.star").read_text()


def test_what_the_file_states_is_off_by_what_the_record_says(star: Path, tmp_path: Path) -> None:
    drawn = degrade(star, tmp_path / "out", "--defocus-error-sd-A", "800", "--origin-error-sd-A", "5")
    before, after = (starfile.read(path)["particles"] for path in (star, tmp_path / "out" / "particles.star"))
    for column in ("rlnDefocusU", "rlnDefocusV"):
        np.testing.assert_allclose(after[column] - before[column], drawn["defocus_error_A"], atol=0.06)
    assert drawn["defocus_error_A"].std() == pytest.approx(800, rel=0.15)
    for axis in "XY":
        errors = after[f"rlnOrigin{axis}Angst"] - before[f"rlnOrigin{axis}Angst"]
        np.testing.assert_allclose(errors, drawn[f"origin_error_{axis.lower()}_A"], atol=1e-4)
        assert errors.std() == pytest.approx(5, rel=0.15)
    changed = ["rlnImageName", "rlnDefocusU", "rlnDefocusV", "rlnOriginXAngst", "rlnOriginYAngst"]
    pd.testing.assert_frame_equal(after.drop(columns=changed), before.drop(columns=changed))
    np.testing.assert_allclose(images_of(tmp_path / "out" / "particles.star"), images_of(star), rtol=1e-5, atol=1e-5)


def test_views_are_chosen_by_their_angles(star: Path, tmp_path: Path) -> None:
    drawn = degrade(star, tmp_path / "out", "--view-kappa", "3", "--view-axis", "1,0,0")
    table = starfile.read(star)["particles"]
    along = matrices_from_euler(table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy())[:, 2, 0]
    x = np.linspace(-1, 1, 2001)
    expected = np.average(x**2, weights=np.exp(3 * x**2))
    assert np.square(along).mean() == pytest.approx(1 / 3, abs=0.06)
    assert np.square(along[drawn["row"]]).mean() == pytest.approx(expected, abs=0.08)
    assert len(drawn) / N == pytest.approx(np.exp(3 * (x**2 - 1)).mean(), abs=0.1)


def test_the_seed_alone_decides(star: Path, tmp_path: Path) -> None:
    options = ["--noise-excess", "1", "--junk-share", "0.2", "--contrast-log-sd", "0.2"]
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        degrade(star, tmp_path / name, *options, "--seed", seed)
    content = {name: (tmp_path / name / "particles.mrcs").read_bytes()[MRC_HEADER_BYTES:] for name in "abc"}
    assert content["a"] == content["b"] != content["c"]
    record = read_json(tmp_path / "a" / "degraded.json")
    assert (record["options"]["noise_excess"], record["options"]["neighbour_distance_px"]) == (1, 0.8 * BOX / 2)
    assert (record["options"]["seed"], record["images"], sum(record["junk"].values())) == (3, N, round(0.2 * N))


REFUSED = {
    "nothing": ([], "nothing is to be done; one trouble at least is expected"),
    "half": (["--junk-share", "0.1", "--junk-kinds", "empty,half"], "--junk-kinds: half cannot be made of images"),
    "unknown kind": (["--junk-share", "0.1", "--junk-kinds", "odd"], "'odd'; empty, edge, overlapping are allowed"),
    "share": (["--junk-share", "0.95"], "--junk-share: 0.95; a number from 0 to 0.9 is allowed"),
    "negative": (["--noise-excess", "-1"], "--noise-excess: -1; a number of at least 0 is allowed"),
    "no number": (["--plane-sd", "nan"], "--plane-sd: nan; a number of at least 0 is allowed"),
    "distance": (
        ["--neighbour-share", "1", "--neighbour-distance-px", "inf"],
        "--neighbour-distance-px: inf; a number",
    ),
    "axis": (["--view-kappa", "1", "--view-axis", "0,0,0"], "--view-axis: (0.0, 0.0, 0.0); a direction"),
    "two numbers": (["--view-kappa", "1", "--view-axis", "0,1"], "--view-axis: '0,1'; three numbers"),
    "few left": (["--view-kappa", "1000", "--view-axis", "1,1,1"], "images would be left; at least 2 are expected"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_in_a_line(
    name: str, star: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, words = REFUSED[name]
    assert main(["dataset", "degrade", str(star), "--out", str(tmp_path / "out"), *options]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_files_that_lack_what_it_needs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    star, out = write_stack(tmp_path), tmp_path / "out"
    table = starfile.read(star)
    table["particles"] = table["particles"].drop(columns=["rlnOriginXAngst", "rlnAngleTilt"])
    table["particles"].loc[3, "rlnDefocusU"] = np.nan
    starfile.write(table, tmp_path / "poor.star", na_rep="nan")
    (tmp_path / "masked").mkdir()
    masked = write_stack(tmp_path / "masked", masked=True)
    (tmp_path / "there").mkdir()
    noise = ["--noise-excess", "1"]
    for given, folder, options, words in (
        (tmp_path / "poor.star", out, ["--origin-error-sd-A", "1"], "poor.star lacks the column rlnOriginXAngst"),
        (tmp_path / "poor.star", out, ["--view-kappa", "1"], "--view-kappa: "),
        (tmp_path / "poor.star", out, ["--defocus-error-sd-A", "1"], "rlnDefocusU: 'nan'; a number is expected"),
        (tmp_path / "a.mrcs", out, noise, "a.mrcs: a STAR file of particles is expected"),
        (tmp_path / "none.star", out, noise, "none.star: no such file"),
        (masked, out, noise, "its images were masked"),
        (star, tmp_path / "there", noise, "there: is there already; a folder that is not is expected"),
    ):
        assert main(["dataset", "degrade", str(given), "--out", str(folder), *options]) == 2
        assert words in capsys.readouterr().err
        assert not out.exists()
    assert not list((tmp_path / "there").iterdir())
