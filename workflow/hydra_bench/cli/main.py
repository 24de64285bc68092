"""The command line: one sub-command for each step of the workflow, each one call into the package.

Imports are inside the functions: a sub-command loads what it needs, so that `--help` and errors are quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from hydra_bench import __version__
from hydra_bench.bench.arguments import bench_arguments
from hydra_bench.core.definition import read_definition
from hydra_bench.core.errors import InputError
from hydra_bench.core.threads import set_threads
from hydra_bench.jobs.arguments import doctor_arguments
from hydra_bench.methods.hydra.arguments import hydra_arguments, volume_arguments
from hydra_bench.methods.programs.arguments import reconstruct_arguments
from hydra_bench.report.arguments import compare_arguments, figure_arguments


def _check_config(args: argparse.Namespace) -> None:
    from hydra_bench.cli.datasets import checked

    checked(args.files)


def _dataset(args: argparse.Namespace) -> None:
    from hydra_bench.cli.datasets import dataset_command

    dataset_command(args)


def _simulate(args: argparse.Namespace) -> None:
    from hydra_bench.cli.datasets import simulate_command

    simulate_command(args)


def _gallery(args: argparse.Namespace) -> None:
    from hydra_bench.cli.datasets import gallery_command

    gallery_command(args)


def _hydra(args: argparse.Namespace) -> int:
    from hydra_bench.methods.hydra.command import hydra_command

    return hydra_command(args)


def _hydra_volume(args: argparse.Namespace) -> None:
    from hydra_bench.methods.hydra.command import volume_command

    volume_command(args)


def _backproject(args: argparse.Namespace) -> None:
    from hydra_bench.contracts.stack import read_evaluation_list, read_stack
    from hydra_bench.contracts.truth import read_truth
    from hydra_bench.methods.bounds.backprojection import run_backprojection
    from hydra_bench.methods.recording import Request, record_run

    definition, stack, truth = read_definition(args.definition), read_stack(args.particles), read_truth(args.truth)
    evaluation = read_evaluation_list(args.evaluation_list, len(stack))
    labels = definition["parameters"]["labels"]
    set_threads(args.threads)
    record_run(
        args.out,
        Request(definition, args.seed, "cpu", reads_truth=True),
        lambda folder: run_backprojection(stack, truth, evaluation, labels, args.seed, folder),
    )


def _reconstruct(args: argparse.Namespace) -> int:
    from hydra_bench.methods.programs.command import reconstruct_command

    return reconstruct_command(args)


def _evaluate(args: argparse.Namespace) -> None:
    from hydra_bench.metrics.evaluate import EvaluationSettings, evaluate

    set_threads(args.threads)
    settings = EvaluationSettings.from_definition(read_definition(args.definition))
    names = (args.dataset, args.method, args.label)
    evaluate(args.particles, args.truth, args.reconstruction, args.out, args.aligned, settings, *names)


def _bench(args: argparse.Namespace) -> int:
    from hydra_bench.bench.command import bench_command

    return bench_command(args)


def _launch(args: argparse.Namespace) -> int:
    from hydra_bench.jobs.launch import Job, launch

    command = args.run_command[1:] if args.run_command[:1] == ["--"] else args.run_command
    if not command:
        raise InputError("launch: no command; `hydra-bench launch ... -- COMMAND` is expected")
    return launch(Job(args.state, args.out, args.log, args.gpus, args.nodes, args.device, args.cpus), command)


def _doctor(args: argparse.Namespace) -> int:
    from hydra_bench.jobs.doctor import doctor_command

    return doctor_command(args)


def _summarise(args: argparse.Namespace) -> None:
    from hydra_bench.report.unfinished import summarise

    summarise(args.configuration, args.results)


def _tables(args: argparse.Namespace) -> None:
    from hydra_bench.report.tables.tables import write_tables

    write_tables(args.metrics, args.out)


def _figures(args: argparse.Namespace) -> None:
    from hydra_bench.report.figures.figures import write_figures

    write_figures(args.metrics, args.results, args.out)


def _page(args: argparse.Namespace) -> None:
    from hydra_bench.report.page.page import write_page

    write_page(args.metrics, args.tables, args.figures, args.out)


def _figure(args: argparse.Namespace) -> None:
    from hydra_bench.report.command import figure_command

    figure_command(args)


def _compare(args: argparse.Namespace) -> None:
    from hydra_bench.report.command import compare_command

    compare_command(args)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hydra-bench", description="Benchmarks of heterogeneous cryo-EM.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(run=run)
        return one

    def paths(one: argparse.ArgumentParser, **names: str) -> None:
        for name, text in names.items():
            one.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, help=text)

    def method(one: argparse.ArgumentParser) -> None:
        one.add_argument("--definition", required=True, help="method definition: JSON text, or a file")
        paths(one, particles="STAR file of the stack", evaluation_list="particles to write volumes of")
        one.add_argument("--seed", type=int, default=0)
        one.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
        one.add_argument("--out", type=Path, required=True, help="folder for the reconstruction")

    one = command("check-config", _check_config, "check configuration files, merged in the order given")
    one.add_argument("files", nargs="+", type=Path, metavar="FILE")

    one = command("dataset", _dataset, "say what datasets would be, or fetch the PDB entries they need")
    one.add_argument("action", choices=("check", "fetch"), help="check explains the datasets of a configuration")
    one.add_argument("files", nargs="+", type=Path, metavar="FILE", help="configuration files, merged in this order")
    one.add_argument("--gallery", type=Path, metavar="DIR", help="draw a few particles of each dataset there")

    one = command(
        "simulate", _simulate, "make a dataset's particle stack and truth, from PDB entries or others' particles"
    )
    one.add_argument("--definition", required=True, help="dataset definition: JSON text, or a file")
    one.add_argument("--structures", type=Path, nargs="+", required=True, help="folders of PDB entries")
    paths(one, stack="folder for the stack", truth="folder for the truth")
    one.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")

    one = command("gallery", _gallery, "draw true projections and particles of a dataset")
    paths(one, particles="STAR file of the stack", truth="folder of the truth", out="PNG file to write")

    one = command("hydra", _hydra, "reconstruct particles by a mixture of neural fields")
    hydra_arguments(one)

    one = command("hydra-volume", _hydra_volume, "render maps of a finished run of hydra")
    volume_arguments(one)

    one = command("backproject", _backproject, "back-project with true poses: the bounds")
    method(one)
    paths(one, truth="folder of the truth")

    one = command("reconstruct", _reconstruct, "reconstruct particles by another program, as its method's card says")
    method(one)
    reconstruct_arguments(one)

    one = command("evaluate", _evaluate, "score a reconstruction against the truth")
    one.add_argument("--definition", default="{}", help="evaluation settings: JSON text, or a file")
    for name in ("dataset", "method", "label"):
        one.add_argument(f"--{name}", required=True, help=f"name of the {name}, for the report")
    paths(one, particles="STAR file of the stack", truth="folder of the truth")
    paths(one, reconstruction="folder of the reconstruction", out="JSON file for the metrics")
    paths(one, aligned="folder for the maps, aligned to the truth")
    one.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")

    one = command("bench", _bench, "measure how fast hydra is")
    bench_arguments(one)

    one = command("launch", _launch, "run a method's command on its job's devices, and keep account of it")
    paths(one, state="folder of the run's state", out="folder of the reconstruction", log="file for what it says")
    one.add_argument("--gpus", type=int, default=0, help="GPUs of the job, one process each (default 0)")
    one.add_argument("--nodes", type=int, default=1, help="nodes of the job (default 1)")
    one.add_argument("--device", default="auto", help="auto (default) insists on the GPUs asked for; cpu does without")
    one.add_argument("--cpus", type=int, default=1, help="CPUs of the job on each node (default 1)")
    one.add_argument("run_command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command to run")

    one = command("doctor", _doctor, "check that this machine can run a configuration, and say what to do")
    doctor_arguments(one)

    one = command("summarise", _summarise, "tables, figures and page of what is finished; the rest are failed rows")
    paths(one, configuration="the configuration as it was run", results="folder of the results")

    for name, run, text in (
        ("tables", _tables, "make the tables from all metrics"),
        ("figures", _figures, "draw the figures from all results"),
        ("page", _page, "make the report page"),
    ):
        one = command(name, run, text)
        one.add_argument("--metrics", nargs="+", type=Path, required=True, metavar="JSON")
        if name == "figures":
            paths(one, results="folder of the results")
        if name == "page":
            paths(one, tables="folder of the tables", figures="folder of the figures")
        paths(one, out="file to write" if name == "page" else "folder to write")

    one = command("figure", _figure, "draw a figure of the paper from the runs that there are")
    figure_arguments(one)

    one = command("compare", _compare, "say what changed between two results folders")
    compare_arguments(one)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command; 2 for an input that is wrong, with one line that says so."""
    args = build_parser().parse_args(arguments)
    try:
        return args.run(args) or 0
    except InputError as error:
        print(f"hydra-bench: error: {error}", file=sys.stderr)
        return 2
