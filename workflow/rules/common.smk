# The checked configuration, and what the rules ask of it. Everything here runs with what Snakemake brings.
import json
import re
import shlex
import sys
from pathlib import Path

# The package of this clone is what runs, here and in the jobs, whatever the working directory and what is installed.
WORKFLOW = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
if WORKFLOW.is_dir() and str(WORKFLOW) not in sys.path:  # no folder where a module comes from a hosting site
    sys.path.insert(0, str(WORKFLOW))

from hydra_bench.config import configuration, identity
from hydra_bench.config.method_definitions import TRUTH, given
from hydra_bench.contracts.places import PARTICLES_NAME, TRUTH_NAME, Results
from hydra_bench.core import clone
from hydra_bench.core.errors import InputError
from hydra_bench.datasets import kinds
from hydra_bench.methods import cards as method_cards
from hydra_bench.report.paper.catalogue import SUPPLEMENT, paper_figures

clone.export()
RESULTS = Results()
DATASET = RESULTS.dataset("{dataset}")
RUN = RESULTS.run("{dataset}", "{method}", "{seed}")
FIGURES = paper_figures()

try:
    if workflow.is_main_process:
        configuration.load(workflow.configfiles)  # by the careful reader: Snakemake's takes repeated keys, and more
    settings = configuration.validate(config, workflow.configfiles)
    if workflow.is_main_process:  # jobs re-read this file, and one look is enough
        for entry in configuration.check_named_files(settings, workflow.configfiles):
            message = f"hydra-bench: {entry} is fetched at the start of a run"
            print(message, file=sys.stderr)
except InputError as error:
    # One line and no traceback: the user's input is wrong, not the workflow.
    print(f"hydra-bench: error: {error}", file=sys.stderr)
    sys.exit(2)

# What precedes the first job is a hook of the clone's own Snakefiles. Where another one uses this as a module, or the
# process of Snakemake lacks the libraries that its jobs have, it is a job (rules/start.smk) that the others wait for.
HOOKED = clone.has_libraries() and Path(workflow.main_snakefile).resolve() in (
    WORKFLOW.resolve() / "Snakefile",
    WORKFLOW.resolve().parent / "Snakefile",
)
MAIN_METHOD = settings["report"]["main_method"]


wildcard_constraints:
    dataset="[^/]+",
    method="[^/]+",
    seed=r"\d+",


def dataset_files(wildcards):
    """The files that a dataset is made of: structures, or a list of particles and what they are compared with."""
    dataset = settings["dataset_definitions"][wildcards.dataset]
    return list(map(str, kinds.input_files(dataset, Path(settings["structures_folder"]))))


def after_the_start():
    """What the first jobs wait for. Its time is of no account: nothing that is made depends on what is in it."""
    return [] if HOOKED else ancient(RESULTS.configuration)


def method_definition(wildcards):
    """What a method depends on, in a file; its label is not in it, so renaming reruns no training."""
    return identity.in_a_file(identity.method_definition(settings, wildcards.method))


def dataset_definition(wildcards):
    """What a dataset depends on, in a file."""
    return identity.in_a_file(identity.dataset_definition(settings, wildcards.dataset))


def evaluation_definition(wildcards):
    """How a method's runs are scored, in a file: no part of the method, so that a change reruns no training."""
    merged = settings["method_definitions"][wildcards.method]["merge_classes"]
    return identity.in_a_file(json.dumps(settings["evaluation"] | ({"merge_classes": merged} if merged else {})))


def state_of(wildcards):
    """Where a run keeps its state: apart from its outputs, which Snakemake deletes if a job fails."""
    return identity.state_folder(settings, **wildcards)


def given_poses(wildcards):
    """The folder of the poses, or poses and classes, that a method is given; none for one that finds its own."""
    found = given(settings["method_definitions"][wildcards.method])
    if found is None:
        return []
    _, source = found
    if source == TRUTH:
        return RESULTS.dataset(wildcards.dataset).truth
    return RESULTS.run(wildcards.dataset, source, wildcards.seed).reconstruction


def poses_option(wildcards, input):
    """The option that hands them to a method's command, or nothing."""
    found = given(settings["method_definitions"][wildcards.method])
    if found is None:
        return ""
    key, source = found
    name = TRUTH_NAME if source == TRUTH else PARTICLES_NAME
    return f"--{key.replace('_', '-')} {input.poses}/{name}"


def growing(amount):
    """A resource that grows with every attempt: what was killed for want of it gets more."""
    return lambda wildcards, attempt: amount * attempt


def simulation_mb(wildcards, attempt):
    """Memory to ask for to make a dataset: what a simulation is known to take, and a quarter more."""
    dataset = settings["dataset_definitions"][wildcards.dataset]
    memory = kinds.kind_of(dataset).memory_bytes(dataset)
    return max(2500, round(1.25 * memory / 1e6)) * attempt


def methods_of(program):
    """A pattern of the names of a program's methods, which picks the rule for a reconstruction."""
    methods = settings["method_definitions"].items()
    names = [re.escape(name) for name, m in methods if m["program"] == program]
    return "|".join(names) or "(?!)"  # without methods, a pattern that nothing matches


def stack_inputs():
    """All that a method may see of a dataset."""
    return ({} if HOOKED else {"start": after_the_start()}) | {
        "particles": DATASET.particles,
        "images": DATASET.images,
        "evaluation_list": DATASET.evaluation_list,
    }


def every(pattern, **chosen):
    """A path for each dataset, method and seed to run, or those chosen, in the order of the configuration."""
    runs = {"dataset": settings["datasets"], "method": settings["methods"], "seed": settings["seeds"]}
    return expand(pattern, **(runs | chosen))


def runs_of_a_dataset():
    """All that a figure of one dataset may show; found by its place under results/, and named to be up to date."""
    of_runs = {"metrics": RUN.metrics, "aligned": RUN.aligned, "reconstructions": RUN.reconstruction}
    return {
        "truth": DATASET.truth,
        "images": DATASET.images,
        **{key: lambda wildcards, path=path: every(path, dataset=wildcards.dataset) for key, path in of_runs.items()},
    }


def drawn_for_datasets(figure):
    """A figure of the paper, or the supplement's folder, for each dataset."""
    drawn = DATASET.supplement if figure == SUPPLEMENT else DATASET.figure(figure, "svg")
    return expand(drawn, dataset=settings["datasets"])
