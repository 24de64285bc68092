"""The paper's figures: what they show, and that every kind of results gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from report_results import ODD, TRUE, contents, finished, make_results, write_run, write_truth

from hydra_bench.cli.main import main
from hydra_bench.config.configuration import load, validate
from hydra_bench.config.identity import method_definition
from hydra_bench.contracts.reconstruction import sample_path
from hydra_bench.core.errors import InputError
from hydra_bench.core.mrc import write_map
from hydra_bench.maps.alignment import align_map, apply
from hydra_bench.physics.rotations import euler_from_matrices
from hydra_bench.report.figures import rendered_maps
from hydra_bench.report.figures.class_maps import class_maps
from hydra_bench.report.figures.fsc import fsc_curves
from hydra_bench.report.figures.index import write_figures
from hydra_bench.report.figures.method_lines import method_lines
from hydra_bench.report.figures.style import Picture, report_style
from hydra_bench.report.paper import (
    fig2_classes,
    fig3_references,
    figs_calibration,
    figs_convergence,
    figs_fixed_poses,
    figs_sweep,
)
from hydra_bench.report.paper.catalogue import SUPPLEMENT, paper_figures
from hydra_bench.report.paper.marked_particles import alignment, marked_particles
from hydra_bench.report.paper.shown_runs import choose_runs
from hydra_bench.report.results import read_all, read_run

ROOT = Path(__file__).parents[3]


def draw(name: str, results: Path, *more: str) -> Path:
    out = results / "paper" / name
    arguments = ["figure", name, "--dataset", "demo", "--results", str(results), "--out", str(out), *more]
    assert main(arguments) == 0
    return out


def test_every_figure_is_drawn_with_its_caption_from_what_there_is(tmp_path: Path) -> None:
    make_results(tmp_path)
    for name in set(paper_figures()) - {SUPPLEMENT}:
        out = draw(name, tmp_path)
        assert out.with_suffix(".svg").stat().st_size > 5000
        assert out.with_suffix(".png").stat().st_size > 5000
        assert len(out.with_suffix(".txt").read_text()) > 100
    held = contents()[4] | {"method": "held", "notes": {"poses_from": "hydra_k1"}}
    write_run(tmp_path, held)
    found = {path.stem for path in draw("figs", tmp_path).glob("*.svg")}
    assert {"convergence", "seeds", "fixed_poses_held"} <= found


def test_docs_and_help_say_what_every_figure_shows(capsys: pytest.CaptureFixture[str]) -> None:
    docs = (ROOT / "docs" / "reference" / "report.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["figure", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for name, modules in paper_figures().items():
        for about in modules.values():
            assert about.endswith(".")
            assert about in docs
            assert name == SUPPLEMENT or f"{name}: {about}" in said
        assert f"| `snakemake {name}` |" in docs


def test_the_main_method_is_the_best_with_classes_or_the_one_named(tmp_path: Path) -> None:
    runs = read_all(make_results(tmp_path))
    chosen = choose_runs(runs, "demo")
    assert chosen.main.method == "hydra_k3"
    assert chosen.clustered is not None
    assert chosen.clustered.method == "hydra_k1"
    assert [run.metrics.reads_truth for run in chosen.competitors] == [False] * 3
    assert choose_runs(runs, "demo", "hydra_k5").main.method == "hydra_k5"
    with pytest.raises(InputError, match="other_program: no run of this method ended well on demo"):
        choose_runs(runs, "demo", "other_program")
    with pytest.raises(InputError, match="nowhere: no such dataset"):
        choose_runs(runs, "nowhere")


def test_reliability_is_drawn_for_each_kind_of_posteriors_and_left_out_where_all_are_certain(tmp_path: Path) -> None:
    def reliability(ece: float) -> dict[str, Any]:
        bins = [{"n_particles": 12, "confidence": 0.5 + 0.05 * n, "accuracy": 0.5 + 0.04 * n} for n in range(10)]
        return {"ece": ece, "brier": 0.1, "confidence": 0.7, "accuracy": 0.6, "bins": bins}

    both = finished("hydra_k3", "Hydra, K=3", 0.9, 0.8) | {"calibration": reliability(0.123)}
    both["calibration_at_noise"] = reliability(0.045)
    certain = finished("relion", "RELION", 0.9, 0.8)
    paths = [write_run(tmp_path, content) for content in (both, certain)]
    with report_style():
        (picture,) = figs_calibration.draw(choose_runs(read_all(paths), "demo"))
    (ax,) = picture.figure.axes
    assert len(ax.lines) == 3  # the diagonal among them
    shown = [text.get_text() for text in picture.figure.findobj(Text)]
    assert "Hydra, K=3\nECE 0.123, Brier score 0.100" in shown
    assert "Hydra, K=3, at the noise's level\nECE 0.045, Brier score 0.100" in shown
    assert not any("RELION" in text for text in shown)
    assert figs_calibration.draw(choose_runs(read_all(paths[1:]), "demo")) == []
    write_figures(paths, tmp_path / "figures")
    assert (tmp_path / "figures" / "demo" / "calibration.svg").stat().st_size > 5000


def test_a_reference_class_without_a_map_says_so_and_is_in_no_fsc(tmp_path: Path) -> None:
    (path,) = ODD["partly_mapped"](tmp_path)
    runs = read_all([path])
    with report_style():
        pictures = [class_maps(runs), fig2_classes.draw(choose_runs(runs, "demo"))]
        pictures += [fig3_references.draw(choose_runs(runs, "demo"))]
        curves = fsc_curves(runs, method_lines(runs))
        for picture in pictures:
            texts = [text.get_text() for text in picture.figure.findobj(Text)]
            assert texts.count("no reference\nmap") == 1
            assert "class 3: 40 particles" in [text.replace("\n", " ") for text in texts]
            assert "Of a species without a reference map" in picture.caption
    shown = {text.get_text() for figure in (curves.figure, pictures[2].figure) for text in figure.findobj(Text)}
    assert {"receptor", "p97", "receptor: 21.3 Å", "p97: 21.3 Å"} <= shown
    assert len(curves.figure.axes) == 2


@pytest.mark.parametrize("name", ["one_class", "no_truth", "hundred_classes"])
def test_odd_results_give_figures_two_and_three(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered_maps, "PICTURE_PX", 40)  # many maps, whose pictures are tested elsewhere
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
    run = read_run(write_run(tmp_path, content))
    for particle in range(20):
        write_map(sample_path(run.places.reconstruction, particle), moving, pixel)
    marked = marked_particles(run, 1)
    assert len(marked) == 3
    again = alignment(run, 1)
    assert again is not None
    assert again.matrix == pytest.approx(found.matrix, abs=1e-6)
    for marked_particle in marked:
        assert marked_particle.volume == pytest.approx(apply(moving, found), abs=1e-4)
        assert np.corrcoef(marked_particle.volume.ravel(), truth.ravel())[0, 1] > 0.95
        assert run.labels[marked_particle.particle] == 0


def test_the_ari_of_every_epoch_stands_beside_loss_and_resolution(tmp_path: Path) -> None:
    runs = read_all(make_results(tmp_path))
    (picture,) = figs_convergence.draw(choose_runs(runs, "demo"))
    panels = {ax.get_ylabel().replace("\n", " "): ax for ax in picture.figure.axes}
    assert list(panels) == ["loss", "ARI", "resolution used (Å)", "classes that are not empty"]
    seeds = [run for run in runs if run.method == "hydra_k3"]
    for line, run in zip(panels["ARI"].lines, seeds, strict=True):
        assert list(line.get_ydata()) == run.metrics.history_ari
        assert list(line.get_xdata()) == [0.12 * i for i in range(8)]


@pytest.mark.parametrize("noun", ["cluster", "class"])
def test_held_poses_stand_beside_the_consensus_that_gave_them(tmp_path: Path, noun: str) -> None:
    """As where one reconstruction of all images is made first, and its poses are taken as they are."""
    write_truth(tmp_path, 3)
    paths = [write_run(tmp_path, finished("other", "Other", 0.9, 0.8))]
    all_one = finished("consensus", "Consensus", 0.0, 0.5, 1, labels=[0] * len(TRUE), labels_from="one class")
    write_run(tmp_path, all_one | {"latents": None})
    labels_from = "classes" if noun == "class" else "k-means on latents, k=3"
    held = finished("held", "Held poses", 0.4, 0.5, labels=[i % 3 for i in range(len(TRUE))], labels_from=labels_from)
    paths += [write_run(tmp_path, held | {"notes": {"poses_from": "consensus"}})]
    true = finished("bound", "True poses", 1.0, 0.9, reads_truth=True) | {"notes": {"poses_from": "truth"}}
    paths += [write_run(tmp_path, true)]
    without_consensus = choose_runs(read_all(paths), "demo")
    assert figs_fixed_poses.draw(without_consensus) == []
    with report_style():
        shown = choose_runs(read_all([*paths, tmp_path / "metrics/demo/consensus/1.json"]), "demo")
        (picture,) = figs_fixed_poses.draw(shown)
    texts = {text.get_text() for text in picture.figure.findobj(Text)}
    assert {"a", "b", "c", "d", "Consensus", "Held poses", "all: 120 particles"} <= texts
    assert {f"{noun} {j}: 40 particles" for j in (1, 2, 3)} <= texts
    assert "what Consensus makes of all images together (ARI 0.000)" in picture.caption
    assert (picture.name, picture.title) == ("fixed_poses_held", "Poses of Consensus, held")


def test_a_sweep_is_of_methods_that_differ_in_one_parameter_only(tmp_path: Path) -> None:
    made = []
    for k, dim in ((2, 2), (3, 2), (4, 2), (3, 8)):
        content = finished(f"k{k}_d{dim}", f"K={k}, d={dim}", 0.2 * k, 0.7)
        made.append(write_run(tmp_path, content | {"parameters": {"classes": k, "latent_dim": dim}}))
    names = [picture.name for picture in drawn_sweeps(made)]
    assert names == ["sweep_1_classes", "sweep_2_latent_dim"]
    assert drawn_sweeps([write_run(tmp_path, contents()[1])]) == []
    # With the poses of another run it is another method, whatever its parameters.
    given = finished("given", "Given", 0.5, 0.7) | {"parameters": {"classes": 7, "latent_dim": 2}}
    given["notes"] = {"poses_from": "k3_d2"}
    write_run(tmp_path, given)
    assert len(values_of(drawn_sweeps([*made, tmp_path / "metrics/demo/given/1.json"])[0])) == 3


def drawn_sweeps(metrics: list[Path]) -> list[Picture]:
    return figs_sweep.draw(choose_runs(read_all(metrics), "demo"))


def values_of(picture: Picture) -> list[str]:
    """The values that a sweep shows."""
    return [tick.get_text().replace("\n", " ") for tick in picture.figure.axes[0].get_xticklabels()]


def test_the_preset_of_sweeps_is_of_k_d_and_sharpness_alone(tmp_path: Path) -> None:
    settings = validate(load([ROOT / "config" / "config.yaml", ROOT / "config" / "sweeps.yaml"]))
    made = []
    for method in settings["methods"]:
        parameters = json.loads(method_definition(settings, method))["parameters"]
        for seed in settings["seeds"]:
            content = finished(method, settings["method_definitions"][method]["label"], 0.9, 0.7, seed=seed)
            made.append(write_run(tmp_path, content | {"parameters": parameters, "program": "hydra"}))
    pictures = {picture.name: picture for picture in drawn_sweeps(made)}
    assert {name: values_of(picture) for name, picture in pictures.items()} == {
        "sweep_1_classes": ["2", "3", "4", "5"],
        "sweep_2_latent_dim": ["0", "1", "2", "4", "8"],
        "sweep_3_sharpness": ["0.5 to 1.25", "1 to 2.5", "4 to 10", "default"],
    }
    dots = [line.get_ydata() for line in pictures["sweep_1_classes"].figure.axes[0].lines if line.get_marker() == "o"]
    assert [list(values) for values in dots] == [[0.9] * 3] * 4
