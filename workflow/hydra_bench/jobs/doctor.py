"""`hydra-bench doctor`: what can be known to go wrong before hours of queueing and training, and what to do about it.

Each check is a function that yields findings; `doctor` runs them all, so that one look shows everything.
"""

import platform
import shutil
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from hydra_bench import __version__
from hydra_bench.config import configuration as config
from hydra_bench.config.method_definitions import given_from
from hydra_bench.core.clone import CLONE
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import disk_text
from hydra_bench.core.json_values import JsonObject
from hydra_bench.datasets.kinds import kind_of
from hydra_bench.jobs import cuda, slurm
from hydra_bench.methods import cards as method_cards
from hydra_bench.methods.programs.programs import find_executable

OK, WARNING, FAILED = "ok", "warning", "FAILED"
OF_THE_WORKFLOW = ("snakemake", "snakemake-executor-plugin-slurm")
"""Requirements that start jobs. What is run in a job does not need them, and its environment may lack them."""
_MAPS_A_RUN = 100
"""Volumes that a run of a method writes, aligned ones included, to estimate disk space by."""


@dataclass(frozen=True)
class Finding:
    """One line of the result. `advice` says what to do."""

    state: str
    what: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.state:8}{self.what}" + (f"\n{'':8}-> {self.advice}" if self.advice else "")


def requirements() -> list[Requirement]:
    """What pyproject.toml says that the package needs."""
    project = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]
    return [Requirement(text) for text in project["dependencies"]]


def check_environment(in_a_job: bool = False) -> Iterator[Finding]:
    """Python, this package, and its requirements at versions that it takes; in a job, without those of the workflow."""
    yield Finding(OK, f"hydra-bench {__version__}, Python {platform.python_version()}, {platform.node()}")
    wrong = []
    for requirement in requirements():
        if in_a_job and requirement.name in OF_THE_WORKFLOW:
            continue
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} is {installed}, {requirement.specifier} is needed")
    if wrong:
        yield Finding(FAILED, f"packages: {'; '.join(wrong)}", "pip install --requirement requirements.lock")
    elif shutil.which("hydra-bench") is None:
        yield Finding(FAILED, "the command hydra-bench is not on PATH", ". .venv/bin/activate")
    else:
        yield Finding(OK, f"packages: all at versions that fit; torch {metadata.version('torch')}")


def check_disk(settings: config.Config, results: Path) -> Iterator[Finding]:
    """Room for the stacks and maps of the datasets that are to run, but for those whose size only their files say."""
    there = results
    while not there.exists():
        there = there.parent
    need, unknown = 0.0, []
    runs = len(settings["methods"]) * len(settings["seeds"])
    for name in settings["datasets"]:
        definition = settings["dataset_definitions"][name]
        size = kind_of(definition).delivered_size(definition)
        if size is None:
            unknown.append(name)
            continue
        images, box = size
        need += 4 * images * box**2 + 4 * box**3 * _MAPS_A_RUN * runs
    free = shutil.disk_usage(there).free
    not_counted = f", not counting {', '.join(unknown)}" if unknown else ""
    what = f"disk: about {need / 1e6:,.0f} MB needed for {results}{not_counted}; {disk_text(there)}"
    if free < need:
        yield Finding(FAILED, what, "make room, or make results a link to a larger disk")
    else:
        yield Finding(OK, what)


def check_methods(settings: config.Config) -> Iterator[Finding]:
    """Executables that the programs of the chosen methods need, as their cards list them.

    One that is missing is a warning: its method's rows fail, and the report of the others is made.
    """
    sources = [given_from(settings["method_definitions"][name]) for name in settings["methods"]]
    names = [*settings["methods"], *(source for source in sources if source in settings["method_definitions"])]
    for program in dict.fromkeys(settings["method_definitions"][name]["program"] for name in names):
        card = method_cards.card(program)
        executables = card.get("executables") or []
        environment = method_cards.environment_folder(card, settings["environments_folder"])
        missing = [name for name in executables if find_executable(name, environment) is None]
        if missing:
            advice = card.get("install") or f"see workflow/methods/{program}/card.yaml"
            what = f"program {program}: {', '.join(missing)} not found, so its rows will say failed"
            yield Finding(WARNING, what, advice)
        else:
            yield Finding(OK, f"program {program}: {', '.join(executables) or 'nothing beside this package'}")


def check_fit(settings: config.Config) -> Iterator[Finding]:
    """Methods that cannot take a dataset, as far as the configuration says how large that is; their rows fail."""
    for name in settings["datasets"]:
        dataset = settings["dataset_definitions"][name]
        size = kind_of(dataset).delivered_size(dataset)
        if size is None:
            continue
        n_images, box_px = size
        for method in settings["methods"]:
            try:
                method_cards.check_fit(settings["method_definitions"][method], n_images, box_px)
            except InputError as error:
                what = f"method {method} on dataset {name}: {error}; its rows there will say failed"
                yield Finding(WARNING, what, "change the parameter, or leave the method or the dataset out")


def check_gpus(wanted: int) -> Iterator[Finding]:
    """GPUs of this machine, if it is to compute on them."""
    if not wanted:
        yield Finding(OK, "GPU: none asked for on this machine")
        return
    facts = cuda.gather()
    reason = cuda.why_unusable(facts, wanted)
    if reason:
        yield Finding(
            FAILED, f"GPU: {wanted} asked for, but {reason}", "or run on the CPU: snakemake without --profile"
        )
    else:
        yield Finding(OK, f"GPU: {facts.count} x {facts.name}, torch {facts.torch}, driver {facts.driver}")


def check_slurm(jobs: list[JsonObject]) -> Iterator[Finding]:
    """Partitions that can take the jobs: SLURM lets some that cannot ever start wait for ever."""
    if not jobs:
        return
    if not slurm.available():
        yield Finding(FAILED, "SLURM: sinfo is not on PATH", "run Snakemake on a login node of the cluster")
        return
    try:
        known = slurm.partitions()
        remembered = slurm.seconds_remembered()
    except InputError as error:
        yield Finding(FAILED, f"SLURM: {error}", "ask the cluster's administrators")
        return
    if remembered is not None and remembered < 200:  # Snakemake looks every 180 s at the longest
        what = f"SLURM: squeue forgets a job {remembered} s after its end (MinJobAge); Snakemake may miss it"
        yield Finding(WARNING, what, "if SLURM keeps accounts, set slurm-status-command: sacct in the profile")
    advice = "profiles/slurm/config.yaml has the partitions and limits as named keys at its top"
    wrong = dict.fromkeys(reason for job in jobs if (reason := why_never(job, known)))
    for reason in wrong:
        yield Finding(FAILED, f"SLURM: {reason}", advice)
    if not wrong:
        names = dict.fromkeys(job.get("partition") or "the default one" for job in jobs)
        yield Finding(OK, f"SLURM: partitions {', '.join(names)} can take all jobs")


def why_never(job: JsonObject, known: dict[str, slurm.Partition]) -> str | None:
    """Why a job could never start; None if nothing speaks against it."""
    name = job.get("partition")
    if not name:
        return None
    who = f"rule {job['rule']}, partition {name}"
    if name not in known:
        return f"{who}: there is no such partition; there are {', '.join(known) or 'none'}"
    partition = known[name]
    gpus, model, nodes = job.get("gpus") or 0, job.get("gpu_model") or "", job.get("nodes") or 1
    if not partition.up:
        return f"{who}: it is not up"
    if partition.longest_min is not None and (job.get("runtime") or 0) > partition.longest_min:
        return f"{who}: {job['runtime']} minutes asked for, {partition.longest_min} is its limit"
    have = partition.gpus.get(model, 0) if model else max(partition.gpus.values(), default=0)
    if -(-gpus // nodes) > have:
        what = f"{model or 'GPU'}: {gpus} on {nodes} node{'s' * (nodes > 1)}"
        return f"{who}: {what} asked for, a node has {partition.gpus or 'none'}"
    for key, limit in (("cpus", partition.cpus), ("mem_mb", partition.memory_mb), ("nodes", partition.nodes)):
        if (job.get(key) or 0) > limit:
            return f"{who}: {key} {job[key]} asked for, {limit} is the most"
    return None


def doctor(
    settings: config.Config, results: Path, gpus: int, jobs: list[JsonObject] | None, in_a_job: bool = False
) -> Iterable[Finding]:
    """All findings, in the order in which they are to be read."""
    yield from check_environment(in_a_job)
    yield from check_disk(settings, results)
    yield from check_methods(settings)
    yield from check_fit(settings)
    yield from check_gpus(gpus)
    yield from check_slurm(jobs or [])
