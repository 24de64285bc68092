"""Measuring: sums on known numbers, cases read and refused, and tiny cases from the command line to the table."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from definitions import dataset
from hydra_cases import CPU

from hydra_bench.bench import cases as bench_cases
from hydra_bench.bench import results as bench_results
from hydra_bench.bench.data import Bench, dataset_folder
from hydra_bench.bench.definitions import CASES_PATH, load_cases, shrunk
from hydra_bench.bench.processes import phase_medians
from hydra_bench.bench.results import Results, busy_warning, describe_machine
from hydra_bench.bench.summary import Bar, Measurement, markdown_table, median, ratio, summarise
from hydra_bench.bench.training import Clock, EpochRecord, epoch_costs, wall_to_ari_s
from hydra_bench.cli.main import main
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json

STRUCTURES = Path(__file__).parents[3] / "resources" / "structures"


def test_a_median_counts_what_was_not_reached_as_late() -> None:
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([1.0, 2.0, 3.0, 6.0]) == 2.5
    assert median([1.0, None, 3.0]) == 3.0
    assert median([1.0, None]) is None
    assert median([]) is None


def test_ratios_are_of_pairs() -> None:
    assert [ratio(2.0, 1.0), ratio(30.0, 10.0), ratio(None, 1.0), ratio(1.0, None)] == [2.0, 3.0, None, None]
    # Of a machine that became ten times slower between pairs the ratio of medians would tell nothing.
    assert median([ratio(2.0, 1.0), ratio(20.0, 10.0), ratio(2.0, 1.0)]) == 2.0


@pytest.mark.parametrize(
    ("definition", "values", "met"),
    [
        ({"at_most": 60}, [50.0, 61.0, 59.0], True),
        ({"at_most": 60, "every": True}, [50.0, 61.0, 59.0], False),
        ({"at_most": 60, "every": True}, [50.0, 60.0], True),
        ({"at_most": 60}, [50.0, None, None], False),
        ({"at_least": 90}, [89.0, 91.0, 95.0], True),
        ({"at_least": 90}, [89.0, 80.0, 95.0], False),
        ({"at_least": 90}, [None], False),
        ({"at_most": 60}, [], False),
    ],
)
def test_bars(definition: dict, values: list, met: bool) -> None:
    assert Bar(**definition).met(values) is met


def test_summaries_and_their_table() -> None:
    measured = [Measurement("time", "s", value) for value in (3.0, None, 1.0)] + [Measurement("ARI", "", 0.5)]
    time, ari, memory = summarise(measured, {"time": Bar(2.0), "memory": Bar(8.0)})
    assert (time["figure"], time["met"], ari["met"], memory["met"]) == ("time", False, None, False)
    assert time["median"] == 3.0
    table = markdown_table({"one": [time, ari, memory]}).splitlines()
    assert table[2] == "| one | time | s | ≤ 2 | 3 | 1 | not reached | 3 | **no** |"
    assert table[3] == "| one | ARI |  |  | 0.5 | 0.5 | 0.5 | 1 |  |"
    assert table[4] == "| one | memory |  | ≤ 8 | – | – | – | 0 | **no** |"


def test_epochs_of_a_training() -> None:
    epochs = [EpochRecord("search", i, 5, Clock(w, 2 * w), a) for i, (w, a) in enumerate([(3, 0.1), (5, 0.99), (6, 1)])]
    assert wall_to_ari_s(epochs, 0.98) == 5
    assert wall_to_ari_s(epochs[:1], 0.98) is None
    assert [took.wall_s for _, took in epoch_costs(epochs, Clock(1, 1))] == [2, 2, 1]
    assert [took.cpu_s for _, took in epoch_costs(epochs, Clock(1, 1))] == [5, 4, 2]


def test_walls_of_a_history() -> None:
    walls = [("search", 9), ("search", 11), ("search", 14), ("decode", 15), ("decode", 18)]
    rows = [{"phase": phase, "wall_s": str(wall)} for phase, wall in walls]
    assert phase_medians(rows) == {"search": 2.5, "decode": 2.0}
    assert phase_medians([rows[0], rows[3]]) == {"search": 9.0, "decode": 6.0}


def test_points_vary_one_number_at_a_time() -> None:
    base = {"images": 500, "classes": 3, "delivered_box_px": 48, "latent_dim": 2}
    found = bench_cases.points(base, {"classes": [1, 8], "latent_dim": [0]})
    assert list(found) == ["classes 1", "classes 8", "latent_dim 0"]
    sizes = [(size["classes"], size["latent_dim"], size["images"]) for size in found.values()]
    assert sizes == [(1, 2, 500), (8, 2, 500), (3, 0, 500)]
    with pytest.raises(InputError, match="unknown axis 'colour'"):
        bench_cases.points(base, {"colour": [1]})


def test_a_busy_machine_is_told() -> None:
    assert busy_warning(0.3, cores=2, threads=2) is None
    assert busy_warning(1.2, cores=4, threads=2) is None
    assert "load 1.2 on 2 cores" in (busy_warning(1.2, cores=2, threads=2) or "")


def test_the_cases_of_the_repository_are_right() -> None:
    cases, gpu = load_cases(CASES_PATH, [], None, quick=False), load_cases(CASES_PATH, ["gpu"], None, quick=False)
    assert {case.kind for case in [*cases, *gpu]} == set(bench_cases.KINDS)
    assert len({case.name for case in cases}) == 11
    assert all(case.group == "gpu" and case.name.startswith("gpu_") for case in gpu)
    assert [case.name for case in load_cases(CASES_PATH, ["gpu_whole", "eight"], None, quick=False)] == [
        "eight",
        "gpu_whole",
    ]
    ablation = next(case for case in cases if case.kind == "ablation")
    small = shrunk(ablation, {"images": 4, "particles": 9, "simulation": {}, "parameters": {"steps_per_search": 7}})
    assert small.settings(steps_per_search=1).steps_per_search == 7
    assert all(one["images"] == 4 for one in small.dataset["species"].values())


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The cases below run by the command line: the definitions' file, the folder that holds work and out."""
    folder = tmp_path_factory.mktemp("bench")
    tiny = dataset(images=30, box_px=48, delivered_box_px=32)
    case = {"about": "a try", "dataset": "tiny", "parameters": {"classes": 2, "latent_dim": 1}}
    content = {
        "dataset_definitions": {"tiny": tiny},
        "cases": {
            "search": {**case, "kind": "pose_search", "bars": {"CPU per image": {"at_most": 1e6}}},
            "all_epochs": {**case, "kind": "epochs"},
            "train": {**case, "kind": "training", "ari": -1, "bars": {"final ARI": {"at_least": 2}}},
            "without": {**case, "kind": "ablation", "variants": {"no prior": {"prior_strength": 0}}, "seeds": [0]},
            "sizes": {
                **case,
                "kind": "scaling",
                "base": {"images": 20, "classes": 2, "delivered_box_px": 32, "latent_dim": 1},
                "axes": {"classes": [1]},
            },
        },
        "quick": yaml.safe_load(CASES_PATH.read_text())["quick"] | {"simulation": {"delivered_box_px": 24}},
    }
    path = folder / "cases.yaml"
    path.write_text(json.dumps(content))
    arguments = ["bench", "--quick", "--definitions", str(path), "--structures", str(STRUCTURES), "--device", "cpu"]
    assert main([*arguments, "--work", str(folder / "work"), "--out", str(folder / "out")]) == 0
    return path, folder


def test_results_are_written(measured: tuple[Path, Path]) -> None:
    results = read_json(measured[1] / "out" / "bench.json")
    assert results["threads"] == 2
    assert results["cpu"]
    assert set(results["cases"]) == {"search", "all_epochs", "train", "without", "sizes"}
    for case in results["cases"].values():
        assert case["state"] == "ok"
        assert len(case["load_average"]) == 3
        assert case["measurements"]
    search, train = ({row["figure"]: row for row in results["cases"][name]["summary"]} for name in ("search", "train"))
    assert search["CPU per image"]["met"] is True
    assert train["final ARI"]["met"] is False
    # Every epoch's ARI is above -1, so the first epoch is where it was reached.
    first = results["cases"]["train"]["measurements"][0]
    assert first["value"] == pytest.approx(first["run"]["epochs"][0]["wall_s"], abs=1e-3)
    assert first["value"] < train["wall"]["median"]
    table = (measured[1] / "out" / "bench.md").read_text()
    assert "| search | CPU per image | ms | ≤ 1e+06 |" in table
    assert "device cpu, driver none; 2 threads" in table
    assert results["cases"]["train"]["took_s"] > train["wall"]["median"]
    assert "| without | no prior: wall / wall of the defaults |" in table
    assert "| sizes | classes 1: CPU of an epoch, decode |" in table


def test_data_are_simulated_once_and_the_rest_is_gone(measured: tuple[Path, Path]) -> None:
    case = load_cases(measured[0], ["search"], None, quick=True)[0]
    folder = dataset_folder(measured[1] / "work", case.dataset)
    # All four cases name one dataset, and no run leaves anything beside it.
    assert list((measured[1] / "work").iterdir()) == [folder]
    assert dataset_folder(measured[1] / "work", {**case.dataset, "seed": 8}) != folder


def test_parts_of_a_stack(measured: tuple[Path, Path]) -> None:
    case = load_cases(measured[0], ["search"], None, quick=True)[0]
    bench = Bench(measured[1] / "work", STRUCTURES, CPU, 1, 1)
    data = bench.dataset(case.dataset)
    part = data.stack.take(np.arange(5))
    assert (len(part), len(data.stack)) == (5, 32)
    np.testing.assert_array_equal(part.read_images(np.arange(5)), data.stack.read_images(np.arange(5)))


def test_a_case_that_fails_is_written_down(measured: tuple[Path, Path], tmp_path: Path) -> None:
    case = load_cases(measured[0], ["search"], None, quick=True)[0]
    results = Results(tmp_path, describe_machine(CPU, 1), True)

    def broken(bench: object, case: object) -> object:
        yield Measurement("CPU per image", "ms", 1.0)
        raise RuntimeError("no luck")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bench_cases.KINDS, "pose_search", broken)
        assert not bench_cases.run_case(None, case, results, "busy")
    written = read_json(tmp_path / "bench.json")["cases"]["search"]
    assert (written["state"], written["reason"], written["warning"]) == ("failed", "RuntimeError: no luck", "busy")
    assert written["summary"][0]["median"] == 1.0
    # The same folder takes no measurements of another machine.
    with pytest.raises(InputError, match="threads 1, and now 5; name another --out"):
        Results.open(tmp_path, replace(results.machine, threads=5), True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "pose_serch"], "unknown case 'pose_serch'"),
        (["--definitions", "none.yaml"], "none.yaml: cannot be read"),
        (["--seeds", "a"], "--seeds: 'a'"),
        (["--repeats", "0"], "--repeats: 0; 1 or more"),
        (["--device", "gpu"], "--device: 'gpu'"),
        (["--cases", "eight", "--structures", "none"], "none: no such folder"),
    ],
)
def test_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench_results, "busy_warning", lambda *_: None)
    assert main(["bench", "--work", "work", "--out", "out", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hydra-bench: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "guess"}, "cases.one.kind: guess is not allowed"),
        ({"dataset": "dem"}, "unknown dataset 'dem'; .*did you mean demo"),
        ({"parameters": {"clases": 2}}, "cases.one.parameters: parameters.clases: unknown"),
        ({"bars": {"wall": {"at_mots": 2}}}, "unknown key"),
        ({"color": 1}, "cases.one.color: unknown key"),
    ],
)
def test_wrong_cases_are_refused(change: dict, message: str, tmp_path: Path) -> None:
    case = {"kind": "training", "about": "a try", "dataset": "demo"}
    quick = yaml.safe_load(CASES_PATH.read_text())["quick"]
    path = tmp_path / "cases.yaml"
    path.write_text(json.dumps({"cases": {"one": {**case, **change}}, "quick": quick}))
    with pytest.raises(InputError, match=message):
        load_cases(path, [], None, quick=False)
