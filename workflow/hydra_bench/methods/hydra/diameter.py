"""The particle's diameter as the unit of what presets count in boxes.

Resolutions in cycles per box, and lengths in boxes or half boxes, were chosen on stacks whose box is about one and a
half particles wide. In a wider box around the same particle the same numbers are lower resolutions and larger lengths,
so that the search is worse without a word. With a diameter given, they are those of a box that the particle fills as
the particles of these stacks do.
"""

from __future__ import annotations

from dataclasses import asdict, replace

from hydra_bench.core.errors import InputError
from hydra_bench.methods.hydra.settings import LARGEST_L, Settings

REFERENCE_FILL = 0.68
"""Diameter of the particle in widths of the box, of the stacks that presets were measured on. The spheres around the
centre of mass that hold 99 % of the mass of their largest species are 298 Å wide for the spliceosome (3jb9) and 275 Å
for the ribosome (6zu5); the mean is 0.68 of the box of 128 px of 3.3 Å. (Twice the distance of the farthest atom is
325 Å and 320 Å, which single thin ends reach.)"""

_SMALLEST_FILL = 0.1
"""Diameter in widths of the box below which it is refused: a slip, such as nm for Å, far sooner than a particle."""


def in_boxes(settings: Settings, box_A: float) -> Settings:
    """The settings for a box of this width in Å, in its own units, and diameter_A null, since nothing is left of it.

    Equal to the given ones where diameter_A is null. Else resolutions, lengths and radii are taken as those of a box
    that is diameter_A / REFERENCE_FILL wide: resolutions are rounded, radii end at the box. Raises InputError for a
    diameter that is larger than the box, or less than a tenth of it.
    """
    diameter_A = settings.diameter_A
    if diameter_A is None:
        return settings
    if not _SMALLEST_FILL * box_A <= diameter_A <= box_A:
        raise InputError(
            f"diameter_A: {diameter_A:g}; a box of {box_A:.1f} Å allows {_SMALLEST_FILL * box_A:.1f} to {box_A:.1f}"
        )
    boxes = REFERENCE_FILL * box_A / diameter_A

    def resolution(l: int) -> int:
        return min(max(1, round(boxes * l)), LARGEST_L)

    def radius(given: float) -> float:
        # One that was given beyond the box, where it ends nothing, stays so.
        return min(given / boxes, max(1.0, given))

    # Fields need no more features for another spread: the phase of a feature, frequency times place, stays what it is.
    return replace(
        settings,
        diameter_A=None,
        map_schedule=tuple(map(resolution, settings.map_schedule)),
        l_schedule=tuple(map(resolution, settings.l_schedule)),
        l_coarse=resolution(settings.l_coarse),
        refine_schedule=tuple(map(resolution, settings.refine_schedule)),
        l_encoder=resolution(settings.l_encoder),
        shift_extent=settings.shift_extent / boxes,
        feature_sigma=settings.feature_sigma / boxes,
        particle_radius=radius(settings.particle_radius),
        window=None if settings.window is None else radius(settings.window),
    )


def what_followed(settings: Settings, box_A: float) -> str | None:
    """A sentence on what the diameter made of the settings, as they are given; None where it is null."""
    if settings.diameter_A is None:
        return None
    used = in_boxes(settings, box_A)
    before, after = _shown(replace(settings, diameter_A=None)), _shown(used)
    changed = [f"{name} {text}" for name, text in after.items() if text != before[name]]
    return (
        f"diameter_A {settings.diameter_A:g}, {settings.diameter_A / box_A:.2f} of the box of {box_A:.1f} Å (presets: "
        f"{REFERENCE_FILL:g}): {', '.join(changed) or 'no setting changes'}"
    )


def _shown(settings: Settings) -> dict[str, str]:
    """Every setting in few words: a list by its first and last number."""
    shown = {}
    for name, value in asdict(settings).items():
        ends = f"{value[0]} to {value[-1]}" if isinstance(value, tuple) and value else str(value)
        shown[name] = f"{value:.3g}" if isinstance(value, float) else ends
    return shown
