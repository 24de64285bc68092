"""`hydra-bench bench`: one case after the other, every measurement written down at once."""

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.cli.options import add_threads, numbers
from hydra_bench.contracts.places import Results
from hydra_bench.core.clone import in_clone
from hydra_bench.core.errors import InputError
from hydra_bench.core.threads import set_threads

HELP = "measure how fast hydra is"


def add_options(parser: ArgumentParser) -> None:
    option = parser.add_argument
    work, out = Path("build/bench"), Results().bench
    option("--work", type=Path, default=work, metavar="DIR", help=f"folder for data, simulated once (default {work})")
    option("--out", type=Path, default=out, metavar="DIR", help=f"folder for bench.json and bench.md (default {out})")
    option("--cases", default="", metavar="A,B", help="cases or groups to run (default all that are in no group)")
    option("--repeats", type=int, default=3, help="measurements where no seed varies (default 3)")
    option("--seeds", metavar="0,1", help="seeds of cases that train (default each case's own)")
    add_threads(parser)
    option("--device", default="auto", help="auto (default), cpu, cuda, or cuda:<number>")
    option("--structures", type=Path, default=in_clone("resources/structures"), help="folder of PDB entries")
    option("--definitions", type=Path, metavar="FILE", help="cases (default the clone's config/bench.yaml)")
    option("--quick", action="store_true", help="tiny cases, to try that all of them work")


def run(args: Namespace) -> int:
    """Returns 1 if a case failed, 0 otherwise, bars met or not."""
    from hydra_bench.bench.cases import run_case
    from hydra_bench.bench.data import Bench
    from hydra_bench.bench.definitions import CASES_PATH, load_cases
    from hydra_bench.bench.results import Results, busy_warning, describe_machine
    from hydra_bench.methods.hydra.fit.parallel import choose_device

    names = [name.strip() for name in args.cases.split(",") if name.strip()]
    cases = load_cases(args.definitions or CASES_PATH, names, _seeds(args.seeds), args.quick)
    for name in ("repeats", "threads"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name}: {getattr(args, name)}; 1 or more is allowed")
    device = choose_device(args.device)
    machine = describe_machine(device, args.threads)
    results = Results.open(args.out, machine, args.quick)
    warning = busy_warning(os.getloadavg()[0], machine.cores, args.threads)
    if warning:
        print(f"hydra-bench: warning: {warning}", file=sys.stderr)
    set_threads(args.threads, device.type)
    bench = Bench(args.work, args.structures, device, args.threads, 1 if args.quick else args.repeats)
    failed = [case for case in cases if not run_case(bench, case, results, warning)]
    print(results.page(), end="")
    return int(bool(failed))


def _seeds(text: str | None) -> list[int] | None:
    seeds = None if text is None else numbers(text, int, "--seeds")
    if seeds is not None and min(seeds) < 0:
        raise InputError(f"--seeds: {text!r}; numbers from 0 with commas between them are expected")
    return seeds
