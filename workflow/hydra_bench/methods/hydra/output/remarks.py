"""What looks wrong in a finished run, each with a remedy: said on the console, in run.json and on the page."""

import math

import torch

from hydra_bench.contracts.reconstruction import EMPTY_TEXT, IS_JUNK
from hydra_bench.core.types import FloatArray
from hydra_bench.methods.hydra.model.tables import ParticleTables
from hydra_bench.methods.hydra.settings import Settings

_MOST_ENTROPY = 0.8
"""Of posteriors, as a share of the entropy of even ones: of three classes, 1 is 33 % each, 0.8 some 70, 15 and 15 %."""
_MOST_BEYOND = 0.05
"""Share of the particles that may lie beyond the shifts searched; refinement takes a few over the edge."""
_MOST_JUNK = 0.5
"""Share of the images that may be called junk: of stacks as they are picked, more than half are particles."""
_MOST_ALIGNED = 0.7
"""Mean squared cosine of views with the axis that they are nearest to: 1/3 if all are alike, 1 if there is one."""


@torch.no_grad()
def remarks(
    settings: Settings, given: Settings, tables: ParticleTables, empty_classes: list[int], box_px: int
) -> list[str]:
    """Sentences about a run of this box; none where nothing is off.

    settings : what the run went by. given : as they were given, in whose units a remedy is told. empty_classes : their
    numbers, 1-based.
    """
    of_all = (_posteriors(tables), _shifts(settings, given, tables, box_px), _views(tables))
    found = [remark for remark in of_all if remark]
    if empty_classes:
        listed = ", ".join(map(str, empty_classes))
        found.append(
            f"empty (less than {EMPTY_TEXT}): class {listed}; where these images hold no more species, fewer --classes"
            " give the same"
        )
    return found


def remarks_on_junk(junk: FloatArray | None) -> list[str]:
    """Of posteriors of junk (N,), if they were found."""
    share = 0.0 if junk is None else float((junk > IS_JUNK).mean())
    if share < _MOST_JUNK:
        return []
    return [
        f"{share:.0%} of the images are called junk: also particles are where there are fewer classes than species, or"
        " where maps are poor; more --classes or more images may help"
    ]


def _posteriors(tables: ParticleTables) -> str:
    if tables.classes == 1:
        return ""
    p = tables.posteriors.double()
    share = float(-(p * p.clamp(min=1e-12).log()).sum(1).mean()) / math.log(tables.classes)
    if share < _MOST_ENTROPY:
        return ""
    return (
        f"posteriors are at {share:.0%} of the entropy of chance: these classes are not told apart; fewer --classes, a"
        " larger box, more images or --preset field may help"
    )


def _shifts(settings: Settings, given: Settings, tables: ParticleTables, box_px: int) -> str:
    if settings.poses != "search":
        return ""
    extent = settings.shift_extent * box_px
    best = tables.posteriors.argmax(1)
    shifts = tables.shifts_px[torch.arange(tables.n, device=best.device), best].abs().amax(1)
    # The finest steps around the outermost shift of the grid reach nearly one of its steps farther.
    step = 2 * extent / max(1, settings.shift_points - 1)
    share = float((shifts > extent + step / 4).double().mean())
    if share < _MOST_BEYOND:
        return ""
    return (
        f"{share:.0%} of the particles lie farther off centre than the {extent:.1f} px ({settings.shift_extent:.3g} of"
        f" the box) that are searched; centre them, or --set shift_extent={min(0.25, 2 * given.shift_extent):g}"
    )


def _views(tables: ParticleTables) -> str:
    best = tables.posteriors.argmax(1)
    views = tables.rotations[torch.arange(tables.n, device=best.device), best][:, 2].double()
    worst, of_class = 0.0, 0
    for k in range(tables.classes):
        mine = views[best == k]
        if len(mine) >= 50:
            aligned = float(torch.linalg.eigvalsh(mine.T @ mine / len(mine))[-1])
            worst, of_class = max((worst, of_class), (aligned, k + 1))
    if worst < _MOST_ALIGNED:
        return ""
    return (
        f"views of class {of_class} are mostly along one axis (mean squared cosine {worst:.2f}; 0.33 if even): its map"
        " is poorly known across it"
    )
