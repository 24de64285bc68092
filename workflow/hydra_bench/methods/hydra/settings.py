"""Every number that Hydra's behaviour depends on: its type, default, bounds and one line of help; and the presets.

This is the one place where a setting is described. From it are made workflow/methods/hydra/params.schema.yaml, what
`hydra-bench hydra --settings` prints and the tables of the documents (settings_tables.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import fields
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import yaml
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StrictBool,
    StrictInt,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import Json, JsonObject
from hydra_bench.core.schema import nearest


def _no_truth_value(value: object) -> object:
    """Python takes True for 1.0. Texts are let through: YAML takes 1e-4, without a point, for one."""
    if isinstance(value, bool):
        raise ValueError
    return value


OneOrMore = Annotated[StrictInt, Field(ge=1)]
ZeroOrMore = Annotated[StrictInt, Field(ge=0)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_no_truth_value)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_no_truth_value)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_no_truth_value)]
Numbers = Annotated[tuple[OneOrMore, ...], Field(min_length=1)]
# Bounds that no box, memory or patience of today comes near, so that a zero too many is told at once.
LARGEST_L = 4096
Resolution = Annotated[StrictInt, Field(ge=1, le=LARGEST_L)]
Count = Annotated[StrictInt, Field(ge=0, le=1000)]
Size = Annotated[StrictInt, Field(ge=1, le=65536)]
Passes = Annotated[StrictInt, Field(ge=0, le=1_000_000)]


@plain_dataclass(frozen=True)
class Stage:
    """The settings that larger fields have of their own, under the same names with `fine_` before them."""

    features: int
    width: int
    depth: int
    minibatch: int
    frequencies_per_step: int
    learning_rate: float
    pose_learning_rate: float


@dataclass(frozen=True, config=ConfigDict(use_attribute_docstrings=True))
class Settings:
    """Settings of a run; defaults are the `fast` preset, chosen by measurement on two CPU cores.

    l is a resolution as a radius in Fourier space, in cycles per box ("Fourier pixels"). A pass goes once through the
    stack. The order is that of the definition from which a run's identity is made: a new setting goes anywhere, those
    that are there stay in this order. Raises InputError for a value that is not allowed.
    """

    # What is chosen most
    classes: Annotated[StrictInt, Field(ge=1, le=1000)] = 3
    """K, the number of neural fields. K=1 is one field, as in DRGN-AI, whose classes are k-means on the latents."""
    latent_dim: Count | Annotated[tuple[Count, ...], Field(min_length=1)] = 2
    """Dimension of the conformational latent, one for all classes or a list of one a class; 0 is rigid."""
    map_schedule: tuple[Resolution, ...] = ()
    """Resolution of each pass of expectation maximisation over all poses of the base grid, which comes before the
    search and makes the maps that fields start from; none, and fields start from images at random poses, if empty."""
    l_schedule: Annotated[tuple[Resolution, ...], Field(min_length=1)] = (5, 6, 6, 7, 7, 8, 8, 9, 9, 10)
    """Resolution of each pass of the pose search over the stack, a radius in Fourier space in cycles per box."""
    decode_epochs: Passes = 10
    """Passes over the stack after the pose search, at full resolution."""
    spare_fields: Count = 2
    """Fields beyond the classes while classes form, so that no two species must share one."""
    prior_strength: Number = 2.0
    """Exponent of a class's share of the particles in its prior; above 1, of two fields of a species one ends empty."""
    latent_epoch: ZeroOrMore = 6
    """Pass of the search, from 0, in which latents join; before it they stay at the origin."""

    # Images
    downsample_px: Annotated[StrictInt, Field(ge=8)] | None = None
    """Box in px to which images are Fourier-cropped inside the method, which maps have too; null is the stack's own."""
    diameter_A: Positive | None = None
    """The particle's diameter in Å, the largest one's of several species. Whatever is set in cycles per box, boxes or
    half boxes is then taken as in a box that it fills as particles did where presets were measured; null is as set."""
    normalise: Literal["stack", "image", "none"] = "stack"
    """Where noise is measured and set to mean 0, deviation 1 - of the whole stack, of each image, or none."""
    invert: StrictBool = False
    """True for dark particles on a bright background."""
    window: Positive | None = None
    """Radius in half boxes of a soft round window on the images; null is no window."""
    background: Literal["plane", "none"] = "none"
    """What is fitted to each image outside the particle, and taken from it."""
    particle_radius: Positive = 1.0
    """Radius in half boxes beyond which there is no particle: background and noise are measured there."""
    noise: Literal["shells", "white"] = "white"
    """Whether the noise is measured on every shell, outside the particle, or taken as white."""
    contrast_sd: Number = 0.0
    """Standard deviation, at first, of the prior of each image's contrast, of mean 1; 0 takes all contrasts as 1."""
    contrast_epoch: ZeroOrMore = 2
    """Pass from which that deviation is learned; before it the best poses of poor maps overstate contrasts."""
    cache_mb: ZeroOrMore = 1000
    """Memory in MB in which the coefficients of the search are kept, if all of them fit."""

    # Fields
    features: Size = 96
    """Random Fourier features of a field."""
    width: Size = 96
    """Width of a field's layers."""
    depth: Count = 2
    """Residual layers of a field."""
    feature_sigma: Positive = 0.07
    """Spread of the features in boxes, the size of the region where density is expected."""

    # Search of poses
    poses: Literal["search", "refine", "fixed"] = "search"
    """Whether poses are searched, or given ones (in the stack's file) refined by local search, or held fixed."""
    pretrain_images: ZeroOrMore = 500
    """Images of the pass at random poses that comes first."""
    search_images: OneOrMore | None = None
    """Images to search in all, repeats counted, over which l_schedule is stretched; null is one pass for each entry."""
    l_to_nyquist: StrictBool = False
    """Whether resolutions that the box cannot hold are lowered instead of refused."""
    l_coarse: Resolution = 6
    """Resolution of the base grid of the search."""
    march_in_search: StrictBool = True
    """Whether the resolution rises over the subdivisions of one search, too."""
    base_order: Annotated[StrictInt, Field(ge=0, le=6)] = 2
    """HEALPix order of the base grid; 2 is 4608 rotations, 15 degrees apart."""
    keep: Numbers = (8, 4, 2)
    """Poses kept at each subdivision of the base grid; as many subdivisions as numbers."""
    shift_extent: Number = 0.047
    """Largest shift along x and y on the base grid, in boxes."""
    shift_points: OneOrMore = 5
    """Shifts along each side of the base grid."""
    shift_near: OneOrMore | None = None
    """Steps of that grid, each way from the shift that an image was last seen at in its likeliest class, beyond which
    it is not searched; null searches all of the grid every time."""
    chunk: OneOrMore = 125
    """Particles that are searched, then learned from, at a time."""
    steps_per_search: OneOrMore | Numbers = (3, 3, 3, 1)
    """Sweeps of gradient steps over every searched chunk; a list has one a pass, the last holds from there on."""

    # Classes
    sigma: Positive | None = None
    """The paper's σ in units of the noise, a softening of σ²n for n frequencies; null is the likelihood itself."""
    sharpness: tuple[Positive, Positive] | None = (2.0, 5.0)
    """Factor on the differences between classes, in units of their spread, at first and at last; null leaves them as
    they are, in units of the noise."""
    sharpen_epochs: ZeroOrMore = 6
    """Passes over which the sharpness rises."""
    full_search_epochs: ZeroOrMore = 3
    """Passes in which every particle is searched in every class."""
    full_search_share: Share = 0.0
    """Share of what each class would have if all had as many particles; those of classes with fewer are searched in
    every class after them, too."""
    out_of_question: Number = 1e-3
    """Posterior below which a class is not searched after them."""
    held_out_folds: Annotated[StrictInt, Field(ge=1, le=100)] = 1
    """Parts of the images, each of which is searched, while classes form, in fields that all other parts teach; all of
    a class's fields begin alike, from maps of all images. 1 has one field a class, taught by all."""
    held_out_epochs: ZeroOrMore = 6
    """Passes of the search in which classes have so many fields; these are over when latents join."""
    explore: Share = 0.1
    """Share of the particles that are searched in every class all the same."""
    spare_epochs: ZeroOrMore = 3
    """Passes after which the spare fields go, one before the last of the search at the latest: the classes stay that
    the likelihood would miss most. Where junk is told apart, those of it go at the latest."""
    balance_epochs: ZeroOrMore = 0
    """Passes at first in which classes are held to equal shares of the particles, the second half of them less and
    less; 0 lets them be."""
    prior_epoch: ZeroOrMore = 4
    """Pass from which classes have a prior by their share of the particles."""
    junk: StrictBool = False
    """Whether images that no class explains are told apart, as junk, with a posterior of their own."""
    gating: Literal["table", "encoder"] = "table"
    """Class scores from a table, or amortised by an encoder of the image."""

    # Conformations
    conformations: Literal["table", "encoder"] = "table"
    """Latents from a table, or amortised by an encoder of the image."""
    latent_steps: Literal["newton", "gradient"] = "newton"
    """How latents in a table are found - by a Newton step at each visit of a particle, or by gradient."""
    variational: StrictBool = True
    """Normal distributions as latents, instead of points."""
    latent_prior: Number = 1.0
    """Weight of the latents' prior."""
    search_conformations: OneOrMore = 5
    """Conformations of a class in which poses are searched, each particle in that nearest to its own; 1 is the mean."""
    encoder_width: Size = 256
    """Width of the encoder's layers."""
    encoder_depth: Count = 2
    """Residual layers of the encoder."""
    l_encoder: Resolution = 12
    """Resolution of the images that the encoder sees."""

    # Refinement of the poses found, by local search, with larger fields
    refine_schedule: tuple[Resolution, ...] = ()
    """Resolution of each pass of refinement by local search; none if empty."""
    refine_chunk: OneOrMore = 1000
    """Particles that are refined, then learned from, at a time."""
    refine_sweeps: OneOrMore = 1
    """Sweeps of gradient steps over every refined chunk."""
    grow_epochs: Passes = 0
    """Passes before refinement in which new, larger fields learn at the poses found; 0 keeps the fields."""
    fine_features: Size = 384
    """As features, of the larger fields."""
    fine_width: Size = 192
    """As width, of the larger fields."""
    fine_depth: Count = 1
    """As depth, of the larger fields."""
    fine_minibatch: OneOrMore = 5
    """As minibatch, from the larger fields on."""
    fine_frequencies_per_step: ZeroOrMore = 2048
    """As frequencies_per_step, from the larger fields on."""
    fine_learning_rate: Positive = 2e-3
    """As learning_rate, from the larger fields on."""
    fine_pose_learning_rate: Number = 3e-4
    """As pose_learning_rate, from the larger fields on."""

    # Gradient steps
    minibatch: OneOrMore = 25
    """Particles in a gradient step."""
    frequencies_per_step: ZeroOrMore = 512
    """Random frequencies of each image in a gradient step; 0 takes them all."""
    learning_rate: Positive = 4e-3
    """Adam's rate for the fields, at first."""
    learning_rate_final: Positive = 3e-4
    """Adam's rate for the fields at the end of auto-decoding."""
    latent_learning_rate: Number = 1e-2
    """Adam's rate for the latents."""
    score_learning_rate: Number = 1e-2
    """Adam's rate for the class scores."""
    pose_learning_rate: Number = 3e-3
    """Adam's rate for poses in auto-decoding."""
    encoder_learning_rate: Number = 1e-3
    """Adam's rate for the encoder."""
    negligible: Share = 0.02
    """Class probability below which a class is left out of a particle's gradient step."""

    # The machine
    larger_on_gpu: StrictBool = True
    """Whether a GPU, whose every chunk costs its start, works on larger ones where the stack is large; false holds them
    to what is set."""
    deterministic: StrictBool = False
    """Whether a GPU uses only operations that repeat to the last digit, which costs time; a CPU always does."""
    memory_gb: Positive | None = None
    """Memory in GB for one batch's work; null takes half of a GPU's free memory, 1 GB on a CPU."""

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_in_words(cls, values: object, check: ModelWrapValidatorHandler[Settings]) -> Settings:
        try:
            found = check(values)
        except ValidationError as error:
            raise InputError(_in_words(error, values)) from None
        if isinstance(found.latent_dim, tuple) and len(found.latent_dim) != found.classes:
            raise InputError(f"latent_dim: {len(found.latent_dim)} numbers for {found.classes} classes; one a class")
        if found.held_out_folds > 1 and "encoder" in (found.gating, found.conformations):
            raise InputError(f"held_out_folds: {found.held_out_folds}; 1 is expected beside an encoder")
        if found.full_search_share and found.sharpness is not None:
            raise InputError(
                f"full_search_share: {found.full_search_share:g}; 0 is expected beside a sharpness, which is measured "
                "on images that are searched in every class at random"
            )
        return found

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Json]) -> Settings:
        """From a method definition's parameters: a preset's name, and what differs from it. Raises InputError."""
        chosen = dict(parameters)
        preset = chosen.pop("preset", None)
        if preset is None:
            preset = default_preset(chosen.get("classes"))
        if not isinstance(preset, str) or preset not in PRESETS:
            raise InputError(f"preset: {preset!r}; allowed are {', '.join(PRESETS)}")
        known = [field.name for field in fields(cls)]
        for name in chosen:
            if name not in known:
                meant = nearest(str(name), ["preset", *known])
                raise InputError(f"parameters.{name}: unknown setting{meant}; `hydra-bench hydra --settings` lists all")
        return cls(**{**PRESETS[preset], **chosen})

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
        names = [field.name for field in fields(Stage)]
        return Stage(**{name: getattr(self, f"fine_{name}" if grown else name) for name in names})


@cache
def described() -> dict[str, JsonObject]:
    """Setting -> what pydantic says of it as a JSON schema: type, bounds, default, description."""
    properties: dict[str, JsonObject] = TypeAdapter(Settings).json_schema()["properties"]
    return properties


_KINDS = {"integer": "a whole number", "number": "a number", "null": "null", "boolean": "true or false"}


def _in_words(error: ValidationError, values: object) -> str:
    """What is wrong with the first setting that is, on one line: its name, what is there, what is allowed."""
    problems = error.errors()
    name = str(problems[0]["loc"][0])
    # Of a setting of two kinds each tells why it is not that one; the one of the right kind tells of a bound.
    for problem in (problem for problem in problems if problem["loc"][0] == name):
        bounds, value = problem.get("ctx", {}), problem["input"]
        match problem["type"]:
            case "greater_than_equal":
                return f"{name}: {value}; {bounds['ge']:g} or more is allowed"
            case "greater_than":
                return f"{name}: {value:g}; more than {bounds['gt']:g} is allowed"
            case "less_than_equal":
                return f"{name}: {value}; {bounds['le']:g} or less is allowed"
            case "too_short":
                return f"{name}: empty; one number or more is allowed"
            case "literal_error":
                return f"{name}: {str(value)!r}; allowed are {', '.join(described()[name]['enum'])}"
    value = values.kwargs[name] if isinstance(values, ArgsKwargs) and values.kwargs else problems[0]["input"]
    kinds = described()[name].get("anyOf", [described()[name]])
    return f"{name}: {value!r}; {', or '.join(map(_kind_in_words, kinds))} is expected"


def _kind_in_words(kind: Mapping[str, Json]) -> str:
    if kind["type"] == "array":
        return "two numbers in brackets" if "prefixItems" in kind else "whole numbers in brackets"
    return _KINDS[kind["type"]]


def default_preset(classes: object) -> str:
    """The preset of a run that names none, by its number of classes, if that is one."""
    return "many" if isinstance(classes, int) and classes > 5 else "fast"


PRESETS: dict[str, JsonObject] = yaml.safe_load(
    (files("hydra_bench.methods.hydra") / "presets.yaml").read_text("utf-8")
)
"""Named sets of settings, in presets.yaml. A run that names none takes `fast`, or `many` for more than five classes."""
