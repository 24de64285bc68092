"""`hydra-bench doctor`: whether a machine can run a configuration."""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.contracts.places import Results
from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import JsonObject

HELP = "check that this machine can run a configuration, and say what to do"


def add_options(parser: ArgumentParser) -> None:
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


def run(args: Namespace) -> int:
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


def read_jobs(text: str | None) -> list[JsonObject]:
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
