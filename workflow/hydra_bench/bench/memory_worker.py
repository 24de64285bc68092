"""A process that trains on part of a large stack and prints its peak memory as JSON: its own, so a process of its own.

The tables, their optimisers' state and the cache of coefficients are those of all particles from the start, their
zeros included, so that some of the images show the memory that all of them take.
"""

import json
import resource
import sys
from pathlib import Path

import numpy as np
import torch

from hydra_bench.contracts.stack import read_stack
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.threads import set_threads
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.run_state import Progress, Run
from hydra_bench.methods.hydra.fit.train import begin_epoch, end_epoch, epoch_chunks, start, work_on
from hydra_bench.methods.hydra.fit.training_input import TrainingInput
from hydra_bench.methods.hydra.settings import Settings


def peak_GB() -> float:
    """The largest resident memory of this process so far, in 10⁹ bytes.

    Linux counts it in VmHWM since the program began. Its ru_maxrss would do no less, but of the process that
    started this one, too, which may have simulated the stack just now.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    in_bytes = 1 if sys.platform == "darwin" else 1024
    otherwise = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * in_bytes
    peak = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), otherwise)
    return round(peak / 1e9, 3)


def main(task: JsonObject) -> JsonObject:
    """Read the stack, train on `images` images of it in every phase, and say what that took."""
    device = torch.device(task["device"])
    set_threads(task["threads"], device.type)
    frames = read_stack(task["star"])
    stack = frames.take(np.arange(task["particles"]) % len(frames))  # they go round and round the same frames
    before = peak_GB()
    run = start(TrainingInput(stack, Settings.from_parameters(task["parameters"])), device, Parallel())
    phases = {"start": peak_GB()}
    for phase in ("pretrain", "search", "decode"):
        if work_on_part(run, phase, task["images"]):
            phases[phase] = peak_GB()
    gpu = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
    found = {"particles": len(stack), "before_GB": before, "phases_GB": phases, "peak_GB": peak_GB()}
    return {**found, "gpu_GB": round(gpu, 3)}


def work_on_part(run: Run, phase: str, images: int) -> bool:
    """The last epoch of a phase, at its highest resolution, on some of the images; False if there is no such phase."""
    numbers = [number for number, epoch in enumerate(run.schedule) if epoch.phase == phase]
    if not numbers:
        return False
    # The first epoch's beginning, which sets the phase up, and the first search, which has all fields.
    for number in sorted({numbers[0], numbers[-1]}):
        run.progress = Progress(epoch=number)
        epoch = run.schedule[number]
        begin_epoch(run, epoch)
        seen = 0
        for particles in epoch_chunks(run, epoch):
            work_on(run, epoch, particles)
            run.progress.chunk += 1
            seen += len(particles)
            if seen >= images:
                break
        end_epoch(run, epoch, seen, lambda row, tables: None)
    return True


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
