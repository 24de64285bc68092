"""`hydra-bench start`: what the workflow does before its first job, where no hook of Snakemake's can do it."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.contracts.places import Results
from hydra_bench.core.yaml_files import read_definition

HELP = "before a workflow's first job: fetch entries, check files and machine, record the configuration"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--configuration", required=True, metavar="JSON", help="the merged configuration: JSON text, or a file"
    )
    parser.add_argument("--results", type=Path, default=Results().folder, metavar="DIR", help="where results will go")


def run(args: Namespace) -> int:
    """2 if the doctor finds what must be mended first."""
    from hydra_bench.config import configuration
    from hydra_bench.jobs.doctor import FAILED
    from hydra_bench.jobs.start import start

    settings = configuration.validate(read_definition(args.configuration, "--configuration"))
    findings = start(settings, (), Results(args.results), in_a_job=True)
    for finding in findings:
        print(f"hydra-bench doctor: {finding}", file=sys.stderr)
    return 2 if any(finding.state == FAILED for finding in findings) else 0
