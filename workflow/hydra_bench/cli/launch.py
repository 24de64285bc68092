"""`hydra-bench launch`: a method on the devices of its job."""

from argparse import REMAINDER, ArgumentParser, Namespace

from hydra_bench.cli.options import add_paths
from hydra_bench.core.errors import InputError

HELP = "run a method's command on its job's devices, and keep account of it"


def add_options(parser: ArgumentParser) -> None:
    option = parser.add_argument
    add_paths(
        parser, state="folder of the run's state", out="folder of the reconstruction", log="file for what it says"
    )
    option("--gpus", type=int, default=0, help="GPUs of the job, one process each (default 0)")
    option("--nodes", type=int, default=1, help="nodes of the job (default 1)")
    option("--device", default="auto", help="auto (default) insists on the GPUs asked for; cpu does without")
    option("--cpus", type=int, default=1, help="CPUs of the job on each node (default 1)")
    option("run_command", nargs=REMAINDER, metavar="-- COMMAND", help="the command to run")


def run(args: Namespace) -> int:
    from hydra_bench.jobs.launch import Job, launch

    command = args.run_command[1:] if args.run_command[:1] == ["--"] else args.run_command
    if not command:
        raise InputError("launch: no command; `hydra-bench launch ... -- COMMAND` is expected")
    return launch(Job(args.state, args.out, args.log, args.gpus, args.nodes, args.device, args.cpus), command)
