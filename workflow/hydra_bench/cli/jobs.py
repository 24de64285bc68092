"""`hydra-bench launch` and `doctor`: running a method on the devices of its job, and whether a machine can."""

from __future__ import annotations

import json
import sys
from argparse import REMAINDER, ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from hydra_bench.cli.options import Add, add_paths
from hydra_bench.contracts.places import Results
from hydra_bench.core.errors import InputError


def add_commands(add: Add) -> None:
    add_launch_options(add("launch", "run a method's command on its job's devices, and keep account of it", run_launch))
    add_doctor_options(add("doctor", "check that this machine can run a configuration, and say what to do", run_doctor))


def add_launch_options(parser: ArgumentParser) -> None:
    option = parser.add_argument
    add_paths(
        parser, state="folder of the run's state", out="folder of the reconstruction", log="file for what it says"
    )
    option("--gpus", type=int, default=0, help="GPUs of the job, one process each (default 0)")
    option("--nodes", type=int, default=1, help="nodes of the job (default 1)")
    option("--device", default="auto", help="auto (default) insists on the GPUs asked for; cpu does without")
    option("--cpus", type=int, default=1, help="CPUs of the job on each node (default 1)")
    option("run_command", nargs=REMAINDER, metavar="-- COMMAND", help="the command to run")


def run_launch(args: Namespace) -> int:
    from hydra_bench.jobs.launch import Job, launch

    command = args.run_command[1:] if args.run_command[:1] == ["--"] else args.run_command
    if not command:
        raise InputError("launch: no command; `hydra-bench launch ... -- COMMAND` is expected")
    return launch(Job(args.state, args.out, args.log, args.gpus, args.nodes, args.device, args.cpus), command)


def add_doctor_options(parser: ArgumentParser) -> None:
    option = parser.add_argument
    option(
        "--configuration",
        nargs="+",
        type=Path,
        default=[Path("config/config.yaml")],
        metavar="FILE",
        help="configuration files, merged in the order given (default config/config.yaml)",
    )
    option("--results", type=Path, default=Results().folder, metavar="DIR", help="where results will go")
    option("--gpus", type=int, default=0, help="GPUs that must be usable on this machine (default 0)")
    option(
        "--jobs",
        metavar="JSON",
        help="what the jobs of a run ask SLURM for, as JSON text or a file: a list of mappings with the keys rule, "
        "partition, runtime (minutes), mem_mb, cpus, gpus, gpu_model, nodes",
    )


def run_doctor(args: Namespace) -> int:
    """Print the findings; 2 if one of them is a failure."""
    from hydra_bench.config import configuration as config
    from hydra_bench.jobs.doctor import FAILED, doctor

    settings = config.validate(config.load(args.configuration), args.configuration)
    failed = False
    for finding in doctor(settings, args.results, args.gpus, read_jobs(args.jobs)):
        print(finding, flush=True)
        failed |= finding.state == FAILED
    if failed:
        print("hydra-bench: error: doctor: what is marked FAILED must be mended first", file=sys.stderr)
    return 2 if failed else 0


def read_jobs(text: str | None) -> list[dict[str, Any]]:
    """The jobs of --jobs. Raises InputError."""
    if text is None:
        return []
    content = text if text.lstrip().startswith("[") else Path(text).read_text() if Path(text).is_file() else ""
    try:
        jobs = json.loads(content)
    except ValueError:
        raise InputError("--jobs: a list of mappings as JSON, or a file of it, is expected") from None
    if not isinstance(jobs, list) or not all(isinstance(job, dict) and "rule" in job for job in jobs):
        raise InputError("--jobs: a list of mappings, each with the key rule, is expected")
    return jobs
