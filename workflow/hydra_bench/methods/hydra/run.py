"""Hydra as a method: a stack in, a reconstruction out."""

import sys
from pathlib import Path

import torch
from tqdm import tqdm

from hydra_bench.core.console import say
from hydra_bench.core.errors import RunFailedError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.types import IntArray
from hydra_bench.methods.hydra.diameter import what_followed
from hydra_bench.methods.hydra.fit.checkpoint import Checkpointer
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.train import save, train
from hydra_bench.methods.hydra.fit.training_input import TrainingInput, images_to_see
from hydra_bench.methods.hydra.output.reconstruction import notes, write_reconstruction
from hydra_bench.methods.recording import Outcome


def run_hydra(
    start_from: TrainingInput,
    evaluation: IntArray,
    device: torch.device,
    parallel: Parallel,
    checkpointer: Checkpointer,
    folder: Path,
) -> Outcome:
    """Train and, in the first process, write the reconstruction; a progress bar shows the way on a terminal."""
    settings = start_from.settings
    total = images_to_see(start_from.schedule(), settings, len(start_from.stack))
    by_diameter = what_followed(settings, start_from.box_A)
    if by_diameter is not None and parallel.rank == 0:
        say(by_diameter)
    quiet = None if parallel.rank == 0 else True  # None: quiet unless on a terminal
    with tqdm(total=total, desc=f"Hydra K={settings.classes}", unit="image", disable=quiet) as bar:

        def report(row: JsonObject, _: object) -> None:
            sizes = "/".join(str(value) for name, value in row.items() if name.startswith("size_"))
            state = f"{row['phase']} epoch {row['epoch'] + 1}, l={row['l']}, loss {row['loss']:.4f}, classes {sizes}"
            bar.set_postfix_str(state)
            if parallel.rank == 0 and not sys.stdout.isatty():  # a batch job's log, in place of the bar
                print(f"{state}; {row['images_seen']} of {total} images, {row['wall_s']:.1f} s", flush=True)

        run = train(start_from, device, checkpointer=checkpointer, parallel=parallel, report=report, advance=bar.update)
    if not all(torch.isfinite(p).all() for p in run.model.field_weights().parameters()):
        raise RunFailedError("the fields diverged (not a number); a lower learning_rate may help")
    if checkpointer.path is not None:
        save(run, checkpointer)  # a run that is killed while it writes its maps need not train again
    found = None
    if parallel.rank == 0:
        found = write_reconstruction(run, start_from.pixel_size_A, evaluation, folder)
    said = notes(run, found, settings)
    if by_diameter is not None:
        said["diameter"] = by_diameter
    for remark in said.get("remarks", []):
        say(remark)
    return Outcome(images_seen=run.history.images_seen, notes=said)
