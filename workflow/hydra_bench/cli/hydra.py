"""`hydra-bench hydra`: Hydra on anybody's particles, or as a method of the benchmark by a definition."""

import sys
from argparse import SUPPRESS, Action, ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from hydra_bench.cli.options import add_seed, numbers
from hydra_bench.config.by_hand import method_definition as given_definition
from hydra_bench.config.method_definitions import GIVEN_BY
from hydra_bench.contracts.places import RUN_NAME, SOURCE_FOLDER
from hydra_bench.core.console import say
from hydra_bench.core.errors import InputError, RunFailedError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.threads import repeatable_products, set_threads
from hydra_bench.core.yaml_files import parse_yaml

if TYPE_CHECKING:
    from hydra_bench.core.types import IntArray
    from hydra_bench.methods.hydra.fit.checkpoint import Checkpointer
    from hydra_bench.methods.hydra.fit.parallel import Parallel
    from hydra_bench.methods.hydra.fit.training_input import TrainingInput
    from hydra_bench.methods.recording import Outcome, Request

HELP = "reconstruct particles by a mixture of neural fields"


class ListSettings(Action):
    """Prints the settings, which are imported only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest=SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: ArgumentParser, *_: object) -> NoReturn:
        from hydra_bench.methods.hydra.settings_tables import listing

        print(listing())
        parser.exit()


def add_options(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("particles").add_argument
    add("--particles", type=Path, required=True, metavar="FILE", help="RELION .star, cryoSPARC .cs, or .mrcs")
    add("--datadir", type=Path, metavar="DIR", help="where the image files that it names lie")
    add("--passthrough", type=Path, metavar="CS", help="the .cs file that holds what the other lacks")
    add("--no-ctf", action="store_true", help="images have no CTF, or were corrected for it")
    add("--pixel-size", type=float, metavar="Å", help="pixel size, if the file's own is to be replaced")
    add("--voltage", type=float, metavar="kV", help="voltage, if the file has none, or another")
    add("--cs", type=float, metavar="mm", help="spherical aberration, likewise")
    add("--amplitude-contrast", type=float, metavar="W", help="amplitude contrast, likewise")
    add(
        "--repeated",
        choices=("refuse", "first", "keep"),
        default="refuse",
        help="images that a file lists twice: refused (default), the first row taken, or every row kept",
    )
    add("--poses-from", type=Path, metavar="FILE", help="STAR or .cs file with poses to refine (default) or hold fixed")
    add("--init-from", type=Path, metavar="FILE", help="STAR or .cs file with poses and classes to begin from")

    method = parser.add_argument_group("method")
    add = method.add_argument
    add("--classes", type=int, metavar="K", help="number of neural fields")
    add("--latent-dim", metavar="D", help="dimension of the conformations, 0 for rigid; 2,2,0 is one a class")
    add("--preset", metavar="NAME", help="named set of settings: see --settings")
    add("--downsample", type=int, metavar="PX", help="box to Fourier-crop images to, inside")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other setting, the value as YAML; repeat for more",
    )
    add("--settings", action=ListSettings, help="list all settings, their defaults and bounds, and exit")
    add("--definition", help="instead of these: a method definition, JSON text or a file")
    add_seed(method)

    add = parser.add_argument_group("run").add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the reconstruction")
    add("--device", default="auto", help="auto (default), cpu, cuda, or cuda:<number>")
    add("--threads", type=int, default=2, help="CPU threads (default 2)")
    add("--resume", action="store_true", help="go on from the checkpoint, if there is one")
    add("--checkpoint", type=Path, metavar="FILE", help="where it is kept (default <out>.checkpoint)")
    add("--checkpoint-minutes", type=float, default=3.0, metavar="MIN", help="time between checkpoints (default 3)")
    add("--keep-checkpoint", action="store_true", help="leave it there when the run has ended well")
    add("--evaluation-list", type=Path, metavar="FILE", help="particles (from 0) to write own maps of")


def run(args: Namespace) -> int:
    definition = method_definition(args)
    if definition["parameters"].get("deterministic"):
        repeatable_products()

    import numpy as np

    from hydra_bench.contracts.source import source_of_particles, write_source
    from hydra_bench.contracts.stack import read_evaluation_list
    from hydra_bench.methods.hydra.fit.checkpoint import Stopped
    from hydra_bench.methods.hydra.fit.parallel import Parallel, choose_device
    from hydra_bench.methods.hydra.run import run_hydra
    from hydra_bench.methods.recording import Request

    if not args.checkpoint_minutes >= 0:
        raise InputError(f"--checkpoint-minutes: {args.checkpoint_minutes:g}; 0 or more is allowed")
    device = choose_device(args.device)
    check_replaced(args.out)
    request = Request(definition, args.seed, str(device), bool(definition.get("reads_truth", False)))
    known = args.poses_from or args.init_from
    if args.definition and known and waits_in_vain(known, args.out, request):
        return 0
    given = {key: definition[key] for key in GIVEN_BY if definition.get(key) is not None}
    if args.init_from:  # by hand, too: without it a run that knew the classes would look like any other
        given.setdefault("init_from", str(args.init_from))
    start_from = read_input(args, definition["parameters"])
    if not args.definition:
        start_from.check()
        start_from = noted_contrast(start_from)
    evaluation: IntArray = np.zeros(0, dtype=np.int64)
    if args.evaluation_list:
        evaluation = read_evaluation_list(args.evaluation_list, len(start_from.stack))
    set_threads(args.threads, device.type, deterministic=start_from.settings.deterministic)
    parallel = Parallel.from_environment(device)
    computed_with = {"device": device.type, "processes": parallel.size, "threads": args.threads} | versions()
    checkpointer = open_checkpoint(args, start_from, computed_with)
    if (args.out / RUN_NAME).is_file() and not args.resume:  # a resumed run has said so at its start
        say(f"{args.out} holds a run already, which stays until this one has ended and is then replaced by it")

    def work(folder: Path) -> "Outcome":
        try:
            start_from.check()
        except InputError as error:
            # In a benchmark every method meets every dataset: one that cannot take a stack has failed on it.
            raise RunFailedError(str(error)) from None
        outcome = run_hydra(start_from, evaluation, device, parallel, checkpointer, folder)
        if parallel.rank == 0:
            write_source(folder / SOURCE_FOLDER, source_of_particles(start_from.stack))
        notes = outcome.notes | given
        if start_from.stack.notes:
            notes["particles"] = list(start_from.stack.notes)
        if checkpointer.departures:  # its last digits are not those of an unbroken run
            notes["resumed_with"] = checkpointer.departures
        return replace(outcome, notes=notes)

    try:
        return recorded(args, request, parallel, checkpointer, work)
    except Stopped:
        print(f"hydra-bench: stopped; {checkpointer.path} is the state, --resume goes on from it", file=sys.stderr)
        return 128 + checkpointer.stopped_by
    finally:
        parallel.leave()


def noted_contrast(start_from: "TrainingInput") -> "TrainingInput":
    """With a note, which is said, if the particles' contrast seems to be the other one. Raises InputError."""
    from hydra_bench.particles.contrast import contrast_note

    inverted = start_from.settings.invert
    note = contrast_note(start_from.stack, inverted, f"--set invert={str(not inverted).lower()}")
    if note is None:
        return start_from
    say(note)
    return replace(start_from, stack=replace(start_from.stack, notes=(*start_from.stack.notes, note)))


def waits_in_vain(poses: Path, out: Path, request: "Request") -> bool:
    """Whether the run whose poses are given has none to give; this one then is recorded as that one ended."""
    from hydra_bench.contracts.reconstruction import check_pose_source
    from hydra_bench.methods.recording import record_run

    try:
        check_pose_source(poses)
    except RunFailedError as error:
        why = error

        def work(_: Path) -> NoReturn:
            raise why

        record_run(out, request, work)
        return True
    return False


def recorded(
    args: Namespace,
    request: "Request",
    parallel: "Parallel",
    checkpointer: "Checkpointer",
    work: "Callable[[Path], Outcome]",
) -> int:
    """Run; the first process records what came of it. A finished run's checkpoint goes unless it is kept."""
    from hydra_bench.methods.recording import record_run

    if parallel.rank > 0:
        try:
            work(args.out)
        except RunFailedError as error:
            print(f"hydra-bench: error: {error}", file=sys.stderr)
            return 1
        return 0
    made = record_run(args.out, request, work)
    if made.state == "ok":
        if not args.keep_checkpoint:
            checkpointer.remove()
        return 0
    print(f"hydra-bench: error: {made.reason}", file=sys.stderr)
    # In a benchmark a failed method is a result, a failed row of the table; among processes others must end too.
    return 0 if args.definition and parallel.size == 1 else 1


def method_definition(args: Namespace) -> JsonObject:
    """The definition given, or one made of the single arguments. Raises InputError."""
    single = {"classes": args.classes, "preset": args.preset, "downsample_px": args.downsample}
    parameters = {name: value for name, value in single.items() if value is not None}
    if args.latent_dim is not None:
        dimensions = numbers(args.latent_dim, int, "--latent-dim")
        parameters["latent_dim"] = dimensions if len(dimensions) > 1 else dimensions[0]
    if args.poses_from and args.init_from:
        raise InputError("--init-from: is not allowed beside --poses-from, whose poses are not searched for")
    if args.poses_from:
        parameters["poses"] = "refine"
    for text in args.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set: {text!r}; KEY=VALUE is expected")
        try:
            parameters[name.strip()] = parse_yaml(value)
        except ValueError as error:
            raise InputError(f"--set: {text!r}; the value is not readable YAML ({error})") from None
    if not args.definition:
        return {"name": "hydra", "program": "hydra", "parameters": parameters}
    if set(parameters) - {"poses"}:
        raise InputError(f"--definition: holds all parameters; {', '.join(parameters)} cannot be given beside it")
    definition = given_definition(args.definition, "hydra")
    if args.poses_from:
        definition["parameters"].setdefault("poses", "refine")
    return definition


def read_input(args: Namespace, parameters: JsonObject) -> "TrainingInput":
    """The settings, the particles, and what is given of them: poses, or poses and classes. Raises InputError."""
    from hydra_bench.contracts.reconstruction import GivenPoses
    from hydra_bench.contracts.stack import check_stack_files
    from hydra_bench.core.checksums import check_file
    from hydra_bench.methods.hydra.fit.training_input import Beginning, TrainingInput
    from hydra_bench.methods.hydra.settings import Settings
    from hydra_bench.particles.columns import Microscope
    from hydra_bench.particles.particle_files import read_particles, read_poses, read_poses_and_classes

    settings = Settings.from_parameters(parameters)
    check_stack_files(args.particles)
    for path in (args.poses_from, args.init_from):
        if path is not None:
            check_file(path)
    ctf: Literal["file", "none"] = "none" if args.no_ctf else "file"
    stack = read_particles(
        args.particles,
        args.datadir,
        ctf=ctf,
        pixel_size_A=args.pixel_size,
        microscope=Microscope(args.voltage, args.cs, args.amplitude_contrast),
        passthrough=args.passthrough,
        repeated=args.repeated,
    )
    for note in stack.notes:
        say(note)
    given, beginning = None, None
    if args.init_from:
        found = read_poses_and_classes(args.init_from, stack, repeated=args.repeated)
        beginning = Beginning(*found, str(args.init_from))
    elif settings.poses != "search" or args.poses_from:
        # The passthrough file belongs to the particles; other poses may bring their own, which is found beside them.
        passthrough = None if args.poses_from else args.passthrough
        source = args.poses_from or args.particles
        given = GivenPoses(*read_poses(source, stack, passthrough=passthrough, repeated=args.repeated))
    return TrainingInput(stack, settings, args.seed, given, beginning)


def check_replaced(out: Path) -> None:
    """The folder is replaced when the run ends. Raises InputError if that would take what is no reconstruction."""
    from hydra_bench.contracts.analysis import ANALYSIS_FOLDER
    from hydra_bench.contracts.reconstruction import HISTORY_NAME
    from hydra_bench.core.checksums import added_since
    from hydra_bench.methods.recording import check_out

    if out.is_dir() and any(out.iterdir()) and not (out / RUN_NAME).is_file():
        raise InputError(f"--out: {out} holds files, but no {RUN_NAME}; a new or empty folder, or a run's, is allowed")
    check_out(out)
    if added := added_since(out, without=(RUN_NAME, HISTORY_NAME, ANALYSIS_FOLDER)):
        more = f" and {len(added) - 1} more files" if len(added) > 1 else ""
        raise InputError(
            f"--out: {out} is a run's and would be replaced as a whole, with {added[0]}{more} put there since; move "
            "what you need, or name another folder"
        )


def versions() -> dict[str, str]:
    """Of the library that computes."""
    import torch

    return {"torch": str(torch.__version__)}


def open_checkpoint(args: Namespace, start_from: "TrainingInput", computed_with: JsonObject) -> "Checkpointer":
    """Raises InputError if a checkpoint is there and it was not asked to go on from it."""
    from hydra_bench.methods.hydra.fit.checkpoint import Checkpointer

    path: Path = args.checkpoint or args.out.with_name(args.out.name + ".checkpoint")
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not there.is_dir():
        found = f"{there} is a file" if not there.is_dir() else "is a folder"
        raise InputError(f"--checkpoint: {path}: {found}; the name of a file is expected")
    checkpointer = Checkpointer(path, start_from.identity(), computed_with, 60 * args.checkpoint_minutes)
    if checkpointer.exists() and not args.resume:
        raise InputError(f"{path}: the checkpoint of an unfinished run; go on with --resume, or delete it")
    checkpointer.listen()
    return checkpointer
