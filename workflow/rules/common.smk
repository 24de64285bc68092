# The checked configuration, and what the rules ask of it.
import json
import re
import sys
from pathlib import Path

from hydra_bench import config as configuration
from hydra_bench.errors import InputError
from hydra_bench.jobs import state

STACK = "results/datasets/{dataset}/stack"
TRUTH = "results/datasets/{dataset}/truth"
RECONSTRUCTION = "results/reconstructions/{dataset}/{method}/{seed}"
METRICS = "results/metrics/{dataset}/{method}/{seed}"
LOGS = "results/logs"

try:
    settings = configuration.validate(config, workflow.configfiles)
    if (
        workflow.is_main_process
    ):  # jobs re-read this file, and the structures need one look
        configuration.check_structures(settings, workflow.configfiles)
except InputError as error:
    # One line and no traceback: the user's input is wrong, not the workflow.
    print(f"hydra-bench: error: {error}", file=sys.stderr)
    sys.exit(2)


wildcard_constraints:
    dataset="[^/]+",
    method="[^/]+",
    seed=r"\d+",


def dataset_definition(wildcards):
    """What the simulation depends on, as JSON: a change reruns this dataset and what follows from it."""
    return state.dataset_definition(settings, wildcards.dataset)


def structure_files(wildcards):
    """The structure files that a dataset is made of."""
    from hydra_bench.structures import find_entry

    species = settings["dataset_definitions"][wildcards.dataset]["species"].values()
    entries = dict.fromkeys(one["entry"] for one in species)
    return [str(find_entry(settings["structures_folder"], e)) for e in entries]


def method_definition(wildcards):
    """What a method depends on, as JSON; its label is not in it, so renaming reruns no training."""
    return state.method_definition(settings, wildcards.method)


def state_of(wildcards):
    """Where a run keeps its state: apart from its outputs, which Snakemake deletes if a job fails."""
    return state.state_folder(settings, **wildcards)


def growing(amount):
    """A resource that grows with every attempt: what was killed for want of it gets more."""
    return lambda wildcards, attempt: amount * attempt


def methods_of(program):
    """A pattern of the names of a program's methods, which picks the rule for a reconstruction."""
    methods = settings["method_definitions"].items()
    names = [re.escape(name) for name, m in methods if m["program"] == program]
    return "|".join(names) or "(?!)"  # without methods, a pattern that nothing matches


def stack_inputs():
    """All that a method may see of a dataset."""
    return {
        "particles": f"{STACK}/particles.star",
        "images": f"{STACK}/particles.mrcs",
        "evaluation_list": f"{STACK}/evaluation_particles.txt",
    }


def every(pattern):
    """A path for each dataset, method and seed to run, in the order of the configuration."""
    return expand(
        pattern,
        dataset=settings["datasets"],
        method=settings["methods"],
        seed=settings["seeds"],
    )
