"""A kind of dataset more takes one new module and one line, beside its keys in the schema.

It is made in a copy of the repository by plain edits to text, and makes a dataset there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

KIND = '''"""The kind of dataset that holds no particles: white noise, on which a method should find nothing."""

from __future__ import annotations

from pathlib import Path

from hydra_bench.core.schema import KeyPath, KeyPathError
from hydra_bench.datasets.kind import Definition, Kind
from hydra_bench.datasets.simulated.entries import Folders


class Noise(Kind):
    key = "noise"
    title = "white noise"

    def check(self, dataset: Definition, folders: Folders, at: KeyPath) -> None:
        if dataset["noise"]["images"] > 1000:
            raise KeyPathError((*at, "noise", "images"), "is too much noise")

    def describe(self, dataset: Definition, folders: Folders):
        yield f"images: {dataset['noise']['images']} of nothing"

    def make(self, dataset: Definition, folders: Folders, stack: Path, truth: Path) -> None:
        import numpy as np

        from hydra_bench.contracts import stack as stacks
        from hydra_bench.contracts import truth as truths
        from hydra_bench.contracts.places import IMAGES_NAME
        from hydra_bench.core.mrc import ImageStackWriter
        from hydra_bench.datasets.importing import NO_CTF
        from hydra_bench.physics.ctf import Defocus

        n, box = dataset["noise"]["images"], 16
        images = np.random.default_rng(dataset["seed"]).standard_normal((n, box, box), dtype=np.float32)
        stack.mkdir(parents=True, exist_ok=True)
        with ImageStackWriter(stack / IMAGES_NAME, n, box, 1.0) as writer:
            writer.write(np.arange(n), images)
        no_particles = np.zeros(0, dtype=np.int64)
        stacks.write_stack_star(stack, Defocus(*np.zeros((4, n))), NO_CTF, box, 1.0, no_particles)
        no_coordinates = np.zeros((n, 0))
        nothing = truths.Truth(None, None, np.zeros(n, dtype=np.int64), no_coordinates, ("noise",), (None,))
        truths.write_truth_star(truth, nothing)
'''

SCHEMA = """        noise:
          description: Images of nothing.
          type: [object, "null"]
          additionalProperties: false
          required: [images]
          default: null
          properties:
            images: {description: Number of images., type: integer, minimum: 1}
"""

# Each file with its edits: (what is there, what it becomes); a file that is new, with its text.
CODE: dict[str, str | list[tuple[str, str]]] = {
    "workflow/hydra_bench/datasets/noise.py": KIND,
    "workflow/hydra_bench/datasets/kinds.py": [
        (
            "from hydra_bench.datasets.kind import Definition, Kind\n",
            "from hydra_bench.datasets.kind import Definition, Kind\nfrom hydra_bench.datasets.noise import Noise\n",
        ),
        ("CryoBench())", "CryoBench(), Noise())"),
    ],
}
KEYS: dict[str, str | list[tuple[str, str]]] = {
    "workflow/schemas/config.schema.yaml": [("        particles:\n", f"{SCHEMA}        particles:\n")],
}

MINE = """
datasets: [nothing]
methods: [oracle]
dataset_definitions: {nothing: {noise: {images: 12}}}
method_definitions: {oracle: {program: backprojection, label: Oracle}}
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow with the new kind."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name, change in (CODE | KEYS).items():
        path = folder / name
        if isinstance(change, str):
            assert not path.exists()
            path.write_text(change)
            continue
        text = path.read_text()
        for old, new in change:
            assert text.count(old) == 1, (name, old)
            text = text.replace(old, new)
        path.write_text(text)
    (folder / "mine.yaml").write_text(MINE)
    return folder


def hydra_bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(folder / "workflow"), "HYDRA_BENCH_OFFLINE": "1"}
    command = [sys.executable, "-m", "hydra_bench.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_new_kind_of_dataset_takes_two_files_of_code() -> None:
    assert len(CODE) <= 2


def test_it_is_described_and_checked(copy: Path) -> None:
    done = hydra_bench(copy, "dataset", "check", "mine.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "nothing: white noise\n  images: 12 of nothing\n"
    (copy / "more.yaml").write_text("dataset_definitions: {nothing: {noise: {images: 2000}}}\n")
    refused = hydra_bench(copy, "dataset", "check", "mine.yaml", "more.yaml")
    assert refused.returncode == 2
    assert refused.stderr.endswith("more.yaml: dataset_definitions.nothing.noise.images: is too much noise\n")


def test_it_is_made(copy: Path) -> None:
    definition = json.dumps({"name": "nothing", "seed": 0, "noise": {"images": 12}})
    folders = ["--structures", ".", "--stack", "stack", "--truth", "truth"]
    done = hydra_bench(copy, "simulate", "--definition", definition, *folders)
    assert done.returncode == 0, done.stderr
    from hydra_bench.contracts.stack import read_stack

    stack = read_stack(copy / "stack" / "particles.star")
    assert (len(stack), stack.box_px) == (12, 16)
    assert (copy / "truth" / "truth.star").is_file()
