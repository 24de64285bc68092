"""K-means that can be repeated.

scikit-learn's adds up centres in the order in which its threads happen to end, so that with three or more the last
digits differ from run to run, and a training that was resumed from one that was not; nor do its threads heed --threads.
One thread is enough for thousands of latents.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits


@dataclass(frozen=True)
class Clusters:
    """centres : (k, d). labels : (N,) int64, each point's centre."""

    centres: np.ndarray
    labels: np.ndarray


def k_means(points: np.ndarray, k: int, seed: int, starts: int = 10) -> Clusters:
    """The best of several starts (k-means++) for points (N, d); the same on every call, however many CPUs there are."""
    with threadpool_limits(limits=1, user_api="openmp"):
        found = KMeans(k, n_init=starts, random_state=seed).fit(points)
    return Clusters(found.cluster_centers_, found.labels_.astype(np.int64))
