"""Presets: named sets of parameters. A run that names none takes `fast`, or `many` for more than five classes.

`fast` is what the defaults of Settings are: small fields, sharp posteriors; chosen by measurement on two CPU cores
(docs/benchmarks.md).

`fine` is `fast` and then, with fields of more features, refinement of poses by local search at rising resolution,
for maps at the full resolution of boxes of about 128 px and for species that move; two to five times the time.

`many` is `fast` for more than five species, most of whose maps are mixtures for the first epochs: more spare
fields that stay longer, longer at the lowest resolutions, sharper posteriors, and no prior that could empty a class
of few particles.

`paper` is the published protocol: three residual layers of 256 on 3 x 64 Fourier features of σ = 0.5 (radians per
cycle per box, 0.08 boxes), 500,000 images of hierarchical search at 4608 base rotations with 8 kept poses and four
subdivisions, l rising from 12 to 32 within each search, then 100 epochs of auto-decoding at all frequencies with
Adam's rates 1e-4 for fields, 1e-3 for poses, 1e-2 for conformations and scores; point latents from the start.
The value of σ in the likelihood is not among the published numbers at hand: it follows the data, as in `fast`.
Source: Levy et al., NeurIPS 2024 (arXiv 2412.09420); l_coarse and the shift grid as in DRGN-AI and cryoDRGN2.
"""

from __future__ import annotations

from typing import Any

_FEW = 5
"""Classes up to which `fast` is the default."""


def default_preset(classes: object) -> str:
    """The preset of a run that names none, by its number of classes, if that is one."""
    return "many" if isinstance(classes, int) and classes > _FEW else "fast"


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    "fine": {"grow_epochs": 1, "refine_schedule": (14, 18, 22, 28, 34, 40), "decode_epochs": 4, "l_to_nyquist": True},
    "many": {
        "l_schedule": (5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10),
        "sharpness": (3.0, 7.5),
        "spare_fields": 4,
        "spare_epochs": 4,
        "full_search_epochs": 4,
        "prior_strength": 0.0,
    },
    "paper": {
        "features": 192,
        "width": 256,
        "depth": 3,
        "feature_sigma": 0.08,
        "pretrain_images": 10_000,
        "l_schedule": (32,),
        "search_images": 500_000,
        "l_to_nyquist": True,
        "l_coarse": 12,
        "march_in_search": True,
        "keep": (8, 8, 8, 8),
        "shift_extent": 0.08,
        "shift_points": 7,
        "chunk": 500,
        "steps_per_search": 1,
        "full_search_epochs": 1_000_000,
        "spare_fields": 0,
        "prior_strength": 0.0,
        "latent_steps": "gradient",
        "variational": False,
        "latent_epoch": 0,
        "search_conformations": 1,
        "decode_epochs": 100,
        "minibatch": 32,
        "frequencies_per_step": 0,
        "learning_rate": 1e-4,
        "learning_rate_final": 1e-4,
        "latent_learning_rate": 1e-2,
        "score_learning_rate": 1e-2,
        "pose_learning_rate": 1e-3,
    },
}
