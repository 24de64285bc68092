"""How far posteriors of classes can be believed: reliability curve, expected calibration error and Brier score.

Bins are of equal count, not of equal width: most posteriors are near 1, and bins of equal width would be empty or hold
nearly all of them. Sources: Guo et al., ICML 2017; Brier, Mon. Weather Rev. 78 (1950) 1.
"""

from typing import TypeVar

import numpy as np

from hydra_bench.contracts.scores import ClusteringScores, Reliability, ReliabilityBin

BINS = 10
_CERTAIN = 1 - 1e-6


R = TypeVar("R", bound=Reliability)


def calibration(
    kind: type[R],
    posteriors: np.ndarray,
    label_of: dict[int, int],
    clustering: ClusteringScores,
    true_classes: np.ndarray,
    junk: np.ndarray | None = None,
) -> R | None:
    """Calibration of posteriors (N, K) of a method's own classes; None where they are all certain.

    kind: of what posteriors; label_of: the label that each own class counts as, both from 0; true_classes (N,), from 0.
    junk (N,): particles of no class, which count nowhere, since posteriors of classes are as if each were of one.
    """
    confusion = np.array(clustering.confusion)
    if junk is not None:
        confusion[np.unique(true_classes[junk])] = 0
        posteriors, true_classes = posteriors[~junk], true_classes[~junk]
    if posteriors.shape[1] < 2 or (posteriors.max(1) >= _CERTAIN).all():
        return None
    of_species = np.zeros((len(posteriors), len(confusion)))
    for own, label in label_of.items():
        # What goes to a label without particles is believed of no species.
        if confusion[:, label].any():
            of_species[:, confusion[:, label].argmax()] += posteriors[:, own]
    confidence, right = of_species.max(1), of_species.argmax(1) == true_classes
    bins = []
    # Equal confidences keep the particles' order, which tells nothing of the class.
    for part in np.array_split(np.argsort(confidence, kind="stable"), min(BINS, len(confidence))):
        bins.append(
            ReliabilityBin(
                n_particles=len(part),
                confidence=float(confidence[part].mean()),
                accuracy=float(right[part].mean()),
            )
        )
    distances = [abs(entry.confidence - entry.accuracy) * entry.n_particles for entry in bins]
    truth = np.eye(of_species.shape[1])[true_classes]
    return kind(
        ece=float(sum(distances) / len(confidence)),
        brier=float(np.square(of_species - truth).sum(1).mean()),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        bins=bins,
    )
