"""`hydra-bench analyse`: what is said of a run alone, by numbers that can be worked out by hand."""

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from given_back import found_of, write_result, write_untrained_fields

from hydra_bench.cli.main import main
from hydra_bench.contracts.analysis import read_clusters
from hydra_bench.contracts.reconstruction import Assignments
from hydra_bench.core.star import read_star
from hydra_bench.report.analysis.numbers import class_sizes, latent_spaces

N = 60
FAR = 10.0


def spread() -> Assignments:
    """Two classes of two latents, each in two clusters along a line at 45 degrees, and a rigid one."""
    found = found_of(N, n_classes=3)
    along = np.where(np.arange(N) % 2, FAR, -FAR) + np.random.default_rng(1).normal(0, 0.5, N)
    latents = np.stack([along, along], 1) / np.sqrt(2) + np.random.default_rng(2).normal(0, 0.1, (N, 2))
    latents[found.classes == 2] = 0
    return Assignments(found.classes, found.posteriors, found.rotations, found.shifts_A, latents)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An analysed run of Hydra that nobody trained."""
    folder = write_result(tmp_path_factory.mktemp("analysed") / "run", spread())
    write_untrained_fields(folder, (2, 2, 0))
    assert main(["analyse", str(folder), "--clusters", "2", "--points", "3"]) == 0
    return folder


def test_class_sizes() -> None:
    found = spread()
    first, second, third = class_sizes(found)
    own = found.posteriors[found.classes == 1, 1]
    assert (second.number, second.particles, second.share, second.empty) == (2, 20, pytest.approx(1 / 3), False)
    assert second.mean_posterior == pytest.approx(own.mean())
    assert second.sure == pytest.approx((own >= 0.9).mean())
    assert first.particles + third.particles == 40
    empty = class_sizes(replace(found, classes=found.classes * 0))
    assert [(size.particles, size.empty) for size in empty] == [(60, False), (0, True), (0, True)]


def test_components_and_clusters() -> None:
    first, second = latent_spaces(spread(), 2)
    for space in (first, second):
        np.testing.assert_allclose(space.axes[0], [np.sqrt(0.5)] * 2, atol=0.02)
        assert space.shares[0] > 0.99
        assert space.shares.sum() == pytest.approx(1)
        np.testing.assert_array_equal(space.labels, space.principal[:, 0] > 0)
        for j, cluster in enumerate(space.clusters):
            assert cluster.latent.tolist() in space.latents[space.labels == j].tolist()
    assert [cluster.number for space in (first, second) for cluster in space.clusters] == [1, 2, 3, 4]


def test_what_is_written(run: Path) -> None:
    folder = run / "analysis"
    clusters = read_clusters(run, N)
    found = spread()
    assert np.unique(clusters[found.classes == 0]).tolist() == [1, 2]
    assert np.unique(clusters[found.classes == 1]).tolist() == [3, 4]
    assert np.unique(clusters[found.classes == 2]).tolist() == [0]
    assert read_star(folder / "particles.star")["particles"]["hydraBenchPrincipal2"].notna().all()
    table = pd.read_csv(folder / "clusters.csv")
    assert table["particles"].sum() == 40
    for name in table["map"]:
        assert (folder / name).is_file()
    components = pd.read_csv(folder / "components.csv")
    assert components[["class", "component"]].to_numpy().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    for name in components["maps"]:
        assert len(list((folder / name).glob("*.mrc"))) == 3
    latents = pd.read_csv(folder / components["maps"][0] / "latents.csv")
    first, last = latents.iloc[0, 1:].to_numpy(float), latents.iloc[-1, 1:].to_numpy(float)
    assert np.linalg.norm(last - first) == pytest.approx(2 * FAR, abs=2)
    assert pd.read_csv(folder / "classes.csv")["particles"].tolist() == [20, 20, 20]
    page = (folder / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 1 + 2 + 4
    assert "nothing on this page says whether a class" in page


def test_the_script_names_maps_from_its_own_folder(run: Path) -> None:
    folder = run / "analysis"
    lines = (folder / "maps.cxc").read_text().splitlines()
    opened = [line.split('"')[1::2] for line in lines if line.startswith("open ")]
    assert [len(names) for names in opened] == [1, 1, 1, 3, 3, 3, 3]
    for names in opened:
        for name in names:
            assert (folder / name).is_file()
    levels = [float(line.split(" level ")[1].split()[0]) for line in lines if line.startswith("volume ")]
    with mrcfile.open(folder / opened[0][0]) as mrc:
        values = np.sort(mrc.data[mrc.data > 0])[::-1]
    assert values[values >= levels[0]].sum() / values.sum() == pytest.approx(0.8, abs=0.05)
    assert sum(line.startswith("movie encode") for line in lines) == 4


def test_another_methods_run_has_its_class_maps_alone(tmp_path: Path) -> None:
    run = write_result(tmp_path / "run", found_of(12, n_classes=2, latent_dim=0))
    write_untrained_fields(run, (0, 0))
    (run / "fields.pt").unlink()
    assert main(["analyse", str(run)]) == 0
    folder = run / "analysis"
    assert not (folder / "maps").exists()
    assert (folder / "index.html").read_text().count("data:image/png") == 1
    assert read_clusters(run, 12).tolist() == [0] * 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--clusters", "0"], "--clusters: 0; 1 or more is allowed"),
        (["--points", "1"], "--points: 1; 2 or more is allowed"),
        (["--points", "1001"], "--points: 1001; at most 1000 is allowed"),
        (["--components", "-1"], "--components: -1; 0 or more is allowed"),
    ],
)
def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str) -> None:
    run = write_result(tmp_path / "run", found_of(12))
    assert main(["analyse", str(run), *options]) == 2
    assert capsys.readouterr().err.strip() == f"hydra-bench: error: {said}"
    assert not (run / "analysis").exists()
    failed = write_result(tmp_path / "failed", found_of(12), state="failed")
    assert main(["analyse", str(failed)]) == 2
    assert "ended as failed" in capsys.readouterr().err
