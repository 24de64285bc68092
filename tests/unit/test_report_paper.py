"""The paper's figures: what they show, and that every kind of results gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_results import ODD, contents, finished, make_results, write_run

from hydra_bench.cli import main
from hydra_bench.errors import InputError
from hydra_bench.files import write_map
from hydra_bench.metrics.alignment import align_map, apply
from hydra_bench.reconstruction import sample_path
from hydra_bench.report.paper.conformations import alignment, marked_particles
from hydra_bench.report.paper.selection import select
from hydra_bench.report.paper.supplement import sweeps
from hydra_bench.report.runs import read_all, read_metrics
from hydra_bench.rotations import euler_from_matrices


def draw(name: str, results: Path, *more: str) -> Path:
    out = results / "paper" / name
    arguments = ["figure", name, "--dataset", "demo", "--results", str(results), "--out", str(out), *more]
    assert main(arguments) == 0
    return out


def test_every_figure_is_drawn_with_its_caption_from_what_there_is(tmp_path: Path) -> None:
    make_results(tmp_path)
    for name in ("fig1", "fig2", "fig3", "fig4"):
        out = draw(name, tmp_path)
        assert out.with_suffix(".svg").stat().st_size > 5000
        assert out.with_suffix(".png").stat().st_size > 5000
        assert len(out.with_suffix(".txt").read_text()) > 100
    found = {path.stem for path in draw("figs", tmp_path).glob("*.svg")}
    assert {"convergence", "seeds"} <= found


def test_the_main_method_is_the_best_with_classes_or_the_one_named(tmp_path: Path) -> None:
    runs = read_all(make_results(tmp_path))
    chosen = select(runs, tmp_path, "demo")
    assert chosen.main.method == "hydra_k3"
    assert chosen.clustered is not None
    assert chosen.clustered.method == "hydra_k1"
    assert [run.is_bound for run in chosen.competitors] == [False] * 3
    assert select(runs, tmp_path, "demo", "hydra_k5").main.method == "hydra_k5"
    with pytest.raises(InputError, match="other_program: no run of this method ended well on demo"):
        select(runs, tmp_path, "demo", "other_program")
    with pytest.raises(InputError, match="nowhere: no such dataset"):
        select(runs, tmp_path, "nowhere")


@pytest.mark.parametrize("name", ["one_class", "no_truth", "hundred_classes"])
def test_odd_results_give_figures_two_and_three(tmp_path: Path, name: str) -> None:
    ODD[name](tmp_path)
    for figure in ("fig2", "fig3"):
        assert draw(figure, tmp_path).with_suffix(".svg").is_file()


def test_a_dataset_where_all_failed_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ODD["failed"](tmp_path)
    arguments = ["figure", "fig2", "--dataset", "demo", "--results", str(tmp_path), "--out", str(tmp_path / "f")]
    assert main(arguments) == 2
    assert capsys.readouterr().err == "hydra-bench: error: demo: no run ended well; there is nothing to draw\n"


def test_marked_maps_are_the_particles_own_aligned_by_the_metrics(tmp_path: Path) -> None:
    box, pixel = 24, 6.6
    z, y, x = np.meshgrid(*[np.arange(box) - box // 2] * 3, indexing="ij")
    truth = sum(
        a * np.exp(-((x - i) ** 2 + (y - j) ** 2 + (z - k) ** 2) / 6)
        for a, i, j, k in ((1, 0, 0, 0), (0.8, 5, 1, 0), (0.6, -1, 4, 2), (0.5, 0, -2, 5))
    ).astype(np.float32)
    moving = np.ascontiguousarray(np.rot90(truth, 1, (0, 2)))
    found = align_map(moving, truth)
    content = finished("hydra_k3", "Hydra, K=3", 1.0, 0.9)
    content["alignments"] = [
        {"label": 1, "class_name": "spliceosome", "mirrored": found.mirrored, "correlation": found.correlation,
         "angles_deg": euler_from_matrices(found.rotation).tolist(), "shift_A": (found.shift_px * pixel).tolist()}
    ]  # fmt: skip
    run = read_metrics(write_run(tmp_path, content))
    for particle in range(20):
        write_map(sample_path(run.reconstruction, particle), moving, pixel)
    marked = marked_particles(run, 1)
    assert len(marked) == 3
    again = alignment(run, 1)
    assert again is not None
    assert again.matrix == pytest.approx(found.matrix, abs=1e-6)
    for one in marked:
        assert one.volume == pytest.approx(apply(moving, found), abs=1e-4)
        assert np.corrcoef(one.volume.ravel(), truth.ravel())[0, 1] > 0.95
        assert run["labels"][one.particle] == 0


def test_a_sweep_is_of_methods_that_differ_in_one_parameter_only(tmp_path: Path) -> None:
    made = []
    for k, dim in ((2, 2), (3, 2), (4, 2), (3, 8)):
        content = finished(f"k{k}_d{dim}", f"K={k}, d={dim}", 0.2 * k, 0.7)
        made.append(write_run(tmp_path, content | {"parameters": {"classes": k, "latent_dim": dim}}))
    names = [picture.name for picture in sweeps(read_all(made))]
    assert names == ["sweep_1_classes", "sweep_2_latent_dim"]
    assert sweeps(read_all([write_run(tmp_path, contents()[1])])) == []
