"""Training under the clock: when the classes came right, what it all took, what came of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from sklearn.metrics import adjusted_rand_score

from hydra_bench.bench.data import Dataset
from hydra_bench.contracts.metrics_file import FSC_AUC, MetricsFile, read_metrics_file
from hydra_bench.contracts.stack import Stack
from hydra_bench.contracts.truth import JUNK_NAME, Truth
from hydra_bench.core.errors import RunFailedError
from hydra_bench.core.files import partial_folder
from hydra_bench.core.json_values import JsonObject
from hydra_bench.methods.bounds.backprojection import run_backprojection
from hydra_bench.methods.bounds.task import BoundTask
from hydra_bench.methods.cards import filled_parameters
from hydra_bench.methods.hydra.fit.run_state import Run
from hydra_bench.methods.hydra.fit.train import train
from hydra_bench.methods.hydra.fit.training_input import TrainingInput
from hydra_bench.methods.hydra.model.tables import ParticleTables
from hydra_bench.methods.hydra.output.reconstruction import write_reconstruction
from hydra_bench.methods.hydra.settings import Settings
from hydra_bench.methods.recording import Outcome, Request, record_run
from hydra_bench.metrics.evaluate import EvaluationSettings, RunFiles, evaluate


@dataclass(frozen=True)
class Clock:
    """Wall and CPU seconds, the CPU's of all threads of this process; a GPU is waited for."""

    wall_s: float
    cpu_s: float

    @classmethod
    def now(cls, device: torch.device) -> Clock:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return cls(time.monotonic(), time.process_time())

    def __sub__(self, other: Clock) -> Clock:
        return Clock(self.wall_s - other.wall_s, self.cpu_s - other.cpu_s)

    def __add__(self, other: Clock) -> Clock:
        return Clock(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: its phase, number and l, what was used since training began, and the ARI if a truth was given.

    gpu_GB : the most of a GPU's memory that arrays took in it, in 10⁹ bytes; 0 on a CPU.
    """

    phase: str
    number: int
    l: int
    used: Clock
    ari: float | None
    gpu_GB: float = 0.0

    def plain(self) -> JsonObject:
        """For JSON."""
        used = {"wall_s": round(self.used.wall_s, 3), "cpu_s": round(self.used.cpu_s, 3)}
        gpu = {"gpu_GB": round(self.gpu_GB, 3)} if self.gpu_GB else {}
        return {"phase": self.phase, "epoch": self.number, "l": self.l, **used, "ari": self.ari, **gpu}


@dataclass(frozen=True)
class Trained:
    """A finished training: what it took from the first line of train() to its last, and its epochs.

    before_epochs : what preparation and pre-training took of it; 0 where there was no pre-training to tell by.
    """

    run: Run
    used: Clock
    before_epochs: Clock
    epochs: list[EpochRecord]


def wall_to_ari_s(epochs: list[EpochRecord], wanted: float) -> float | None:
    """Seconds to the end of the first epoch with this ARI; None if none had it."""
    return next((e.used.wall_s for e in epochs if e.ari is not None and e.ari >= wanted), None)


def epoch_costs(epochs: list[EpochRecord], before: Clock) -> list[tuple[EpochRecord, Clock]]:
    """Each epoch with what it alone used; the first one counts from `before`."""
    starts = [before, *(e.used for e in epochs[:-1])]
    return [(epoch, epoch.used - start) for epoch, start in zip(epochs, starts, strict=True)]


@dataclass
class Watch:
    """Follows a training by its reports; what the watching itself takes is not counted.

    pretraining : images that pre-training has yet to work on. before_epochs : what was used up to its end.
    """

    device: torch.device
    truth: Truth | None
    began: Clock
    pretraining: int = 0
    before_epochs: Clock = field(default_factory=lambda: Clock(0.0, 0.0))
    epochs: list[EpochRecord] = field(default_factory=list)

    def advance(self, images: int) -> None:
        """Pre-training is no epoch of the history: it has ended when as many images as it takes were worked on."""
        if self.pretraining > 0:
            self.pretraining -= images
            self.before_epochs = self.used()

    def used(self) -> Clock:
        return Clock.now(self.device) - self.began

    def report(self, row: JsonObject, tables: ParticleTables) -> None:
        used = self.used()
        ari = None if self.truth is None else true_ari(tables, self.truth)
        self.epochs.append(EpochRecord(row["phase"], row["epoch"], row["l"], used, ari, gpu_peak_GB(self.device)))
        self.began = self.began + (self.used() - used)


def gpu_peak_GB(device: torch.device) -> float:
    """The most memory that arrays took on a GPU since this was asked last, in 10⁹ bytes; 0 on a CPU."""
    if device.type != "cuda":
        return 0.0
    peak = torch.cuda.max_memory_allocated(device) / 1e9
    torch.cuda.reset_peak_memory_stats(device)
    return peak


def true_ari(tables: ParticleTables, truth: Truth) -> float:
    """The ARI of every particle's most probable class; junk, which belongs to no class, does not count."""
    good = ~truth.junk
    return round(float(adjusted_rand_score(truth.classes[good], tables.hard_classes()[good])), 6)


def timed_training(stack: Stack, truth: Truth | None, settings: Settings, seed: int, device: torch.device) -> Trained:
    """Train; the truth is for the ARI of each epoch and is not shown to the training."""
    watch = Watch(device, truth, Clock.now(device), min(settings.pretrain_images, len(stack)))
    start_from = TrainingInput(stack, settings, seed)
    run = train(start_from, device, report=watch.report, advance=watch.advance)
    return Trained(run, watch.used(), watch.before_epochs, watch.epochs)


@dataclass(frozen=True)
class Scored:
    """FSC-AUC over the evaluated particles, and R² of each true coordinate, of a reconstruction on disk.

    masked : FSC-AUC within the truth's mask. classes : what else the evaluation says of classes and junk, by its name
    in the results. r2 : along the best direction of the latents, after a monotone fit (metrics/conformation.py); empty
    where no species moves, None for a coordinate whose latents do not vary.
    """

    fsc_auc: float
    masked: float
    classes: dict[str, float]
    r2: tuple[float | None, ...]


def scored(dataset: Dataset, folder: Path) -> Scored:
    """Evaluate a reconstruction as `hydra-bench evaluate` does; reads its metrics where that was done before."""
    path = folder.with_name(f"{folder.name}.json")
    if not path.is_file():
        aligned = folder.with_name(f"{folder.name}-aligned")
        files = RunFiles(dataset.star_path, dataset.truth_folder, folder, folder.name, folder.name, folder.name)
        evaluate(files, path, aligned, EvaluationSettings())
        shutil.rmtree(aligned, ignore_errors=True)
    metrics = read_metrics_file(path)
    moving = metrics.conformation.per_class if metrics.conformation else []
    r2 = tuple(None if recovered is None else recovered.r2 for species in moving for recovered in species.coordinates)
    fsc_auc = FSC_AUC.of(metrics)
    assert fsc_auc is not None, "the dataset has a truth with maps"
    assert metrics.fsc is not None
    return Scored(fsc_auc, metrics.fsc.masked_auc_mean, of_classes(metrics), r2)


def of_classes(metrics: MetricsFile) -> dict[str, float]:
    """What the evaluation says of classes, of junk and of posteriors, where it says it."""
    found: dict[str, float] = {}
    clustering, at_noise, junk = metrics.clustering, metrics.calibration_at_noise, metrics.junk
    if clustering is not None and clustering.per_species is not None:
        species = [one for one in clustering.per_species if one.class_name != JUNK_NAME]
        found["least recall of a species"] = min(one.recall for one in species)
        found["classes not empty"] = clustering.n_nonempty
    if junk is not None:
        found |= {"junk found": junk.found, "good called junk": junk.good_lost}
    if at_noise is not None:
        found |= {"accuracy at the noise's level": at_noise.accuracy, "ECE at the noise's level": at_noise.ece}
    return found


def score_of_training(dataset: Dataset, trained: Trained, work: Path) -> Scored:
    """Write what was trained into a folder of `work`, evaluate it, and leave nothing behind."""
    run = trained.run

    def write(out: Path) -> Outcome:
        write_reconstruction(run, dataset.stack.pixel_size_A, dataset.evaluation, out)
        return Outcome(run.history.images_seen)

    with partial_folder(work / "run") as folder:
        out = folder / "run"
        _recorded("hydra", out, run.seed, write)
        return scored(dataset, out)


def score_of_oracle(dataset: Dataset) -> Scored:
    """Back-projection with true poses and classes, beside its dataset; done once for each."""
    folder = dataset.folder / "oracle"
    if not folder.is_dir():

        def work(out: Path) -> Outcome:
            parameters = filled_parameters("backprojection", {})
            return run_backprojection(
                BoundTask(dataset.stack, dataset.truth, dataset.evaluation, parameters, seed=0), out
            )

        _recorded("backprojection", folder, 0, work)
    return scored(dataset, folder)


def _recorded(program: str, folder: Path, seed: int, work: Callable[[Path], Outcome]) -> None:
    request = Request({"name": program, "program": program}, seed, "cpu", reads_truth=program == "backprojection")
    run = record_run(folder, request, work)
    if run.state != "ok":
        shutil.rmtree(folder)
        raise RunFailedError(run.reason)
