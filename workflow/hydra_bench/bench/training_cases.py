"""Cases that train: to the right classes and the end, with speed-ups taken away, at other sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hydra_bench.bench.context import Bench
from hydra_bench.bench.data import Dataset, first_particles
from hydra_bench.bench.definitions import Case, with_delivered_box
from hydra_bench.bench.summary import Measurement, pairwise_ratios
from hydra_bench.bench.training import Trained, epoch_costs, score_of_oracle, score_of_training, timed_training
from hydra_bench.core.errors import InputError
from hydra_bench.methods.hydra.settings import Settings

DEFAULTS = "defaults"
"""The name of the variant that changes nothing."""


def training(bench: Bench, case: Case) -> Iterator[Measurement]:
    """One training a seed: time to the ARI, to the end, and, if asked for, FSC-AUC beside the oracle's."""
    dataset = bench.dataset(case.dataset)
    for seed in case.seeds:
        yield from measured(bench, case, dataset, case.settings(), {"seed": seed})


def measured(
    bench: Bench, case: Case, dataset: Dataset, settings: Settings, run: dict[str, Any], prefix: str = ""
) -> Iterator[Measurement]:
    """The figures of one training; `run` holds its seed, and `prefix` begins the names of the figures."""
    trained = timed_training(dataset.stack, dataset.truth, settings, run["seed"], bench.device)
    where = {**run, "epochs": [epoch.plain() for epoch in trained.epochs]}
    yield Measurement(f"{prefix}time to ARI {case.ari:g}", "s", trained.wall_to_ari_s(case.ari), where)
    yield Measurement(f"{prefix}wall", "s", trained.used.wall_s, run)
    yield Measurement(f"{prefix}CPU", "s", trained.used.cpu_s, run)
    yield Measurement(f"{prefix}final ARI", "", trained.final_ari, run)
    if case.quality:
        yield from quality(bench, case, dataset, trained, run, prefix)


def quality(
    bench: Bench, case: Case, dataset: Dataset, trained: Trained, run: dict[str, Any], prefix: str
) -> Iterator[Measurement]:
    """FSC-AUC of what was trained, of back-projection with true poses and classes, their quotient; R² of motions."""
    found = score_of_training(dataset, trained, bench.work / f"run-{case.name}")
    ours, oracle = found.fsc_auc, score_of_oracle(dataset).fsc_auc
    for number, r2 in enumerate(found.r2, 1):
        yield Measurement(f"{prefix}R² of coordinate {number}", "", r2, run)
    yield Measurement(f"{prefix}FSC-AUC", "", ours, run)
    if not prefix:
        yield Measurement("FSC-AUC, oracle", "", oracle, run)
    yield Measurement(f"{prefix}FSC-AUC of the oracle's", "%", 100 * ours / oracle, run)


def ablation(bench: Bench, case: Case) -> Iterator[Measurement]:
    """Rounds, one a seed, of the defaults and every variant in turn; ratios are within a round."""
    dataset = bench.dataset(case.dataset)
    for seed in case.seeds:
        wall = dict.fromkeys([DEFAULTS, *case.variants])
        for variant, differing in {DEFAULTS: {}, **case.variants}.items():
            run = {"seed": seed, "variant": variant, "parameters": differing}
            prefix = f"{variant}: "
            for one in measured(bench, case, dataset, case.settings(**differing), run, prefix):
                if one.figure == f"{prefix}wall":
                    wall[variant] = one.value
                yield one
            if variant != DEFAULTS:
                ratio = pairwise_ratios([wall[variant]], [wall[DEFAULTS]])[0]
                yield Measurement(f"{prefix}wall / wall of the defaults", "", ratio, run)


@dataclass(frozen=True)
class Point:
    """One size that scaling is measured at: what is varied, and all of its numbers."""

    axis: str
    images: int
    classes: int
    delivered_box_px: int
    latent_dim: int

    @property
    def text(self) -> str:
        return f"{self.axis} {getattr(self, self.axis)}"


def points(base: dict[str, int], axes: dict[str, list[int]]) -> list[Point]:
    """The base with one number varied at a time. Raises InputError for an axis that is none."""
    known = ("images", "classes", "delivered_box_px", "latent_dim")
    for name in (*base, *axes):
        if name not in known:
            raise InputError(f"unknown axis {name!r}; {', '.join(known)} are allowed")
    missing = [name for name in known if name not in base]
    if missing:
        raise InputError(f"base lacks {missing[0]}")
    return [Point(axis, **{**base, axis: value}) for axis, values in axes.items() for value in values]


def scaling(bench: Bench, case: Case) -> Iterator[Measurement]:
    """CPU time of every epoch of search and of decoding; rounds over all points, so that drift meets all alike."""
    todo = points(case.base, case.axes)
    for repeat in range(bench.repeats):
        for point in todo:
            definition = with_delivered_box(case.dataset, point.delivered_box_px)
            stack = first_particles(bench.dataset(definition).stack, point.images)
            settings = case.settings(classes=point.classes, latent_dim=point.latent_dim)
            trained = timed_training(stack, None, settings, repeat, bench.device)
            run = {"repeat": repeat, "images": len(stack), "box_px": stack.box_px, "classes": point.classes}
            run["latent_dim"] = point.latent_dim
            for epoch, took in epoch_costs(trained.epochs, trained.before_epochs):
                where = {**run, "epoch": epoch.number, "l": epoch.l, "wall_s": took.wall_s}
                yield Measurement(f"{point.text}: CPU of an epoch, {epoch.phase}", "s", took.cpu_s, where)
