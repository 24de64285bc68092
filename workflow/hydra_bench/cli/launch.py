"""`hydra-bench launch`."""

from __future__ import annotations

import argparse

from hydra_bench.cli.options import add_paths
from hydra_bench.core.errors import InputError

HELP = "run a method's command on its job's devices, and keep account of it"


def add_options(parser: argparse.ArgumentParser) -> None:
    add_paths(
        parser, state="folder of the run's state", out="folder of the reconstruction", log="file for what it says"
    )
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of the job, one process each (default 0)")
    parser.add_argument("--nodes", type=int, default=1, help="nodes of the job (default 1)")
    parser.add_argument(
        "--device", default="auto", help="auto (default) insists on the GPUs asked for; cpu does without"
    )
    parser.add_argument("--cpus", type=int, default=1, help="CPUs of the job on each node (default 1)")
    parser.add_argument("run_command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command to run")


def run(args: argparse.Namespace) -> int:
    from hydra_bench.jobs.launch import Job, launch

    command = args.run_command[1:] if args.run_command[:1] == ["--"] else args.run_command
    if not command:
        raise InputError("launch: no command; `hydra-bench launch ... -- COMMAND` is expected")
    return launch(Job(args.state, args.out, args.log, args.gpus, args.nodes, args.device, args.cpus), command)
