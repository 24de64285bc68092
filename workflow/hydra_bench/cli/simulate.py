"""`hydra-bench simulate`: the step that makes a dataset."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.cli.options import add_paths, add_threads
from hydra_bench.config.by_hand import dataset_definition
from hydra_bench.core.checksums import trust, write_checksums
from hydra_bench.core.files import sync_all, writing
from hydra_bench.core.threads import set_threads
from hydra_bench.datasets.kinds import kind_of

HELP = "make a dataset's particle stack and truth, from PDB entries or others' particles"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--definition", required=True, help="dataset definition: JSON text, or a file")
    parser.add_argument("--structures", type=Path, nargs="+", required=True, help="folders of PDB entries")
    add_paths(parser, stack="folder for the stack", truth="folder for the truth")
    add_threads(parser)


def run(args: Namespace) -> None:
    definition = dataset_definition(args.definition, args.structures)
    # A few very large blocks, which would stay beside each other if they were kept.
    set_threads(args.threads, keep_memory=False)
    kind_of(definition).make(definition, args.structures, args.stack, args.truth)
    # Later jobs trust both: they hold them to these.
    for folder in (args.stack, args.truth):
        write_checksums(folder)
    trust(args.stack)
    record_source(args.stack)
    with writing(args.truth):
        sync_all(args.truth)
        sync_all(args.stack)


def record_source(stack_folder: Path) -> None:
    """Where a stack's images came from: where its kind of dataset has not told, they are of no file but the stack."""
    from hydra_bench.contracts.places import PARTICLES_NAME
    from hydra_bench.contracts.source import Source, is_source_of, source_beside, write_source
    from hydra_bench.contracts.stack import read_stack

    folder, particles = source_beside(stack_folder), stack_folder / PARTICLES_NAME
    if not is_source_of(folder, particles):
        write_source(folder, Source.of_stack(read_stack(particles), became=particles))
