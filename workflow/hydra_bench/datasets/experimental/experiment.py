"""An experiment's particles as a dataset: anybody's stack in, the stack of the contract and a reference out.

There is no truth. What another program found, its labels, maps and poses, can stand in the truth's place; it is called
a reference then, in the provenance and on the report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hydra_bench.contracts import truth
from hydra_bench.contracts.places import PARTICLES_NAME
from hydra_bench.contracts.source import Source, source_beside, write_source
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.console import say
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import sha256
from hydra_bench.core.json_values import JsonObject
from hydra_bench.datasets.experimental.kind import reference_files
from hydra_bench.datasets.importing import Delivery, Processing, evaluated
from hydra_bench.datasets.kind import Definition, duration_text, size_text
from hydra_bench.datasets.simulated.density import VolumeSource, load_volume
from hydra_bench.particles.columns import Microscope
from hydra_bench.particles.contrast import contrast_note
from hydra_bench.particles.cryodrgn import read_numbers
from hydra_bench.particles.particle_files import is_listed, read_labels, read_particles, read_poses

_SECONDS_PER_IMAGE_128PX = 1.0e-3
"""What taking one over costs, roughly, with two threads: for an estimate of the time alone."""

UNLABELLED = "unlabelled"

_MICROSCOPE = ("voltage_kV", "spherical_aberration_mm", "amplitude_contrast")


@dataclass(frozen=True)
class Reference:
    """What another program found of N particles.

    classes (N,), 0-based; names and maps, one a class, None for a class without; poses, rotations (N, 3, 3) and
    displacements (N, 2) in Å, if there are any.
    """

    classes: np.ndarray
    names: tuple[str, ...]
    maps: tuple[VolumeSource | None, ...]
    poses: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def says_nothing(self) -> bool:
        return self.names == (UNLABELLED,)


@dataclass(frozen=True)
class Experiment:
    """A checked definition, and its particles as they lie in their file."""

    definition: Definition
    particles: Stack

    @classmethod
    def open(cls, definition: Definition) -> Experiment:
        """Raises InputError if the particles are not usable, or an image is listed twice and must not be."""
        options = ("datadir", "ctf", "pixel_size_A", "passthrough", "repeated")
        microscope = Microscope(*(definition[key] for key in _MICROSCOPE))
        particles = read_particles(
            definition["file"], microscope=microscope, **{key: definition[key] for key in options}
        )
        inverted = definition["contrast"] == "black"
        note = contrast_note(particles, inverted, f"contrast: {'white' if inverted else 'black'}")
        if note is not None:
            particles = replace(particles, notes=(*particles.notes, note))
        for note in particles.notes:
            say(note)
        return cls(definition, particles)

    def check_box(self) -> None:
        """Raises InputError if images would have to grow."""
        box = self.definition["box_px"]
        if box is not None and box > self.particles.box_px:
            raise InputError(f"{box} is not allowed; at most the images' own {self.particles.box_px} px is expected")

    @property
    def processing(self) -> Processing:
        own = self.definition
        others = (own[key] for key in ("normalise", "background_radius", "window_radius"))
        return Processing(own["box_px"] or self.particles.box_px, 1 if own["contrast"] == "white" else -1, *others)

    def chosen(self, seed: int) -> np.ndarray:
        """Indices (n,) of the particles to take, in random order. Raises InputError if the subset is none of them."""
        subset, rows = self.definition["subset"], self.particles.source_rows
        stream = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
        taken = np.arange(len(rows))
        if isinstance(subset, str) and Path(subset).suffix.lower() in (".star", ".cs"):
            taken = np.flatnonzero(is_listed(subset, self.particles, repeated=self.definition["repeated"]))
        elif isinstance(subset, str):
            wanted = read_numbers(Path(subset))
            if not len(wanted) or wanted.min() < 0 or wanted.max() > rows.max():
                raise InputError(f"{subset}: numbers within 0..{rows.max()}, one at least, are expected")
            if len(np.unique(wanted)) < len(wanted):
                raise InputError(f"{subset}: a particle is there twice")
            taken = np.flatnonzero(np.isin(rows, wanted))
        elif subset is not None:
            if subset > len(rows):
                raise InputError(f"{subset} is not allowed; at most the {len(rows)} particles of the file are expected")
            taken = stream.choice(taken, subset, replace=False)
        return stream.permutation(taken)

    def reference(self, chosen: np.ndarray | None = None) -> Reference:
        """What is known of the chosen particles (n,), all if None. Raises InputError if files are not usable."""
        particles = self.particles if chosen is None else self.particles.take(chosen)
        definition, n = self.definition["reference"], len(particles)
        if definition is None:
            return Reference(np.zeros(n, dtype=np.int64), (UNLABELLED,), (None,))
        matching = {"passthrough": definition["passthrough"], "repeated": self.definition["repeated"]}
        labels = np.full(n, -1)
        if definition["labels"] is not None:
            labels = read_labels(definition["labels"], particles, **matching)
        wanted = definition["classes"]
        if wanted is None:
            wanted = {f"class {k}": {"labels": [k], "files": None, "map": None} for k in np.unique(labels[labels >= 0])}
        classes = np.full(n, len(wanted))
        for k, (name, choice) in enumerate(wanted.items()):
            own = np.isin(labels, choice["labels"] or [])
            for file in choice["files"] or []:
                own |= is_listed(file, particles, **matching)
            if (classes[own] < len(wanted)).any():
                raise InputError(f"classes: {name} has particles that another class before it has, too")
            classes[own] = k
        names = list(wanted)
        maps = [None if c["map"] is None else load_volume(".", c["map"]) for c in wanted.values()]
        if (classes == len(wanted)).any():
            names, maps = [*names, UNLABELLED], [*maps, None]
        poses = read_poses(definition["labels"], particles, **matching) if definition["poses"] else None
        return Reference(classes, tuple(names), tuple(maps), poses)


def import_experiment(definition: Definition, stack_folder: Path, truth_folder: Path) -> None:
    """Make the stack and the reference of a dataset definition with `particles`; beside the stack, its source.

    Raises InputError.
    """
    experiment = Experiment.open(definition["particles"])
    experiment.check_box()
    chosen = experiment.chosen(definition["seed"])
    reference = experiment.reference(chosen)
    delivery = Delivery(
        particles=experiment.particles.take(chosen),
        processing=experiment.processing,
        sources=experiment.particles.source_rows[chosen],
        classes=reference.classes,
        class_names=reference.names,
        maps=reference.maps,
        evaluation=evaluated(reference.classes, [m is not None for m in reference.maps], definition),
        poses=reference.poses,
    )
    delivery.write(stack_folder, truth_folder)
    files = [experiment.particles.path, *reference_files(experiment.definition["reference"])]
    facts: JsonObject = {
        "kind": "nothing" if reference.says_nothing else "reference",
        "files_sha256": {str(path): sha256(path) for path in files if path not in experiment.particles.images.paths},
        "particles_in_file": len(experiment.particles),
    }
    if experiment.particles.notes:
        facts["notes"] = list(experiment.particles.notes)
    truth.write_provenance(truth_folder, definition, facts)
    source = Source.of_stack(delivery.particles, became=stack_folder / PARTICLES_NAME)
    write_source(source_beside(stack_folder), source)


def describe_experiment(dataset: Definition) -> Iterator[str]:
    """Lines about a checked dataset. Raises InputError if its files are not usable."""
    experiment = Experiment.open(dataset["particles"])
    particles = experiment.particles
    chosen = experiment.chosen(dataset["seed"])
    reference = experiment.reference(chosen)
    taken = particles.take(chosen)
    box = experiment.processing.box_px
    yield f"{len(chosen):,} of {len(particles):,} particles in {len(particles.images.files):,} image files"
    pixel = particles.pixel_size_A * particles.box_px / box
    yield from (f"note: {note}" for note in particles.notes)
    yield f"images: {particles.box_px} px of {particles.pixel_size_A:g} Å, delivered as {box} px of {pixel:g} Å"
    if taken.defocus is None or taken.optics is None:
        yield "CTF: none"
    else:
        voltages = ", ".join(f"{v:g}" for v in np.unique(taken.optics.voltage_kV))
        low, high = np.percentile((taken.defocus.u_A + taken.defocus.v_A) / 2e4, [1, 99])
        yield f"CTF: {voltages} kV, defocus {low:.2f} to {high:.2f} µm (1st to 99th percentile)"
    if reference.says_nothing:
        yield "reference: none, so there are no classes to compare with"
    else:
        for k, (name, source) in enumerate(zip(reference.names, reference.maps, strict=True)):
            where = "no map" if source is None else source.path
            yield f"{name}: {int((reference.classes == k).sum()):,} particles, {where}"
    yield f"disk: {size_text(4 * box**2 * len(chosen))}"
    yield f"time: about {duration_text(len(chosen) * _SECONDS_PER_IMAGE_128PX * (particles.box_px / 128) ** 2)}"
