"""Every number that Hydra's behaviour depends on, checked; the presets are in presets.py."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from hydra_bench.core.errors import InputError
from hydra_bench.methods.hydra.setting_types import typed


@dataclass(frozen=True)
class Stage:
    """Fields, and gradient steps: particles and frequencies in each (0 is all), learning rates of fields and poses."""

    features: int
    width: int
    depth: int
    minibatch: int
    frequencies: int
    learning_rate: float
    pose_learning_rate: float


@dataclass(frozen=True)
class Settings:
    """Parameters of a run; defaults are the `fast` preset, chosen by measurement on two CPU cores.

    l is a resolution as a radius in Fourier space, in cycles per box ("Fourier pixels").
    """

    classes: int = 3
    latent_dim: int | tuple[int, ...] = 2  # one for all classes, or one a class; 0 is a rigid class
    # images
    downsample_px: int | None = None  # box that images are Fourier-cropped to, inside; None is the stack's own
    normalise: str = "stack"  # noise to mean 0, deviation 1: of the "stack", of each "image", or "none"
    invert: bool = False  # True for dark particles on a bright ground
    window: float | None = None  # radius of a soft round window on the images, in half boxes; None is no window
    cache_mb: int = 1000  # coefficients of the search are kept in memory if they fit in this
    # fields
    features: int = 96
    width: int = 96
    depth: int = 2
    feature_sigma: float = 0.07  # boxes
    # poses: "search" finds them, "refine" improves given ones by local search, "fixed" takes them as they are
    poses: str = "search"
    # search: one entry an epoch (a pass over the stack) in l_schedule
    pretrain_images: int = 500
    l_schedule: tuple[int, ...] = (5, 6, 6, 7, 7, 8, 8, 9, 9, 10)
    search_images: int | None = None  # images to search in all; l_schedule is stretched over the epochs that takes
    l_to_nyquist: bool = False  # lower resolutions that the box cannot hold, instead of refusing them
    l_coarse: int = 6  # of the base grid
    march_in_search: bool = True  # let l rise from l_coarse over the subdivisions of one search, too
    base_order: int = 2
    keep: tuple[int, ...] = (8, 4, 2)  # candidates refined at each subdivision
    shift_extent: float = 0.047  # boxes
    shift_points: int = 5  # a side of the base grid
    chunk: int = 125  # particles searched, then learned from, at a time
    steps_per_search: int | tuple[int, ...] = (3, 3, 3, 1)  # sweeps of gradient steps over every searched chunk: in
    # each epoch, the last of them in all that follow
    # class scores
    sigma: float | None = None  # the paper's σ, in units of the noise; None lets the softening follow the data:
    sharpness: tuple[float, float] = (2.0, 5.0)  # at the first epoch, and from epoch `sharpen_epochs` on
    sharpen_epochs: int = 6
    full_search_epochs: int = 3  # epochs in which every particle is searched in every class
    out_of_question: float = 1e-3  # posterior below which a class is not searched after them,
    explore: float = 0.1  # but for this share of the particles
    spare_fields: int = 2  # fields beyond the classes while classes form, so that two species need not share one
    spare_epochs: int = 3  # after so many epochs the classes that the likelihood would miss most stay
    prior_epoch: int = 4  # from this epoch on, classes have a prior ∝ (share of particles)^prior_strength
    prior_strength: float = 2.0
    gating: str = "table"  # class scores from a "table", or amortised by an "encoder" of the image
    # conformations
    conformations: str = "table"  # latents from a "table", or amortised by an "encoder" of the image
    latent_steps: str = "newton"  # of latents from a table: one "newton" step a visit, or each step's "gradient"
    variational: bool = True
    latent_prior: float = 1.0
    latent_epoch: int = 6  # latents stay at the origin before this epoch of the search
    search_conformations: int = 5  # of each class, in which poses are searched; 1 is the mean one
    encoder_width: int = 256
    encoder_depth: int = 2
    l_encoder: int = 12  # resolution of the images that the encoder sees
    # refinement of the poses found, by local search: one entry an epoch in refine_schedule, with larger fields
    refine_schedule: tuple[int, ...] = ()
    refine_chunk: int = 1000
    refine_sweeps: int = 1
    grow_epochs: int = 0  # before it, in which new, larger fields learn at the poses found; from then on:
    fine_features: int = 384
    fine_width: int = 192
    fine_depth: int = 1
    fine_minibatch: int = 5
    fine_frequencies_per_step: int = 2048
    fine_learning_rate: float = 2e-3
    fine_pose_learning_rate: float = 3e-4
    # auto-decoding
    decode_epochs: int = 10
    # optimisation
    minibatch: int = 25
    frequencies_per_step: int = 512  # random ones of all at the current resolution; 0 takes them all
    learning_rate: float = 4e-3
    learning_rate_final: float = 3e-4
    latent_learning_rate: float = 1e-2
    score_learning_rate: float = 1e-2
    pose_learning_rate: float = 3e-3
    encoder_learning_rate: float = 1e-3
    negligible: float = 0.02  # class probability below which a class is left out of a particle's step
    # machine
    memory_gb: float | None = None  # for one batch's work; None takes half of a GPU's free memory, 1 GB on a CPU

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name}: {getattr(self, name)!r}; allowed are {', '.join(allowed)}")
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if one is not None and one < lowest:
                    raise InputError(f"{name}: {one}; {lowest} or more is allowed")
        for name in _POSITIVE:
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if one is not None and one <= 0:
                    raise InputError(f"{name}: {one:g}; more than 0 is allowed")
        if isinstance(self.latent_dim, tuple) and len(self.latent_dim) != self.classes:
            raise InputError(f"latent_dim: {len(self.latent_dim)} numbers for {self.classes} classes; one a class")
        if self.poses == "search" and not self.l_schedule and self.search_images:
            raise InputError("l_schedule: empty; search_images needs at least one resolution")
        for name in ("keep", "steps_per_search"):
            if getattr(self, name) == ():
                raise InputError(f"{name}: empty; one number or more is allowed")

    @property
    def newton(self) -> bool:
        """Whether latents are inferred by Newton steps, and not learned by gradient."""
        return self.conformations == "table" and self.latent_steps == "newton"

    @property
    def fields_at_start(self) -> int:
        """The number of fields that the search starts with.

        A single class has no use for spare ones, and classes of different latent dimensions cannot change roles.
        """
        return self.classes + (self.spare_fields if self.classes > 1 and len(set(self.latent_dims())) == 1 else 0)

    def latent_dims(self, n_fields: int | None = None) -> tuple[int, ...]:
        """The latent dimension of every field; spare ones, if counted in, have that of all others."""
        if isinstance(self.latent_dim, tuple):
            return self.latent_dim + self.latent_dim[:1] * ((n_fields or self.classes) - self.classes)
        return (self.latent_dim,) * (n_fields or self.classes)

    def stage(self, grown: bool) -> Stage:
        """Size of fields and of steps: those of the search, or of the larger fields that come after it."""
        s = self
        if grown:
            shape = (s.fine_features, s.fine_width, s.fine_depth)
            steps = (s.fine_minibatch, s.fine_frequencies_per_step)
            return Stage(*shape, *steps, s.fine_learning_rate, s.fine_pose_learning_rate)
        shape = (s.features, s.width, s.depth)
        return Stage(*shape, s.minibatch, s.frequencies_per_step, s.learning_rate, s.pose_learning_rate)

    def sweeps(self, epoch: int) -> int:
        """Sweeps of gradient steps over every searched chunk of a search epoch."""
        steps = self.steps_per_search
        return steps if isinstance(steps, int) else steps[min(epoch, len(steps) - 1)]

    def search_schedule(self, n_particles: int, l_max: int) -> tuple[int, ...]:
        """The resolution of each search epoch. Raises InputError for one beyond l_max, unless l_to_nyquist."""
        schedule = self.l_schedule
        if self.search_images:
            epochs = max(1, -(-self.search_images // n_particles))
            schedule = tuple(schedule[e * len(schedule) // epochs] for e in range(epochs))
        return self._fitted("l_schedule", schedule, l_max)

    def fine_schedule(self, l_max: int) -> tuple[int, ...]:
        """The resolution of each epoch of refinement. Raises InputError likewise."""
        return self._fitted("refine_schedule", self.refine_schedule, l_max)

    def _fitted(self, name: str, schedule: tuple[int, ...], l_max: int) -> tuple[int, ...]:
        if max(schedule, default=0) > l_max and not self.l_to_nyquist:
            raise InputError(f"{name}: {max(schedule)}; this box allows 1 to {l_max}")
        return tuple(min(l, l_max) for l in schedule)

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any]) -> Settings:
        """From a method definition's parameters: a preset's name, and what differs from it. Raises InputError."""
        from hydra_bench.methods.hydra.presets import PRESETS, default_preset

        parameters = dict(parameters)
        preset = parameters.pop("preset", None)
        preset = default_preset(parameters.get("classes")) if preset is None else preset
        if not isinstance(preset, str) or preset not in PRESETS:
            raise InputError(f"preset: {preset!r}; allowed are {', '.join(PRESETS)}")
        known = {f.name: str(f.type) for f in fields(cls)}
        for name, value in parameters.items():
            if name not in known:
                raise InputError(f"parameters.{name}: unknown; allowed are preset, {', '.join(sorted(known))}")
            parameters[name] = typed(name, value, known[name])
        return cls(**{**PRESETS[preset], **parameters})


_CHOICES = {
    "normalise": ("stack", "image", "none"),
    "poses": ("search", "refine", "fixed"),
    "gating": ("table", "encoder"),
    "conformations": ("table", "encoder"),
    "latent_steps": ("newton", "gradient"),
}
_LOWEST = {
    "classes": 1,
    "latent_dim": 0,
    "downsample_px": 8,
    "features": 1,
    "width": 1,
    "depth": 0,
    "l_schedule": 1,
    "refine_schedule": 1,
    "search_images": 1,
    "l_coarse": 1,
    "base_order": 0,
    "keep": 1,
    "shift_extent": 0,
    "shift_points": 1,
    "chunk": 1,
    "steps_per_search": 1,
    "spare_fields": 0,
    "prior_strength": 0,
    "refine_chunk": 1,
    "refine_sweeps": 1,
    "grow_epochs": 0,
    "fine_features": 1,
    "fine_width": 1,
    "fine_depth": 0,
    "fine_minibatch": 1,
    "fine_frequencies_per_step": 0,
    "latent_prior": 0,
    "search_conformations": 1,
    "decode_epochs": 0,
    "minibatch": 1,
    "frequencies_per_step": 0,
    "pretrain_images": 0,
    "cache_mb": 0,
}
_POSITIVE = (
    "feature_sigma",
    "sigma",
    "window",
    "sharpness",
    "learning_rate",
    "learning_rate_final",
    "fine_learning_rate",
    "memory_gb",
)
