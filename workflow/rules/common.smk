# The checked configuration, and what the rules ask of it.
import hashlib
import json
import re
import sys
from pathlib import Path

from hydra_bench import config as configuration
from hydra_bench.errors import InputError

STACK = "results/datasets/{dataset}/stack"
TRUTH = "results/datasets/{dataset}/truth"
RECONSTRUCTION = "results/reconstructions/{dataset}/{method}/{seed}"
CHECKPOINT = "results/checkpoints/{dataset}/{method}/{seed}-{digest}.pt"
METRICS = "results/metrics/{dataset}/{method}/{seed}"
PAPER = "results/paper/{dataset}"
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
    definition = settings["dataset_definitions"][wildcards.dataset]
    return json.dumps({"name": wildcards.dataset, **definition})


def structure_files(wildcards):
    """The structure files that a dataset is made of."""
    from hydra_bench.structures import find_entry

    species = settings["dataset_definitions"][wildcards.dataset]["species"].values()
    entries = dict.fromkeys(one["entry"] for one in species)
    return [str(find_entry(settings["structures_folder"], e)) for e in entries]


def method_definition(wildcards):
    """What a method depends on, as JSON; its label is not in it, so renaming reruns no training."""
    method = settings["method_definitions"][wildcards.method]
    # null leaves the choice to the program.
    chosen = {k: v for k, v in method["parameters"].items() if v is not None}
    return json.dumps(
        {"name": wildcards.method, "program": method["program"], "parameters": chosen}
    )


def checkpoint_of(wildcards):
    """Where a method keeps its state while it runs: apart from its outputs, which Snakemake deletes if a job fails.

    The name holds a hash of all that the result depends on, so that a job never meets another one's state.
    """
    depends_on = dataset_definition(wildcards) + method_definition(wildcards)
    digest = hashlib.sha256(depends_on.encode()).hexdigest()[:12]
    return CHECKPOINT.format(**wildcards, digest=digest)


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


def runs_of_a_dataset():
    """All that a figure of one dataset may show; found by its place under results/, and named to be up to date."""

    def of_dataset(pattern):
        return lambda wildcards: expand(
            pattern,
            dataset=wildcards.dataset,
            method=settings["methods"],
            seed=settings["seeds"],
        )

    return {
        "metrics": of_dataset(f"{METRICS}.json"),
        "aligned": of_dataset(f"{METRICS}_aligned"),
        "reconstructions": of_dataset(RECONSTRUCTION),
        "truth": TRUTH,
        "images": f"{STACK}/particles.mrcs",
    }


def main_method_option():
    """The option that names the method that figures of one method show."""
    chosen = settings["report"]["main_method"]
    return f"--main-method {chosen}" if chosen else ""


def paper_figures(name):
    """A figure of the paper for each dataset."""
    return expand(f"{PAPER}/{name}.svg", dataset=settings["datasets"])
