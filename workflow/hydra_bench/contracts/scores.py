"""What an evaluation measures, key by key: the parts of a metrics file that hold scores.

A number by which runs are judged carries a `Measure` (measures.py): tables, page and comparison show what is registered
so, and nothing else. docs/reference/metrics.md has every key as a table.

Labels that name a map (labels of a list of their own) count from 1, as the maps' file names do; the labels and classes
of particles, and classes as values, count from 0. Every sd is over particles and divides by N.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict

from hydra_bench.contracts.measures import Measure


class Part(BaseModel):
    """A part of the file: nothing may be missing, unknown or of another type."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Interval(Part):
    """A 95 % interval of a score of one run, its particles drawn again with replacement; nothing of another seed."""

    low: float
    """Its lower end, the 2.5th percentile."""
    high: float
    """Its upper end, the 97.5th percentile."""
    draws: int
    """How often particles were drawn."""
    seed: int
    """Of the draws."""


class Group(Part):
    """Labels of a method that count as one."""

    name: str
    """What the joined label is called."""
    labels: list[int]
    """The method's own labels (from 1) that are joined."""
    map_of: int
    """The largest of these, whose map stands for all."""


class SpeciesRecovery(Part):
    """One species and the label that the best one-to-one matching gives it."""

    class_name: str
    """The species."""
    n_particles: int
    """Its particles."""
    label: int | None
    """Its label, from 1; null for a species that is given none."""
    recall: float
    """The share of its particles in that label; 0 without one."""
    precision: float
    """The share of that label's particles that are of the species; 0 without one."""
    f1: float
    """The harmonic mean of recall and precision."""


class ReliabilityBin(Part):
    """A tenth of the particles, of like confidence: one point of the reliability curve."""

    n_particles: int
    """How many particles these are."""
    confidence: float
    """The mean posterior of the species that each particle most probably is of."""
    accuracy: float
    """The share of them that are of that species."""


class Reliability(Part):
    """How far posteriors of classes can be believed. A label stands for the species that most of its particles are of,
    and what labels of the same species have is added up. Junk, which is of no species, counts nowhere.
    """

    ece: float
    """Expected calibration error: the mean distance between confidence and accuracy over ten bins of equal count."""
    brier: float
    """The mean squared distance of the posteriors of all species from the truth, from 0 to 2."""
    confidence: float
    """The mean confidence over all particles that are no junk."""
    accuracy: float
    """The share of these whose most probable species is the true one."""
    bins: list[ReliabilityBin]
    """The reliability curve, least confident first."""


class Calibration(Reliability):
    """Of the posteriors that a method gives."""

    ece: Annotated[float, Measure("ECE", 3, ("csv", "runs"), more_is_better=False)]
    """Expected calibration error: the mean distance between confidence and accuracy over ten bins of equal count. 0 is
    perfect; of a method whose posteriors are all certain nothing is said."""
    brier: Annotated[float, Measure("Brier score", 3, ("csv", "runs"), more_is_better=False)]
    """The mean squared distance of the posteriors of all species from the truth, from 0 to 2. 0 is perfect."""


class CalibrationAtNoise(Reliability):
    """Of posteriors at the noise's own level, of a method that learns with others (Hydra)."""

    ece: Annotated[
        float, Measure("ECE, noise's level", 3, ("csv", "runs"), more_is_better=False, column="ece_at_noise")
    ]
    """ECE of the posteriors at the noise's own level, which Hydra gives beside those that it learns with: Bayes' rule
    at the best pose in each class, with the noise that its maps leave."""
    brier: Annotated[
        float, Measure("Brier score, noise's level", 3, ("csv", "runs"), more_is_better=False, column="brier_at_noise")
    ]
    """Brier score of the same."""


class JunkScores(Part):
    """How well a method that tells junk does so: of the images whose posterior of junk is above one half."""

    found: Annotated[float, Measure("Junk found", 3, ("csv", "runs"), column="junk_found", optional=True)]
    """The share of the images without one whole particle in their middle that the method calls junk."""
    good_lost: Annotated[
        float, Measure("Good called junk", 3, ("csv", "runs"), more_is_better=False, column="good_lost", optional=True)
    ]
    """The share of the other images that it calls junk, too."""


class ClusteringScores(Part):
    """How well labels tell the species apart."""

    labels_from: str
    """Where labels come from: "classes", "one class", or k-means on the latents of a method without classes."""
    ari: Annotated[float | None, Measure("ARI", 3, ("table", "compare", "runs"))]
    """Adjusted Rand index: how well predicted classes agree with true species, whatever the classes are called. 1 is
    perfect, 0 is chance. With several seeds: mean ± sd over seeds. A method without classes is labelled by k-means on
    its latents, with k the number of species; the column “Labels from” says so."""
    ari_good: Annotated[float | None, Measure("ARI without junk", 3, ("table", "compare", "runs"), optional=True)]
    """The ARI over the particles that are no junk, whatever class junk was put in; null where the truth has none. The
    ARI itself is over all, junk being a species."""
    ari_interval: Interval | None
    """Of the ARI, over particles; null where no species is known."""
    ami: Annotated[float | None, Measure("AMI", 3, ("runs",))]
    """Adjusted mutual information: another agreement corrected for chance, which weighs small classes more."""
    macro_f1: Annotated[float | None, Measure("Macro-F1", 3, ("table", "compare", "runs"))]
    """The mean over species of the harmonic mean of recall and precision, in the class that is matched to the species:
    all species count alike, so that a lost rare one shows."""
    accuracy: Annotated[float | None, Measure("Accuracy", 3, ("csv", "runs"))]
    """The share of particles in the class that is matched to their species, at most one class a species."""
    majority_accuracy: Annotated[float | None, Measure("Majority-vote accuracy", 3, ("csv", "runs"))]
    """The share of particles that are of the species that most particles of their class are of: a species may have
    several classes, as in papers on ensembles of methods. Many classes make it high by themselves."""
    per_species: list[SpeciesRecovery] | None
    """Every species; null where none is known."""
    lost_species: list[str]
    """Species that are the most frequent one of no label that is not empty."""
    n_labels: int
    """How many labels there may be."""
    n_nonempty: int
    """How many of them are not empty."""
    label_sizes: list[int]
    """Particles of each label."""
    empty_labels: list[int]
    """Labels (from 1) that count as empty."""
    matched_class: list[int | None]
    """For each label the class (from 0) that the best one-to-one matching gives it, null without one."""
    majority_class: list[int | None]
    """For each label the class (from 0) that most of its particles are of, null for a label without particles."""
    split_species: dict[str, list[int]]
    """Species that are the most frequent one of two or more labels that are not empty, with these labels (from 1)."""
    merged_labels: dict[str, list[str]]
    """Labels (from 1) that hold the largest part of two or more species, with these species."""
    confusion: list[list[int]]
    """Particles of each species (rows) by label (columns)."""
    groups: list[Group] | None
    """What each label is joined from, one entry a label; null where `merge_classes` joins nothing."""

    def species_of(self, label: int) -> int | None:
        """The class whose true map the map of a label (from 1) is aligned to; None if the label has no particle."""
        matched = self.matched_class[label - 1]
        return self.majority_class[label - 1] if matched is None else matched


class ParticleFsc(Part):
    """The method's own map for one evaluated particle against the particle's true map."""

    particle: int
    """Its number in the stack, from 0."""
    true_class: int
    """Its species, from 0."""
    label: int
    """Its label, from 1."""
    auc: float
    """FSC-AUC, with the mask that is stated."""
    unmasked_auc: float
    """The same without a mask."""
    masked_auc: float
    """The same in a soft mask of the true map."""
    cryobench_auc: float
    """The first on CryoBench's scale."""
    gain: float | None
    """Of a species that moves: the FSC-AUC less that of the best single map, the noise-free average of the states."""


class SpeciesFsc(Part):
    """The evaluated particles of one species."""

    class_name: str
    """The species."""
    auc_mean: float
    """Mean FSC-AUC of its evaluated particles."""
    auc_sd: float
    """And its sd."""
    curve_mean: list[float]
    """Mean FSC of each shell."""
    curve_sd: list[float]
    """And its sd."""
    resolution_0_5_A: float | None
    """Where the mean curve first falls below 0.5, in Å; null where its first shell does."""
    resolution_0_143_A: float | None
    """The same below 0.143."""


class FscScores(Part):
    """How good the maps are."""

    mask: str
    """What both maps are multiplied by before the FSC, in words."""
    frequency_per_A: list[float]
    """Spatial frequency of each shell, 1/Å."""
    auc_mean: Annotated[float, Measure("FSC-AUC", 3, ("table", "compare", "runs"), over="images", column="fsc_auc")]
    """How good the maps are. The method's own volume for a particle is compared with the true map of that particle
    after alignment over rotation, shift and hand; the Fourier shell correlation is averaged over shells 1 to D/2 − 1.
    1 is perfect. Mean ± 1 sd over the evaluated particles. The mask is stated with the dataset."""
    auc_sd: float
    """The sd of that over the evaluated particles."""
    auc_interval: Interval
    """Of the FSC-AUC, over the evaluated particles of each species."""
    unmasked_auc_mean: Annotated[
        float, Measure("FSC-AUC, no mask", 3, ("csv", "runs"), over="images", column="fsc_auc_unmasked")
    ]
    """FSC-AUC without a mask, whatever mask is stated: noise outside the particle costs."""
    unmasked_auc_sd: float
    """The sd of that over the evaluated particles."""
    masked_auc_mean: Annotated[
        float, Measure("FSC-AUC, masked", 3, ("csv", "runs"), over="images", column="fsc_auc_masked")
    ]
    """FSC-AUC in a soft mask of the true map, which both maps are multiplied by, whatever mask is stated: only what is
    inside the particle counts."""
    masked_auc_sd: float
    """The sd of that over the evaluated particles."""
    cryobench_auc_mean: Annotated[
        float, Measure("CryoBench's scale", 3, ("csv", "runs"), over="images", column="fsc_auc_cryobench")
    ]
    """The area under |FSC| over spatial frequency up to 0.5 − 1/D per pixel; its maximum is just below 0.5. Never to be
    compared with the FSC-AUC."""
    cryobench_auc_sd: float
    """The sd of that over the evaluated particles."""
    gain_mean: Annotated[float | None, Measure("FSC gain", 3, ("csv", "compare", "runs"), column="fsc_gain")]
    """Of species that move: the mean over evaluated particles of the FSC-AUC less that of the best single map, the
    noise-free average of the states. Above 0 the maps show more of each conformation than any single map could."""
    per_particle: list[ParticleFsc]
    """Every evaluated particle."""
    per_class: list[SpeciesFsc]
    """Every species that has evaluated particles."""


class LabelPose(Part):
    """Pose errors of the particles in one label that are of the species it is matched to."""

    class_name: str
    """The species."""
    label: int
    """The method's own label, from 1."""
    n_particles: int
    """How many particles these are."""
    symmetry: str
    """The point group whose equivalent poses count as one; C1 where none is named."""
    median_angular_error_deg: float
    """Median angle between estimated and true orientation."""
    median_shift_error_A: float
    """Median error of the in-plane shift."""


class PoseErrors(Part):
    """Errors of poses after the alignment of the maps."""

    median_angular_error_deg: Annotated[
        float, Measure("Pose error", 2, ("compare", "runs"), unit="°", more_is_better=False)
    ]
    """Median angle between estimated and true orientation, after the same alignment as the maps, over particles in the
    class that is matched to their species."""
    median_shift_error_A: Annotated[float, Measure("Shift error", 1, ("runs",), unit="Å", more_is_better=False)]
    """Median error of the in-plane shift, over the same particles."""
    per_class: list[LabelPose]
    """The same label by label."""


class Recovery(Part):
    """How one true coordinate shows in the latents, on particles that nothing was fitted to."""

    spearman: float
    """Spearman's rank correlation along the best direction, whose sign comes from other particles: about 0 on average
    where latents and coordinate are unrelated."""
    r2: float
    """R² of a monotone fit along the best direction."""
    r2_by_chance: float
    """What R² stays below for 95 % of permutations of the coordinate."""
    p: float
    """The share of permutations of the coordinate, and of itself, whose R² is as large."""
    first_axis_spearman: float
    """The rank correlation along the first principal axis, without a sign."""
    first_axis_r2: float
    """R² of a monotone fit along the first principal axis."""


class LabelConformation(Part):
    """The conformations of the particles in one label that are of the species it is matched to."""

    class_name: str
    """The species."""
    label: int
    """The method's own label, from 1."""
    n_particles: int
    """How many particles these are."""
    coordinates: list[Recovery | None]
    """Each true coordinate; null where it, or the latents, do not vary, or particles are too few."""


class Conformations(Part):
    """How latents follow the true conformations."""

    per_class: list[LabelConformation]
    """Every label that is matched to a species that moves."""


class LabelAlignment(Part):
    """How a label's map moves onto a true map."""

    label: int
    """The method's own label, from 1."""
    class_name: str
    """The species whose true map it is."""
    mirrored: bool
    """Whether its hand was flipped."""
    correlation: float
    """The mean FSC after the alignment, of shells 1 to at most 40."""
    angles_deg: list[float]
    """Euler angles (rot, tilt, psi) of the rotation."""
    shift_A: list[float]
    """Shift (x, y, z)."""


class Latents(Part):
    """Latent coordinates of the particles, for plots."""

    dimension: int
    """How many latent coordinates a particle has."""
    projection: list[list[float]]
    """Two coordinates a particle: as they are up to two, else on the two principal axes of each latent space."""
