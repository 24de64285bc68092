"""`hydra-bench doctor`: what it finds, and that it says what to do."""

import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hydra_bench.cli.main import main
from hydra_bench.config import configuration as config
from hydra_bench.jobs import doctor, slurm
from hydra_bench.jobs.cuda import Facts, why_unusable
from hydra_bench.methods import cards as method_cards

ROOT = Path(__file__).parents[3]
GOOD = Facts("2.13.0", "13.0", True, 2, "580.65.06", "0,1", "", "NVIDIA H100", "sm_90", ("sm_75", "sm_90"))
PARTITION = slurm.Partition("gpu", True, 2880, 64, 500_000, 4, {"h100": 4})
JOB: dict[str, Any] = {"rule": "hydra", "partition": "gpu", "runtime": 1440, "mem_mb": 8000, "cpus": 2, "gpus": 1}


@pytest.fixture
def settings() -> dict[str, Any]:
    path = ROOT / "config" / "config.yaml"
    return config.validate(config.load([path]), [path])


def test_a_gpu_that_can_be_used_is_no_problem() -> None:
    assert why_unusable(GOOD) is None
    assert why_unusable(replace(GOOD, architectures=("sm_80", "compute_80"))) is None
    assert why_unusable(replace(GOOD, capability="sm_86", architectures=("sm_80",))) is None


@pytest.mark.parametrize(
    ("change", "wanted", "words"),
    [
        ({"driver": "", "usable": False}, 1, ["no NVIDIA driver", "built for CUDA 13.0"]),
        ({"cuda_build": "", "usable": False}, 1, ["a build for CPUs", "install a CUDA build"]),
        ({"driver": "535.104.05", "usable": False}, 1, ["driver is too old", "CUDA 13.0", "535.104.05", "580.65"]),
        ({"cuda_build": "12.8", "driver": "470.57.02", "usable": False}, 1, ["too old", "525.60"]),
        ({"visible": "", "usable": False}, 1, ["CUDA_VISIBLE_DEVICES is empty"]),
        ({"usable": False, "problem": "Error 802: not initialised"}, 1, ["Error 802: not initialised"]),
        ({}, 4, ["4 GPUs were asked for and 2 are visible"]),
        ({"capability": "sm_60"}, 1, ["no kernels", "sm_60"]),
        ({"torch": "", "problem": "no module named torch"}, 1, ["torch cannot be imported: no module named torch"]),
    ],
)
def test_why_a_gpu_cannot_be_used_is_named(change: dict[str, Any], wanted: int, words: list[str]) -> None:
    reason = why_unusable(replace(GOOD, **change), wanted)
    assert reason is not None
    for word in words:
        assert word in reason


@pytest.mark.parametrize(
    ("job", "partition", "words"),
    [
        ({"partition": "gpuu"}, {}, "no such partition; there are gpu"),
        ({}, {"up": False}, "it is not up"),
        ({"runtime": 4320}, {}, "4320 minutes asked for, 2880 is its limit"),
        ({"gpus": 8}, {}, "GPU: 8 on 1 node asked for, a node has {'h100': 4}"),
        ({"gpus": 1, "gpu_model": "a100"}, {}, "a100: 1 on 1 node asked for"),
        ({"gpus": 1}, {"gpus": {}}, "a node has none"),
        ({"mem_mb": 600_000}, {}, "mem_mb 600000 asked for, 500000 is the most"),
        ({"cpus": 128}, {}, "cpus 128 asked for, 64 is the most"),
        ({"nodes": 5}, {}, "nodes 5 asked for, 4 is the most"),
    ],
)
def test_jobs_that_could_never_start_are_found(job: dict[str, Any], partition: dict[str, Any], words: str) -> None:
    reason = doctor.why_never({**JOB, **job}, {"gpu": replace(PARTITION, **partition)})
    assert reason is not None
    assert reason.startswith("rule hydra, partition ")
    assert words in reason


@pytest.mark.parametrize("job", [{}, {"gpus": 8, "nodes": 2}, {"partition": None}, {"gpu_model": "h100"}])
def test_jobs_that_can_start_are_not(job: dict[str, Any]) -> None:
    assert doctor.why_never({**JOB, **job}, {"gpu": PARTITION}) is None


def test_slurms_words_are_read() -> None:
    assert [slurm.minutes(text) for text in ("2-00:00:00", "1:30:00", "30:00", "infinite")] == [2880, 90, 30, None]
    assert slurm.gpus_of("gpu:h100:4(S:0-1),gpu:a100:2,shard:8") == {"h100": 4, "a100": 2}
    assert slurm.gpus_of("gpu:2") == {"": 2}
    assert slurm.gpus_of("(null)") == {}
    assert slurm.number("64+") == 64


def test_the_demo_is_well_on_this_machine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert doctor.FAILED not in said
    for word in ("packages", "disk", "program hydra", "GPU: none asked for"):
        assert word in said


def test_what_is_wrong_ends_with_code_2_and_advice(
    settings: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert main(["doctor", "--jobs", json.dumps([JOB])]) == 2
    said = capsys.readouterr()
    assert "FAILED  disk: about " in said.out
    assert "1 MB free of 1,000 MB" in said.out
    assert "-> make room" in said.out
    assert "SLURM: sinfo is not on PATH" in said.out
    assert said.err.count("\n") == 1


SIMULATION = {"box_px": 128, "delivered_box_px": 64}
ARCHIVE = {"folder": "data", "classes": ["a", "b"], "images_per_class": 500}


@pytest.mark.parametrize(
    ("dataset", "images", "box_px"),
    [
        ({"species": {name: {"entry": "3jb9", "images": 500} for name in "ab"}, "simulation": SIMULATION}, 1000, 64),
        ({"entries": ["3jb9", "6zu5"], "images": 500, "simulation": SIMULATION}, 1000, 64),
        ({"particles": {"file": "x.star", "contrast": "black", "subset": 1000, "box_px": 64}}, 1000, 64),
        ({"particles": {"file": "x.star", "contrast": "black", "subset": 1000}}, None, None),
        ({"particles": {"file": "x.star", "contrast": "black", "subset": "mine.txt", "box_px": 64}}, None, None),
        ({"particles": {"file": "x.star", "contrast": "black", "box_px": 64}}, None, None),
        ({"cryobench": {**ARCHIVE, "box_px": 64}}, 1000, 64),
        ({"cryobench": ARCHIVE}, None, None),
        ({"cryobench": {"folder": "data"}}, None, None),
    ],
)
def test_the_disk_is_asked_for_every_kind_of_dataset(dataset: dict[str, Any], images: int | None, box_px: int) -> None:
    """What the definition itself does not say is left out, and the finding says of which dataset."""
    method = {"program": "backprojection", "label": "Oracle"}
    content = {"datasets": ["mine"], "dataset_definitions": {"mine": dataset}}
    content |= {"methods": ["oracle"], "method_definitions": {"oracle": method}}
    (finding,) = doctor.check_disk(config.validate(content), Path("results"))
    assert finding.state == doctor.OK
    if images is None:
        assert "about 0 MB needed for results, not counting mine; " in finding.what
    else:
        needed = 4 * images * box_px**2 + 4 * box_px**3 * 100
        assert f"about {needed / 1e6:,.0f} MB needed for results; " in finding.what


def test_a_missing_executable_is_named(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    card = method_cards.card
    monkeypatch.setattr(method_cards, "card", lambda program: {**card(program), "executables": ["no-such-program"]})
    found = [finding for finding in doctor.check_methods(settings) if finding.state == doctor.WARNING]
    assert "no-such-program not found" in found[0].what
    assert found[0].advice


@pytest.mark.parametrize("text", ["[1]", "{}", "[{]", "nowhere.json"])
def test_jobs_that_are_none_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--configuration", str(ROOT / "config" / "config.yaml"), "--jobs", text]) == 2
    assert "--jobs: a list of mappings" in capsys.readouterr().err
