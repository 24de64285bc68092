"""Contract 4, the metrics file: what one run is worth and what it cost, results/metrics/<dataset>/<method>/<seed>.json.

It carries a checksum of its own content, so that a damaged one is refused and no table is made of it.

Every key is a field, with its type and what it means; docs/reference/metrics.md has the same as a table. What is
measured is in scores.py; here are the run, its cost, and how the file is read, written and refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from hydra_bench.contracts.measures import Measure, measures_of
from hydra_bench.contracts.metrics_consistency import contradictions
from hydra_bench.contracts.places import is_name
from hydra_bench.contracts.reconstruction import LABELS, MAPS, OK, POSES, STATES
from hydra_bench.contracts.scores import (
    Calibration,
    CalibrationAtNoise,
    ClusteringScores,
    Conformations,
    FscScores,
    JunkScores,
    LabelAlignment,
    Latents,
    Part,
    PoseErrors,
)
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json, write_json
from hydra_bench.core.json_values import Json, JsonObject

INTERRUPTED = "interrupted"
"""The state of a run without a result: it was stopped, or the machine failed, and the same call goes on with it."""
VERSION = 2
"""Of the file. It rises when a key changes its name or its meaning, or goes."""


def _a_name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"{text[:100]!r} is no name of letters, digits, _, . and - (at most 100, not index.json)")
    return text


Name = Annotated[str, AfterValidator(_a_name)]
"""Of a part of a path, which must not lead out of its folder."""


class RunCost(Part):
    """What the run cost, and where; nothing else differs between two runs of the same seed."""

    wall_s: Annotated[float, Measure("Wall time", 1, ("table", "compare"), unit="s", more_is_better=False, over="cost")]
    """Of the reconstruction alone, all attempts together, mean over seeds, on the device named in each method's
    section."""
    cpu_s: Annotated[float, Measure("CPU time", 1, ("page", "compare"), unit="s", more_is_better=False, over="cost")]
    """CPU time of the same."""
    peak_rss_mb: Annotated[
        float, Measure("Peak memory", 0, ("table", "compare"), unit="MB", more_is_better=False, over="cost")
    ]
    """The largest resident set."""
    gpu_memory_mb: float
    """The most GPU memory in use; 0 without a GPU."""
    node: str
    """The machine of the last attempt."""
    gpus: str
    """The GPUs of the last attempt."""
    slurm_job: str
    """The last attempt's number in SLURM, empty outside it."""
    attempts: int
    """How often the run was started until it ended."""
    attempts_lost: int
    """Attempts that were killed outright, whose cost nobody recorded."""
    file_sha256: str = ""
    """Checksum of all else in this file, by which damage is found; empty or missing, nothing is held to it."""


class MetricsFile(Part):
    """One metrics file. What was to be measured is null where the run did not end well."""

    metrics_version: int = VERSION
    """Version of this file."""
    dataset: Name
    """Name of the dataset."""
    method: Name
    """Name of the method."""
    label: str
    """What tables and figures call it."""
    seed: int
    """The run's seed."""
    state: Annotated[str, Field(pattern=f"^({'|'.join((*STATES, INTERRUPTED))})$")]
    """How the run ended: "not configured" where its program has no licence or host here, "not applicable" where a
    bound has no meaning for the dataset, and "interrupted" where it was stopped, or the machine failed, which are no
    failures."""
    reason: str
    """Why it did not end well."""
    reads_truth: bool
    """Whether it is a bound, which knows the truth."""
    given: list[Annotated[str, Field(pattern=f"^({LABELS}|{POSES}|{MAPS})$")]] = Field(default_factory=list)
    """What of a bound's results is the truth's own, so that it has no scores: "labels", "poses", "maps"."""
    program: str = ""
    """The program that ran."""
    program_version: str = ""
    """Its version."""
    parameters: JsonObject = Field(default_factory=dict)  # as each program's own schema says
    """All that the method was given."""
    notes: JsonObject = Field(default_factory=dict)  # whatever a program has to say
    """What the program says of the run: versions, commands, departures from defaults, whose poses it took."""
    device: str = ""
    """Where it ran."""
    images_seen: int | None = None
    """Images worked on, repeats counted."""
    n_particles: int | None = None
    """Particles of the dataset."""
    box_px: int | None = None
    """Box of its images."""
    pixel_size_A: float | None = None
    """Their pixel size."""
    class_names: list[str] | None = None
    """The species, in the order of their numbers."""
    judged_by: Annotated[str, Field(pattern="^(truth|reference|nothing)$")] | None = None
    """What labels and maps are compared with: a truth, another program's results, or nothing."""
    clustering: ClusteringScores | None = None
    """How well labels tell the species apart."""
    calibration: Calibration | None = None
    """How far posteriors of classes can be believed; null also where all are certain, or no truth is known."""
    calibration_at_noise: CalibrationAtNoise | None = None
    """The same of posteriors at the noise's own level; null also for a method that gives none."""
    junk: JunkScores | None = None
    """How well junk is told from particles; null also for a method that does not, or where the truth has none."""
    fsc: FscScores | None = None
    """How good the maps are; null also where no particle is evaluated."""
    pose: PoseErrors | None = None
    """Errors of poses; null also where there are no true poses."""
    cost: RunCost
    """What the run cost, and where."""
    alignments: list[LabelAlignment] | None = None
    """Every alignment of a label's map to a true map."""
    conformation: Conformations | None = None
    """How latents follow the true conformations; null also where nothing moves."""
    latents: Latents | None = None
    """Latent coordinates; null also for a method without."""
    labels: list[int] | None = None
    """The label (from 0) of every particle, joined ones as one."""
    own_labels: list[int] | None = None
    """The labels (from 0) as the method gave them; null where none are joined."""
    true_classes: list[int] | None = None
    """The species (from 0) of every particle."""
    history_ari: list[float] | None = None
    """ARI of the labels at each row of the method's history; null where it left none."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        wanted = ("n_particles", "box_px", "pixel_size_A", "class_names", "clustering", "labels", "true_classes")
        missing = [name for name in wanted if self.state == OK and getattr(self, name) is None]
        if missing:
            raise ValueError(f"lacks {missing[0]!r}")
        if self.state == OK and (wrong := next(contradictions(self), None)) is not None:
            raise ValueError(wrong)
        return self


def write_metrics(path: Path | str, metrics: MetricsFile) -> None:
    """Write the file: keys sorted, floats to six digits, and so the same bytes for the same run; and read it back."""
    content = _rounded(metrics.model_dump())
    content["cost"]["file_sha256"] = _checksum(content)
    write_json(path, content, durable=True)
    read_metrics_file(path)


def read_metrics_file(path: Path | str) -> MetricsFile:
    """Read the file. Raises InputError that names the file and the key that is missing, unknown or of another type."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a metrics file; a mapping is expected")
    found = content.get("metrics_version")
    if found != VERSION or type(found) is not int:
        shown = "missing" if found is None else repr(found)[:100]
        raise InputError(
            f"{path}: metrics_version is {shown}; this version of hydra-bench reads {VERSION}; delete the file, and "
            "`snakemake` evaluates the run again"
        )
    said = cost.get("file_sha256") if isinstance(cost := content.get("cost"), dict) else None
    if said and said != _checksum(content):
        raise InputError(
            f"{path}: is not as it was written: cost.file_sha256 is the checksum of other content; delete the file, "
            "and `snakemake` evaluates the run again, or delete that key, if the change was wanted"
        )
    # A default stands for what a run that never began cannot know; in a file every key is there.
    missing = [name for name in MetricsFile.model_fields if name not in content]
    if missing:
        raise InputError(f"{path}: lacks {missing[0]!r}; it is not a metrics file of this version")
    try:
        return MetricsFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {_refusal(where, first['type'], first['msg'])}") from None


def _checksum(content: JsonObject) -> str:
    """SHA-256 of a file's content, without this one, as JSON with sorted keys: whatever its lines and spaces."""
    plain = {**content, "cost": {key: value for key, value in content["cost"].items() if key != "file_sha256"}}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _refusal(key: str, kind: str, message: str) -> str:
    if kind == "missing":
        return f"lacks {key!r}; it is not a metrics file of this version"
    if kind == "extra_forbidden":
        return f"{key}: no such key in a metrics file of this version"
    message = message.removeprefix("Value error, ")
    return (
        f"{key}: {message[0].lower()}{message[1:]}" if key else f"{message}; it is not a metrics file of this version"
    )


def _rounded(value: Json) -> Json:
    """Floats to six digits after the point and without a negative zero."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(float(value), 6) + 0.0 if isinstance(value, float) else value


MEASURES = measures_of(MetricsFile)
"""Every measure, in the order in which tables show them."""
ARI, MACRO_F1, FSC_AUC, WALL_TIME = (
    next(measure for measure in MEASURES if measure.key == key)
    for key in ("clustering.ari", "clustering.macro_f1", "fsc.auc_mean", "cost.wall_s")
)
