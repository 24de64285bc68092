"""What runs after what, and what reruns after which change. A stand-in makes empty outputs in no time."""

import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from clone import INSTALLED, Clone

from hydra_bench.report.paper.catalogue import SUPPLEMENT, paper_figures

STAND_IN = Path(__file__).parent

CONFIG: dict[str, Any] = {
    "datasets": ["one", "two"],
    "methods": ["k2", "k3", "oracle"],
    "dataset_definitions": {
        name: {"species": {"s": {"entry": "3jb9", "images": 50}, "l": {"entry": "6zu5", "images": 50}}}
        for name in ("one", "two")
    },
    "method_definitions": {
        "k2": {"program": "hydra", "label": "K=2", "parameters": {"classes": 2}},
        "k3": {"program": "hydra", "label": "K=3", "parameters": {"classes": 3}},
        "oracle": {"program": "backprojection", "label": "Oracle"},
    },
}
SUMMARIES = {"tables": 1, "figures": 1, "page": 1, "all": 1}


def config_with(path: str, value: Any) -> dict[str, Any]:
    """The configuration with one key changed."""
    config = content = deepcopy(CONFIG)
    *parents, last = path.split(".")
    for key in parents:
        content = content.setdefault(key, {})
    content[last] = value
    return config


@pytest.fixture(scope="module")
def finished(make_clone: Callable[[Path], Clone]) -> Clone:
    """A clone in which all has run."""
    clone = make_clone(STAND_IN)
    clone.configure(CONFIG)
    clone.run()
    return clone


@pytest.fixture
def changed(finished: Clone) -> Callable[[str, Any], Counter[str]]:
    """The jobs that a changed configuration would run."""

    def jobs(path: str, value: Any) -> Counter[str]:
        finished.configure(config_with(path, value))
        return finished.jobs()

    return jobs


def test_a_dry_run_in_a_fresh_clone_lists_the_demos_jobs(make_clone: Callable[[Path], Clone]) -> None:
    clone = make_clone(STAND_IN)
    bounds = {"backprojection": 3, "true_maps": 2, "class_bound": 1}
    expected = {"simulate": 1, "gallery": 1, "hydra": 3, **bounds, "evaluate": 9, **SUMMARIES}
    assert clone.jobs() == expected
    assert clone.jobs("--snakefile", "workflow/Snakefile") == expected


def test_lint_finds_nothing(make_clone: Callable[[Path], Clone]) -> None:
    assert "good condition" in make_clone(STAND_IN).run("--lint")


def test_each_part_of_the_papers_set_is_a_target(finished: Clone) -> None:
    finished.configure(CONFIG)
    assert not finished.jobs("table1") - Counter({"table1": 1})
    figures = set(paper_figures()) - {SUPPLEMENT}
    for name in figures:
        assert finished.jobs(name) == {"paper_figure": 2, name: 1}
    assert finished.jobs(SUPPLEMENT) == {"supplement": 2, SUPPLEMENT: 1}
    assert finished.jobs("paper")["paper_figure"] == 2 * len(figures)


def test_a_second_run_does_nothing(finished: Clone) -> None:
    finished.configure(CONFIG)
    assert not finished.jobs()
    assert not finished.jobs("--cores", "1")


def test_an_snr_reruns_its_dataset_and_what_follows(changed: Callable[[str, Any], Counter[str]]) -> None:
    jobs = changed("dataset_definitions.two.simulation.snr", 0.5)
    assert jobs == {"simulate": 1, "gallery": 1, "hydra": 2, "backprojection": 1, "evaluate": 3, **SUMMARIES}


def test_a_parameter_reruns_its_method(changed: Callable[[str, Any], Counter[str]]) -> None:
    jobs = changed("method_definitions.k3.parameters.classes", 4)
    assert jobs == {"hydra": 2, "evaluate": 2, **SUMMARIES}


@pytest.mark.parametrize("source", ["k2", "truth"])
def test_other_poses_rerun_the_method_that_is_given_them(
    changed: Callable[[str, Any], Counter[str]], source: str
) -> None:
    for key in ("poses_from", "init_from"):
        assert changed(f"method_definitions.k3.{key}", source) == {"hydra": 2, "evaluate": 2, **SUMMARIES}


def test_a_method_waits_for_the_one_whose_poses_it_is_given(finished: Clone) -> None:
    """Though that one is not among those to run, it is made, and made first."""
    config = config_with("method_definitions.k3.poses_from", "new")
    config["method_definitions"]["new"] = {"program": "hydra", "label": "new", "parameters": {"classes": 1}}
    finished.configure(config)
    assert finished.jobs() == {"hydra": 4, "evaluate": 2, **SUMMARIES}


@pytest.mark.parametrize(
    ("path", "value", "evaluations"),
    [
        ("evaluation.mask", {"radius_A": 150}, 6),
        ("method_definitions.k3.label", "Three fields", 2),
        ("method_definitions.k3.merge_classes", {"both": [1, 2]}, 2),
    ],
)
def test_the_evaluation_reruns_no_method(
    changed: Callable[[str, Any], Counter[str]], path: str, value: Any, evaluations: int
) -> None:
    assert changed(path, value) == {"evaluate": evaluations, **SUMMARIES}


def test_another_seed_runs_only_that_seed(changed: Callable[[str, Any], Counter[str]]) -> None:
    assert changed("seeds", [0, 1]) == {"hydra": 4, "backprojection": 2, "evaluate": 6, **SUMMARIES}


def test_thousands_of_species_need_no_long_command(make_clone: Callable[[Path], Clone]) -> None:
    """Linux takes 128 kB an argument; of a rule's command all is one."""
    clone = make_clone(STAND_IN)
    species = {f"species_{number}": {"entry": "3jb9", "chains": ["A"], "images": 20} for number in range(3000)}
    merged = {f"group_{number}": [2 * number + 1, 2 * number + 2] for number in range(3000)}
    k2 = CONFIG["method_definitions"]["k2"] | {"merge_classes": merged}
    config = CONFIG | {"datasets": ["one"], "methods": ["k2"], "method_definitions": {"k2": k2}}
    clone.configure(config | {"dataset_definitions": {"one": {"species": species}}})
    said = clone.run("--dry-run", "--printshellcmds", "results/metrics/one/k2/0.json")
    commands = [line.strip() for line in said.splitlines() if "hydra-bench" in line and "--definition" in line]
    assert len(commands) == 3
    assert max(map(len, commands)) < 2000
    files = {clone.folder / found for found in re.findall(r"--definition (\S+)", said)}
    assert max(len(json.loads(path.read_text()).get("species", ())) for path in files) == 3000


def test_a_definition_that_does_not_run_changes_nothing(changed: Callable[[str, Any], Counter[str]]) -> None:
    assert not changed("dataset_definitions.three", {"species": {"x": {"entry": "9xyz", "images": 20}}})


def test_a_default_that_is_written_out_changes_nothing(changed: Callable[[str, Any], Counter[str]]) -> None:
    assert not changed("dataset_definitions.one.simulation", {"snr": 0.1, "box_px": 128})


def test_a_changed_structure_reruns_what_is_made_of_it(finished: Clone) -> None:
    finished.configure({**CONFIG, "structures_folder": "resources/structures"})
    structure = finished.folder / "resources" / "structures" / "3jb9.cif.gz"
    structure.chmod(0o644)
    content = structure.read_bytes()
    structure.write_bytes(gzip.compress(gzip.decompress(content), compresslevel=1))
    try:
        assert finished.jobs()["simulate"] == 2
    finally:
        structure.write_bytes(content)


def test_a_changed_file_of_a_finished_job_reruns_its_import(make_clone: Callable[[Path], Clone]) -> None:
    clone = make_clone(STAND_IN)
    job = clone.folder / "P3" / "J42"
    job.mkdir(parents=True)
    for name in ("J42_final_particles.cs", "J42_class_00_final_volume.mrc"):
        (job / name).write_bytes(b"first")
    sparc = {"program": "cryosparc_import", "label": "imported", "parameters": {"job": "P3/J42"}}
    config = config_with("method_definitions.sparc", sparc) | {"datasets": ["one"], "methods": ["sparc"]}
    clone.configure(config)
    clone.run("results/metrics/one/sparc/0.json")
    assert not clone.jobs("results/metrics/one/sparc/0.json")
    (job / "J42_final_particles.cs").write_bytes(b"second")
    assert clone.jobs("results/metrics/one/sparc/0.json") == {"cryosparc_import": 1, "evaluate": 1}
    (job / "J42_final_particles.cs").unlink()
    assert "sparc.parameters: job: P3/J42 holds no *_particles.cs" in refusal(clone.snakemake("--dry-run"))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("sedes", [0], "config/config.yaml: sedes: unknown key"),
        ("dataset_definitions.one.simulation.snr", 0, "config/config.yaml: dataset_definitions.one.simulation.snr: 0"),
        ("method_definitions.k2.parameters.classes", 0, "method_definitions.k2.parameters.classes: 0 is not allowed"),
        ("dataset_definitions.two.species.s.entry", "9xyz", "dataset_definitions.two.species.s.entry: entry '9xyz'"),
        ("dataset_definitions.one.simulation.ctf", {"drawn_from": "no.star"}, "ctf.drawn_from: no.star: no such file"),
        ("structures_folder", "nowhere", "entry '3jb9' is not there, and fetching is switched off"),
    ],
)
def test_a_wrong_configuration_ends_a_dry_run_with_code_2_and_one_line(
    finished: Clone, path: str, value: Any, expected: str
) -> None:
    finished.configure(config_with(path, value))
    assert expected in refusal(finished.snakemake("--dry-run"))


def test_a_wrong_configuration_ends_a_run_before_its_first_job(make_clone: Callable[[Path], Clone]) -> None:
    clone = make_clone(STAND_IN)
    clone.configure(config_with("threads", 0))
    assert "threads: 0 is not allowed" in refusal(clone.snakemake())
    assert not (clone.folder / "results").exists()


def test_what_is_in_the_files_is_checked_before_the_first_job_and_not_in_a_dry_run(
    make_clone: Callable[[Path], Clone],
) -> None:
    clone = make_clone(STAND_IN)
    clone.configure(config_with("dataset_definitions.one.simulation.box_px", 96))
    assert clone.jobs()["simulate"] == 2
    done = clone.snakemake()
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert line.startswith("hydra-bench: error: config/config.yaml: dataset_definitions.one.simulation.box_px: 96 is")
    assert "rule simulate" not in done.stderr
    assert not (clone.folder / "results" / "datasets").exists()


def test_an_entry_that_is_to_be_fetched_is_named_and_is_no_input(
    make_clone: Callable[[Path], Clone],
) -> None:
    """So that a dry run needs no network, and what was fetched since makes no dataset anew."""
    clone = make_clone(STAND_IN)
    entry = "dataset_definitions.two.species.s.entry"
    clone.configure({**config_with(entry, "9xyz"), "fetching": {"mirrors": ["http://127.0.0.1:9/{entry}"]}})
    said = clone.run("--dry-run", offline=False)
    assert "hydra-bench: 9xyz is fetched at the start of a run" in said
    assert "9xyz.cif" not in said
    done = clone.snakemake(offline=False)
    assert done.returncode == 2
    assert f"config/config.yaml: {entry}: entry '9xyz' cannot be fetched; http://127.0.0.1:9/9xyz: " in done.stderr
    assert "rule simulate" not in done.stderr


HEAVY = ["gemmi", "matplotlib", "mrcfile", "numpy", "pandas", "PIL", "scipy", "sklearn", "starfile", "torch", "tqdm"]
REFUSE = """
import pkgutil
import sys
from pathlib import Path

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in {names}:
            raise ModuleNotFoundError(f"{{name}} is not light", name=name)

sys.meta_path.insert(0, Refuse())
sys.path[:] = [path for path in sys.path if not Path(path, "hydra_bench").is_dir()]
# Snakemake would load its plugin for SLURM, which takes pandas.
every = pkgutil.iter_modules
pkgutil.iter_modules = lambda *args: (m for m in every(*args) if not m.name.startswith("snakemake_executor_plugin"))
"""


@pytest.mark.parametrize("arguments", [("--dry-run",), ("--lint",)])
def test_reading_the_workflow_takes_no_more_than_snakemake_brings(
    make_clone: Callable[[Path], Clone], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """Nor the package to be installed."""
    (tmp_path / "sitecustomize.py").write_text(REFUSE.format(names=HEAVY))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for module in ("numpy", "hydra_bench"):  # the test refuses what it says it does
        assert subprocess.run([sys.executable, "-c", f"import {module}"], check=False, capture_output=True).returncode
    make_clone(INSTALLED).run(*arguments)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line with which Snakemake ended."""
    assert done.returncode == 2
    assert not done.stdout
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Using workflow specific profile")]
    assert len(lines) == 1
    assert lines[0].startswith("hydra-bench: error: ")
    return lines[0]


def resources_of(said: str, rule: str) -> list[dict[str, str]]:
    """What the jobs of a rule ask for, in what a dry run said."""
    jobs = re.findall(rf"^ *rule {rule}:\n(?: +.*\n)*? +resources: (.*)$", said, flags=re.MULTILINE)
    return [dict(pair.split("=", 1) for pair in job.split(", ") if "=" in pair) for job in jobs]


def test_the_slurm_profile_sends_trainings_to_the_gpu_partition(make_clone: Callable[[Path], Clone]) -> None:
    clone = make_clone(STAND_IN)
    clone.configure(CONFIG)
    said = clone.run("--profile", "slurm", "--dry-run")
    (wanted,) = {tuple(sorted(job.items())) for job in resources_of(said, "hydra")}
    asked = dict(wanted)
    assert (asked["slurm_partition"], asked["gpu"], asked["runtime"], asked["mem_mb"]) == ("gpu", "1", "1440", "8000")
    assert "gpu_model" not in asked
    others = resources_of(said, "simulate") + resources_of(said, "evaluate")
    assert len(others) == 8
    assert {(job["slurm_partition"], job.get("gpu")) for job in others} == {("cpu", None)}


def test_named_keys_of_the_slurm_profile_reach_all_its_rules(make_clone: Callable[[Path], Clone]) -> None:
    clone = make_clone(STAND_IN)
    clone.configure(CONFIG)
    path = clone.folder / "profiles" / "slurm" / "config.yaml"
    text = path.read_text()
    for key, value in (("cpu_partition: cpu", "short"), ("gpu_partition: gpu", "a100s"), ('gpu_model: ""', "a100")):
        assert text.count(key) == 1
        text = text.replace(key, f"{key.split(':')[0]}: {value}")
    path.write_text(text.replace("longest_minutes: 2880", "longest_minutes: 100"))
    said = clone.run("--profile", "slurm", "--dry-run")
    hydra, simulate = resources_of(said, "hydra")[0], resources_of(said, "simulate")[0]
    assert (hydra["slurm_partition"], hydra["gpu_model"], hydra["runtime"]) == ("a100s", "a100", "100")
    assert (simulate["slurm_partition"], simulate["runtime"]) == ("short", "100")


def test_the_gpu_profile_gives_each_training_a_gpu(
    make_clone: Callable[[Path], Clone], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    clone = make_clone(STAND_IN)
    clone.configure(CONFIG)
    said = clone.run("--profile", "profiles/gpu", "--dry-run")
    assert {job["gpu"] for job in resources_of(said, "hydra")} == {"1"}
    assert {job.get("gpu") for job in resources_of(said, "backprojection")} == {None}


def test_a_gpu_that_cannot_be_used_ends_a_run_before_its_first_job(
    make_clone: Callable[[Path], Clone], warm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    clone = make_clone(warm)
    clone.configure(CONFIG)
    done = clone.snakemake("--profile", "profiles/gpu")
    assert done.returncode == 2
    assert "hydra-bench doctor: FAILED  GPU: 1 asked for, but " in done.stderr
    assert not (clone.folder / "results" / "datasets").exists()
    assert "rule simulate" not in done.stderr
    assert clone.run("--dry-run")  # it left no lock


def test_a_second_file_is_laid_over_the_first(make_clone: Callable[[Path], Clone], tmp_path: Path) -> None:
    clone = make_clone(STAND_IN)
    mine = tmp_path / "mine.yaml"
    mine.write_text("methods: [hydra_k3]\nseeds: [4, 5]\n")
    expected = {"simulate": 1, "gallery": 1, "hydra": 2, "evaluate": 2, **SUMMARIES}
    assert clone.jobs("--configfile", str(mine)) == expected


def test_snakemakes_own_report_holds_tables_figures_and_page(finished: Clone, tmp_path: Path) -> None:
    finished.configure(CONFIG)
    report = tmp_path / "report.html"
    finished.run("--report", str(report))
    text = report.read_text()
    for name in ("table1.csv", "made.svg", "index.html"):
        assert name in text
