"""Whether a GPU can be used, and if not, why, in words that name what to change."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

_DRIVER = Path("/proc/driver/nvidia/version")
_DRIVER_OF_CUDA = {11: 450.80, 12: 525.60, 13: 580.65}
"""Oldest Linux driver for each major version of CUDA (NVIDIA, CUDA Toolkit release notes, minor-version table)."""


@dataclass(frozen=True)
class Facts:
    """What is known of torch and the driver.

    cuda_build : CUDA version that torch was built for, "" for a CPU build. driver : of the kernel, "" for none.
    capability, architectures : the first GPU's, such as "sm_90", and those that torch has kernels for.
    """

    torch: str
    cuda_build: str
    usable: bool
    count: int
    driver: str
    visible: str | None
    problem: str = ""
    name: str = ""
    capability: str = ""
    architectures: tuple[str, ...] = ()


def why_unusable(facts: Facts, wanted: int = 1) -> str | None:
    """Why `wanted` GPUs cannot be used, and what to do; None if they can."""
    if not facts.torch:
        return f"torch cannot be imported: {facts.problem}"
    have = f"torch {facts.torch}, built for {'CUDA ' + facts.cuda_build if facts.cuda_build else 'CPU only'}"
    have += f"; driver {facts.driver or 'none'}"
    if not facts.driver:
        return f"no NVIDIA driver is loaded on this machine ({have}); use a machine or partition that has GPUs"
    if not facts.cuda_build:
        return f"torch is a build for CPUs ({have}); install a CUDA build of the same version"
    major = int(facts.cuda_build.split(".")[0])
    driver = _number(facts.driver)
    oldest = _DRIVER_OF_CUDA.get(major)
    if oldest is not None and driver is not None and driver < oldest:
        return (
            f"the driver is too old for this torch ({have}); CUDA {major} needs driver {oldest:.2f} or newer: update "
            f"the driver, or install a build of torch for an older CUDA"
        )
    if facts.visible is not None and not facts.visible.strip():
        return f"CUDA_VISIBLE_DEVICES is empty, so that no GPU is visible ({have}); ask the scheduler for one"
    if not facts.usable:
        said = f": {facts.problem}" if facts.problem else ""
        return f"CUDA cannot be used{said} ({have}, CUDA_VISIBLE_DEVICES={facts.visible})"
    if facts.count < wanted:
        return f"{wanted} GPUs were asked for and {facts.count} are visible (CUDA_VISIBLE_DEVICES={facts.visible})"
    if facts.capability and facts.architectures and not _has_kernels(facts.capability, facts.architectures):
        return (
            f"{facts.name} is {facts.capability}, for which this torch has no kernels "
            f"({', '.join(facts.architectures)}); install a build of torch that has"
        )
    return None


def _number(driver: str) -> float | None:
    found = re.match(r"\d+\.\d+", driver)
    return float(found[0]) if found else None


def _has_kernels(capability: str, architectures: tuple[str, ...]) -> bool:
    """Kernels of one major version run on its later minor ones; PTX (compute_…) runs on whatever is newer."""
    number = int(capability.removeprefix("sm_"))
    for architecture in architectures:
        found = re.match(r"(sm|compute)_(\d+)", architecture)
        if found is None:
            continue
        have = int(found[2])
        if have <= number and (found[1] == "compute" or have // 10 == number // 10):
            return True
    return False


def driver_version() -> str:
    """The loaded kernel driver's version, "" if there is none."""
    found = re.search(r"\d+\.\d+(\.\d+)?", _DRIVER.read_text()) if _DRIVER.is_file() else None
    return found[0] if found else ""


def gather() -> Facts:
    """Look, in a process of its own: asking CUDA takes memory on the GPU until the process ends."""
    said = subprocess.run([sys.executable, "-m", "hydra_bench.jobs.cuda"], capture_output=True, text=True, check=False)
    try:
        content = json.loads(said.stdout)
    except ValueError:
        lines = said.stderr.strip().splitlines() or ["no output"]
        return Facts("", "", False, 0, driver_version(), os.environ.get("CUDA_VISIBLE_DEVICES"), lines[-1])
    return Facts(**{**content, "architectures": tuple(content["architectures"])})


def _look() -> Facts:
    import warnings

    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable, problem = torch.cuda.is_available(), ""
        if usable:
            try:
                torch.zeros(1, device="cuda")
            except RuntimeError as error:
                usable, problem = False, " ".join(str(error).split())[:200]
    problem = problem or " ".join(" ".join(str(w.message) for w in caught).split())[:200]
    name, capability, visible = "", "", os.environ.get("CUDA_VISIBLE_DEVICES")
    if usable:
        name = torch.cuda.get_device_name(0)
        capability = "sm_{}{}".format(*torch.cuda.get_device_capability(0))
    build = torch.version.cuda or ""
    count = torch.cuda.device_count()
    kernels = tuple(torch.cuda.get_arch_list())
    found = (torch.__version__, build, usable, count, driver_version(), visible, problem)
    return Facts(*found, name=name, capability=capability, architectures=kernels)


if __name__ == "__main__":
    print(json.dumps(asdict(_look())))
