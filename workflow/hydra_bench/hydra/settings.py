"""Every number that Hydra's behaviour depends on, and the presets."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from hydra_bench.errors import InputError


@dataclass(frozen=True)
class Settings:
    """Parameters of a run; defaults are the `fast` preset, chosen by measurement on two CPU cores.

    l is a resolution as a radius in Fourier space, in cycles per box ("Fourier pixels").
    """

    classes: int = 3
    latent_dim: int = 2
    # fields
    features: int = 96
    width: int = 96
    depth: int = 2
    feature_sigma: float = 0.07  # boxes
    # search: one entry an epoch (a pass over the stack) in l_schedule
    pretrain_images: int = 500
    l_schedule: tuple[int, ...] = (5, 6, 6, 7, 7, 8, 8, 9, 9, 10)
    l_coarse: int = 7
    base_order: int = 2
    keep: tuple[int, ...] = (4, 2, 2)  # candidates refined at each subdivision
    shift_extent: float = 0.047  # boxes
    shift_points: int = 5  # a side of the base grid
    chunk: int = 125  # particles searched, then learned from, at a time
    steps_per_search: int = 3  # sweeps of gradient steps over every searched chunk
    sharpness: tuple[float, float] = (2.0, 5.0)  # at the first epoch, and from epoch `sharpen_epochs` on
    sharpen_epochs: int = 6
    full_search_epochs: int = 3  # epochs in which every particle is searched in every class
    out_of_question: float = 1e-3  # posterior below which a class is not searched after them,
    explore: float = 0.1  # but for this share of the particles
    spare_fields: int = 2  # fields beyond the classes while classes form, so that two species need not share one
    spare_epochs: int = 3  # after so many epochs the classes with the most particles stay
    prior_epoch: int = 4  # from this epoch on, classes have a prior ∝ (share of particles)^prior_strength
    prior_strength: float = 2.0
    # auto-decoding
    decode_epochs: int = 10
    # optimisation
    minibatch: int = 25
    frequencies_per_step: int = 512
    learning_rate: float = 4e-3
    learning_rate_final: float = 3e-4
    latent_learning_rate: float = 1e-2
    score_learning_rate: float = 1e-2
    pose_learning_rate: float = 3e-3
    latent_prior: float = 1.0
    latent_epoch: int = 6  # latents stay at the origin before this epoch of the search
    negligible: float = 0.02  # class probability below which a class is left out of a particle's step

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise InputError(f"classes: {self.classes}; 1 or more is allowed")
        if self.latent_dim < 0:
            raise InputError(f"latent_dim: {self.latent_dim}; 0 or more is allowed")

    @property
    def fields_at_start(self) -> int:
        """The number of fields that the search starts with; a single class has no use for spare ones."""
        return self.classes + (self.spare_fields if self.classes > 1 else 0)

    @classmethod
    def from_parameters(cls, parameters: dict[str, Any]) -> Settings:
        """From a method definition's parameters: a preset's name, and what differs from it."""
        parameters = dict(parameters)
        preset = parameters.pop("preset", "fast")
        if preset not in PRESETS:
            raise InputError(f"preset: {preset!r}; allowed are {', '.join(PRESETS)}")
        known = {f.name for f in fields(cls)}
        for name, value in parameters.items():
            if name not in known:
                raise InputError(f"parameters.{name}: unknown; allowed are preset, {', '.join(sorted(known))}")
            if isinstance(value, list):
                parameters[name] = tuple(value)
        return replace(PRESETS[preset], **parameters)


PRESETS = {"fast": Settings()}
