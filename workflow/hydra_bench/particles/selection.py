"""Which particles of a run are wanted: by class, posterior, latents and cluster."""

from dataclasses import dataclass

import numpy as np

from hydra_bench.contracts.reconstruction import IS_JUNK, Assignments
from hydra_bench.core.errors import InputError
from hydra_bench.core.types import BoolArray, IntArray


@dataclass(frozen=True)
class LatentBox:
    """Lowest and highest value of one latent, from 1; both belong to it."""

    latent: int
    lowest: float
    highest: float

    @classmethod
    def parse(cls, text: str) -> "LatentBox":
        """A box written as latent:lowest:highest. Raises InputError."""
        try:
            latent, lowest, highest = text.split(":")
            box = cls(int(latent), float(lowest), float(highest))
        except ValueError:
            raise InputError(f"--latent-box: {text!r}; LATENT:LOWEST:HIGHEST is expected, such as 1:-0.5:1") from None
        if box.latent < 1 or not box.lowest <= box.highest:
            raise InputError(f"--latent-box: {text!r}; a latent from 1, and its lowest value before its highest")
        return box


@dataclass(frozen=True)
class Criteria:
    """What a particle must meet, all of it; what is None or empty asks for nothing.

    classes : numbers from 1. min_posterior : of the particle's own class, at least. latent_boxes : all of them.
    clusters : numbers of the analysis, from 1. no_junk : what is more likely of a class than of none.
    """

    classes: tuple[int, ...] | None = None
    min_posterior: float | None = None
    latent_boxes: tuple[LatentBox, ...] = ()
    clusters: tuple[int, ...] | None = None
    no_junk: bool = False

    def chosen(self, found: Assignments, clusters_of: IntArray | None = None) -> IntArray:
        """The particles (n,) of a run that meet all of it, rising; clusters_of (N,) is each one's cluster.

        Raises
        ------
        InputError
            If a criterion cannot be met by any run of this kind, or no particle meets them all.
        """
        wanted = np.ones(len(found), dtype=bool)
        if self.classes is not None:
            wanted &= self._in_classes(found)
        if self.min_posterior is not None:
            if not 0 <= self.min_posterior <= 1:
                raise InputError(f"--min-posterior: {self.min_posterior:g}; 0 to 1 is allowed")
            wanted &= found.posteriors[np.arange(len(found)), found.classes] >= self.min_posterior
        if self.no_junk:
            if found.junk is None:
                raise InputError("--exclude-junk: the run does not tell junk; one of `hydra --preset field` does")
            wanted &= found.junk <= IS_JUNK
        for box in self.latent_boxes:
            wanted &= self._in_box(found, box)
        if self.clusters is not None and clusters_of is not None:
            highest = int(clusters_of.max())
            for number in self.clusters:
                if not 1 <= number <= highest:
                    raise InputError(f"--cluster: {number}; 1 to {highest} is allowed")
            wanted &= np.isin(clusters_of, self.clusters)
        if not wanted.any():
            raise InputError(f"none of the {len(found)} particles meets all that is asked for")
        return np.flatnonzero(wanted)

    def _in_classes(self, found: Assignments) -> BoolArray:
        n_classes = found.posteriors.shape[1]
        for number in self.classes or ():
            if not 1 <= number <= n_classes:
                raise InputError(f"--class: {number}; 1 to {n_classes} is allowed")
        return np.isin(found.classes + 1, self.classes or ())

    def _in_box(self, found: Assignments, box: LatentBox) -> BoolArray:
        dimensions, n_classes = found.latents.shape[1], found.posteriors.shape[1]
        if box.latent > dimensions:
            there = f"1 to {dimensions} is allowed" if dimensions else "the run has no latents"
            raise InputError(f"--latent-box: latent {box.latent}; {there}")
        if n_classes > 1 and len(self.classes or ()) != 1:
            raise InputError("--latent-box: each class has a latent space of its own; name one class by --class")
        values = found.latents[:, box.latent - 1]
        inside: BoolArray = (values >= box.lowest) & (values <= box.highest)
        return inside
