"""Which dataset something is: the same one, wherever it was made.

A simulated dataset is its definition and the version of the simulator; no checksum of its images, whose last digits
depend on the machine. So a stack that was made elsewhere is compared with another by a sample of images, within a
tolerance. A dataset of others' particles is its stack, by the fingerprint of that.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hydra_bench.contracts.places import PARTICLES_NAME
from hydra_bench.contracts.stack import read_stack
from hydra_bench.contracts.truth import PROVENANCE_NAME, read_truth
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic, read_json
from hydra_bench.core.image_files import ImageFiles
from hydra_bench.core.json_values import Json, JsonObject
from hydra_bench.core.mrc import ImageStackWriter
from hydra_bench.core.mrc_header import read_mrc_header
from hydra_bench.core.types import FloatArray

SAMPLE_IMAGES = 16
TOLERANCE = 0.01
"""Largest difference of a pixel between two machines' images of one dataset, in standard deviations of the noise; in
sums of float32 it is some 1e-5, and another noise or pose makes it 1 and more."""


@dataclass(frozen=True)
class DatasetIdentity:
    """A dataset: what it is called there, its hash, what that is made of, and its size."""

    name: str
    digest: str
    made_of: JsonObject
    n_particles: int
    box_px: int
    pixel_size_A: float


def identity_of(dataset: Path, name: str | None = None) -> DatasetIdentity:
    """The identity of a dataset in a folder of results (datasets/<name>), which holds stack/ and truth/.

    Raises InputError if it is not there or not readable.
    """
    stack = read_stack(dataset / "stack" / PARTICLES_NAME)
    path = dataset / "truth" / PROVENANCE_NAME
    provenance: JsonObject = read_json(path)
    if not isinstance(provenance, dict) or not isinstance(provenance.get("definition"), dict):
        raise InputError(f"{path}: a mapping with a definition is expected")
    definition = {key: value for key, value in provenance["definition"].items() if key != "name"}
    if definition.get("species") is not None:
        version = provenance.get("simulator_version", 1)
        # The order of the species is that of the true classes, and a file with sorted keys has lost it.
        species = read_truth(dataset / "truth").class_names
        made_of: JsonObject = {
            "definition": _without_nulls(definition),
            "species": list(species),
            "simulator": version,
        }
    else:
        made_of = {"stack": stack.fingerprint()}
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    return DatasetIdentity(
        name or str(provenance["definition"].get("name") or dataset.name),
        digest,
        made_of,
        len(stack),
        stack.box_px,
        float(stack.pixel_size_A),
    )


def _without_nulls(value: Json) -> Json:
    """The same without keys that are null or empty, so that one which a later version adds makes no other dataset."""
    if isinstance(value, dict):
        pairs = {key: _without_nulls(inner) for key, inner in value.items()}
        return {key: inner for key, inner in pairs.items() if inner is not None and inner != {}}
    return value


def sample_of(dataset: Path) -> FloatArray:
    """Evenly spaced images (n, D, D) of a dataset's stack, at most SAMPLE_IMAGES. Raises InputError."""
    stack = read_stack(dataset / "stack" / PARTICLES_NAME)
    return stack.read_images(np.unique(np.linspace(0, len(stack) - 1, SAMPLE_IMAGES).round().astype(np.int64)))


def write_sample(dataset: Path, path: Path) -> None:
    """Write a dataset's sample as an image stack. Raises InputError."""
    images = sample_of(dataset)
    stack = read_stack(dataset / "stack" / PARTICLES_NAME)
    with (
        atomic(path) as temporary,
        ImageStackWriter(temporary, len(images), stack.box_px, stack.pixel_size_A) as writer,
    ):
        writer.write(np.arange(len(images)), images)


def read_sample(path: Path) -> FloatArray:
    """The images (n, D, D) of a sample that anybody wrote. Raises InputError."""
    n = read_mrc_header(path).n_images
    if not 1 <= n <= SAMPLE_IMAGES:
        raise InputError(f"{path}: {n} images; 1..{SAMPLE_IMAGES} are expected in a sample")
    return ImageFiles.open([path], np.zeros(n, np.int64), np.arange(n), str(path)).read(np.arange(n))


def check_same_images(ours: FloatArray, theirs: FloatArray, where: str) -> None:
    """Compare samples of the stacks of one dataset. Raises InputError if they differ by more than the tolerance."""
    if ours.shape != theirs.shape:
        raise InputError(f"{where}: its sample is {theirs.shape}; this dataset's is {ours.shape}")
    largest = float(np.abs(ours - theirs).max() / ours.std())
    if not largest <= TOLERANCE:
        raise InputError(
            f"{where}: its images are not those of this dataset: they differ by {largest:.3g} standard deviations, "
            f"and {TOLERANCE:g} is allowed between machines"
        )
