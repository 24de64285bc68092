"""Rigid alignment of a map to a reference over rotation, shift and hand.

What is maximised is the mean FSC over shells, up to shell 40: as in the FSC-AUC, a map is not punished for a wrong
fall-off of its amplitudes. A coarse search (4608 rotations, both hands, all shifts by FFT) at low resolution is
followed by gradient ascent of its best candidates at rising resolution.

torch-fit-in-map 0.6 works too: on five noisy phantoms cropped to 24 px, one thread, both found every pose and
hand, it to 0.2-0.5° in 10-17 s, this module to 0.1-0.7° in 2-4 s. It is not used for that time, which leaves
little for full size, and for a dozen packages, one of which imports torch-ctf without declaring it.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage

from hydra_bench.maps.fsc import compare
from hydra_bench.maps.resampling import HalfTransform, half_ball
from hydra_bench.physics.fourier import fourier_upsample, shift_phases
from hydra_bench.physics.rotations import (
    MIRROR,
    angular_distance_deg,
    grid_spacing_deg,
    hopf_grid,
    rotation_from_vector,
)

_COARSE_RADIUS = 8
_COARSE_GRID_ORDER = 2
_TURNS = 6 * 2**_COARSE_GRID_ORDER
"""In-plane turns of each view of the grid."""
_COARSE_BOX = 18
_BATCH = 128
_BETA1, _BETA2 = 0.8, 0.95
"""Of Adam: an ascent is a few dozen steps."""
_LARGEST_SHIFT = 0.25
"""Of the box, along each axis: a particle farther off centre would be cut by its box."""
_CANDIDATES_PER_HAND = 24
"""A nearly symmetric map has as many orientations that are nearly as good as its group has elements."""


@dataclass(frozen=True)
class Alignment:
    """How a map moves onto its reference: x_ref = rotation @ (MIRROR if mirrored) @ x_map + shift_px.

    rotation (3, 3), shift_px (3,) as (x, y, z); correlation is the mean FSC of shells 1 … min(40, D/2-1).
    """

    rotation: np.ndarray
    shift_px: np.ndarray
    mirrored: bool
    correlation: float

    @property
    def matrix(self) -> np.ndarray:
        """rotation @ MIRROR or rotation: the orthogonal matrix (3, 3) that acts on map coordinates."""
        return self.rotation @ MIRROR if self.mirrored else self.rotation


@dataclass(frozen=True)
class _Stage:
    """One level of the refinement: shells up to `radius`, steps, first step's size, which candidates go on.

    They are the best `least`, and more, up to `most`, whose score is at least `near` of the best one's.
    """

    radius: int
    least: int
    most: int
    near: float
    steps: int
    step_rad: float

    def keep(self, scores: torch.Tensor) -> int:
        """How many of the candidates of these scores (B,), best first."""
        close = int((scores >= self.near * scores[0]).sum())
        return min(max(self.least, min(close, self.most)), len(scores))


_STAGES = (
    _Stage(8, 12, 48, 0.8, 25, 0.05),
    _Stage(14, 4, 24, 0.95, 20, 0.015),
    _Stage(24, 1, 3, 0.99, 15, 0.006),
    _Stage(40, 1, 1, 1.0, 12, 0.002),
)


def align_map(moving: np.ndarray, reference: np.ndarray) -> Alignment:
    """Align a map (D, D, D) to a reference (D, D, D), deterministically: one thread sums in one order.

    An empty moving map (or reference) gives the identity with correlation 0.
    """
    previous = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            pair = _Pair(torch.from_numpy(moving).float(), torch.from_numpy(reference).float())
        if pair.empty:
            return Alignment(np.eye(3), np.zeros(3), False, 0.0)
        candidates = _coarse_search(pair)
        for stage in _STAGES:
            candidates = _refine(pair, candidates, stage)
        rotations, shifts, mirrored, scores = candidates
        return Alignment(_orthonormal(rotations[0]), shifts[0].numpy().astype(np.float64),
                         bool(mirrored[0]), float(scores[0]))  # fmt: skip
    finally:
        torch.set_num_threads(previous)


def self_alignments(volume: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` rotations (F, 3, 3), well apart, that leave a map (D, D, D) most alike; the identity is one."""
    previous = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            half = torch.from_numpy(volume).float()
            pair = _Pair(half, half)
        if pair.empty:
            return np.eye(3)[None]
        stages = [replace(stage, least=2 * count, most=2 * count) for stage in _STAGES[:2]]
        candidates = _coarse_search(pair, count)
        for stage in stages:
            candidates = _refine(pair, candidates, stage)
        kept = ~candidates[2]
        return np.stack([_orthonormal(rotation) for rotation in candidates[0][kept]])
    finally:
        torch.set_num_threads(previous)


def as_it_lies(moving: np.ndarray, reference: np.ndarray) -> Alignment:
    """The alignment of a map that lies on its reference already: the identity, and the mean FSC that it has."""
    curve = compare(moving, reference).curve
    return Alignment(np.eye(3), np.zeros(3), False, float(curve[: _STAGES[-1].radius].mean()))


def apply(volume: np.ndarray, alignment: Alignment) -> np.ndarray:
    """The map (D, D, D), float32, moved onto the reference, limited to |k| < D/2.

    A cubic spline through the map upsampled twofold, where its band ends at half the new Nyquist frequency.
    Interpolating the transform instead would weigh the box's corners differently for each rotation, and cost
    noisy maps up to 0.02 of FSC-AUC (seen on the oracle of the demo).
    """
    box = volume.shape[-1]
    fine = fourier_upsample(torch.from_numpy(volume).float(), 2 * box).numpy()
    # x_map = matrixᵀ (x_ref - shift); SciPy's coordinates run z, y, x, ours x, y, z. Origins: box // 2, and box.
    inverse = 2 * alignment.matrix.T[::-1, ::-1]
    offset = box - inverse @ (box // 2 + alignment.shift_px[::-1])
    return ndimage.affine_transform(fine, inverse, offset, (box,) * 3, order=3, mode="constant").astype(np.float32)


_Candidates = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Rotations (B, 3, 3), shifts (B, 3) in px, mirrored (B,) bool, scores (B,), best first."""


class _Pair:
    """Two maps with every shell of both scaled to the same power, so that a scalar product is a mean FSC."""

    def __init__(self, moving: torch.Tensor, reference: torch.Tensor) -> None:
        self.box = moving.shape[-1]
        self.radius = self.box // 2 - 1
        self.points = half_ball(self.radius + 0.5)
        length = self.points.float().norm(dim=-1)
        self.shell = length.round().long()
        # Of k and -k, both present on the plane kx = 0, each counts half.
        self.weight = torch.where(self.points[:, 0] == 0, 0.5, 1.0)
        identity = self.points.float()
        moving_transform = HalfTransform(moving, self.radius + 1)
        reference_values = HalfTransform(reference, self.radius + 1).at(identity)
        moving_power = self._shell_power(moving_transform.at(identity))
        reference_power = self._shell_power(reference_values)
        self.empty = not bool(moving_power.sum() > 0) or not bool(reference_power.sum() > 0)
        self.moving = moving_transform.scaled(_inverse_root(moving_power))
        self.reference = reference_values.conj() * _inverse_root(reference_power)[self.shell] * self.weight

    def _shell_power(self, values: torch.Tensor) -> torch.Tensor:
        """Summed |F|² of shells 0 … radius + 1; the last is filled with its neighbour for interpolation."""
        power = torch.zeros(self.radius + 2, dtype=torch.float64)
        power.index_add_(0, self.shell, (self.weight * values.abs().square()).double())
        power[0], power[-1] = power[1], power[-2]
        return power

    def within(self, radius: int) -> torch.Tensor:
        """Numbers of the points in shells up to `radius`."""
        return torch.nonzero(self.shell <= radius)[:, 0]


def _inverse_root(power: torch.Tensor) -> torch.Tensor:
    """1 / sqrt(power), and 0 for shells a map does not have."""
    present = power > 1e-12 * power.max()
    return torch.where(present, power.clamp(min=torch.finfo(power.dtype).tiny).rsqrt(), 0.0).float()


def _matrices(rotations: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    mirror = torch.from_numpy(MIRROR).float()
    return torch.where(mirrored[:, None, None], rotations @ mirror, rotations)


@torch.no_grad()
def _coarse_search(pair: _Pair, per_hand: int = _CANDIDATES_PER_HAND) -> _Candidates:
    """The best rotations of the grid, well apart from each other, for each hand, each with its best shift.

    Of the grid's in-plane turns only those of the first quarter are sampled: another quarter turn permutes the
    frequencies, as if the reference were turned back. The other hand costs no samples, either: MIRROR is inversion
    times a half turn about z, inversion conjugates the transform, and so the mirrored map turned by R @ half turn has
    the conjugate values of the map turned by R.
    """
    radius = min(_COARSE_RADIUS, pair.radius)
    points = pair.points[pair.within(radius)]
    grid = torch.from_numpy(hopf_grid(_COARSE_GRID_ORDER)).float()
    first = grid.reshape(-1, 4, _TURNS // 4, 3, 3)[:, 0].reshape(-1, 3, 3)
    shifts, with_real, with_imaginary = _reference_at_shifts(pair, radius)
    scores, found = torch.empty(2, len(first), 4), torch.empty(2, len(first), 4, dtype=torch.long)
    for start in range(0, len(first), _BATCH):
        rows = slice(start, start + _BATCH)
        values = pair.moving.at(points.float() @ first[rows])
        # score(±t) = sum Re[ref F exp(∓2πi k·t/D)] = even ± odd; for the other hand F is conjugated.
        even_real, odd_real = (values.real @ with_real).unflatten(-1, (4, 2, -1)).unbind(2)
        even_imaginary, odd_imaginary = (values.imag @ with_imaginary).unflatten(-1, (4, 2, -1)).unbind(2)
        for hand, sign in enumerate((1, -1)):
            even, odd = even_real - sign * even_imaginary, odd_real + sign * odd_imaginary
            scores[hand, rows], best = (even + odd.abs()).max(-1)
            against = odd.gather(-1, best[..., None])[..., 0] < 0
            found[hand, rows] = torch.where(against, best + len(shifts) // 2, best)
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    candidates: list[_Candidates] = []
    for hand, (score, shift) in enumerate(zip(scores, found, strict=True)):
        score, shift = (of.reshape(-1, _TURNS // 4, 4).swapaxes(1, 2).flatten() for of in (score, shift))
        keep = _well_apart(grid.numpy(), score.numpy(), per_hand)
        rotations = grid[keep] @ half_turn if hand else grid[keep]
        mirrored = torch.full((len(keep),), bool(hand))
        candidates.append((rotations, shifts[shift[keep]] * (pair.box / _COARSE_BOX), mirrored, score[keep]))
    rotations, moved, mirrored, best_scores = (torch.cat(column) for column in zip(*candidates, strict=True))
    return rotations, moved, mirrored, best_scores


def _reference_at_shifts(pair: _Pair, radius: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the real and the imaginary parts of a map's values up to `radius` are multiplied by for its coarse scores.

    Returns shifts (2S, 3) in pixels of the coarse box, the second S those of the first with the other sign; and for
    either part a matrix (P, 4 * 2 * S): for each quarter turn of the map the even and the odd part of its score at the
    first S shifts.
    """
    chosen = pair.within(radius)
    points, weight = pair.points[chosen], pair.weight[chosen]
    reference = pair.reference[chosen] / radius / weight
    # At all frequencies of the ball, those of the other half as conjugates, to be looked up by a turned frequency.
    ball = torch.zeros((2 * radius + 1,) * 3, dtype=reference.dtype)
    ball[tuple((radius - points).T)] = reference.conj()
    ball[tuple((radius + points).T)] = reference
    reach = int(_LARGEST_SHIFT * _COARSE_BOX)
    near = torch.arange(-reach, reach + 1)
    cube = torch.cartesian_prod(near, near, near)
    shifts = cube[len(cube) // 2 :]
    angles = 2 * torch.pi * torch.arange(_COARSE_BOX) / _COARSE_BOX
    quarter_turn = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    with_real, with_imaginary = [], []
    for _ in range(4):
        turned = ball[tuple((radius + points).T)] * weight
        phases = angles[(points @ shifts.T) % _COARSE_BOX]
        cosines, sines = phases.cos(), phases.sin()
        with_real += [turned.real[:, None] * cosines, turned.imag[:, None] * sines]
        with_imaginary += [turned.imag[:, None] * cosines, turned.real[:, None] * sines]
        points = points @ quarter_turn
    return torch.cat([shifts, -shifts]), torch.cat(with_real, 1), torch.cat(with_imaginary, 1)


def _well_apart(rotations: np.ndarray, scores: np.ndarray, count: int) -> list[int]:
    """Numbers of the best rotations, none within 1.5 grid steps of a better one."""
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < count:
        kept.append(int(order[0]))
        distance = angular_distance_deg(rotations[order], rotations[order[0]])
        order = order[distance > 1.5 * grid_spacing_deg(_COARSE_GRID_ORDER)]
    return kept


def _refine(pair: _Pair, candidates: _Candidates, stage: _Stage) -> _Candidates:
    """Climb from what the stage keeps: Adam in batches, and L-BFGS, which ends closer, for the last candidate."""
    order = torch.argsort(candidates[3], descending=True, stable=True)
    order = order[: stage.keep(candidates[3][order])]
    rotations, shifts, mirrored, _ = (column[order] for column in candidates)
    radius = min(stage.radius, pair.radius)
    chosen = pair.within(radius)
    points, reference = pair.points[chosen].float(), pair.reference[chosen] / radius
    # A turn by one radian moves the density at a quarter box from the origin by as much as one unit of shift.
    unit_px = pair.box / 4

    def score(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        turned = rotation_from_vector(state[:, :3]) @ rotations
        moved = shifts + unit_px * state[:, 3:]
        values = pair.moving.at(points @ _matrices(turned, mirrored))
        phase = shift_phases(moved, points, pair.box)
        product = values * reference
        return (product.real * phase.cos() + product.imag * phase.sin()).sum(-1), turned, moved

    state = torch.zeros(len(order), 6, requires_grad=True)

    def loss() -> torch.Tensor:
        state.grad = None
        value = -score(state)[0].sum()
        value.backward()
        return value

    if len(order) == 1:
        _spare_the_compiler()
        climber = torch.optim.LBFGS([state], lr=stage.step_rad, max_iter=stage.steps, line_search_fn="strong_wolfe")
        climber.step(loss)
    else:
        mean, square = torch.zeros_like(state), torch.zeros_like(state)
        for step in range(stage.steps):
            loss()
            with torch.no_grad():
                _adam_step(state, mean, square, step + 1, stage.step_rad * (1 - step / stage.steps))
    with torch.no_grad():
        scores, turned, moved = score(state)
    best = torch.argsort(scores, descending=True, stable=True)
    return turned[best], moved[best], mirrored[best], scores[best]


def _adam_step(state: torch.Tensor, mean: torch.Tensor, square: torch.Tensor, step: int, rate: float) -> None:
    """As torch.optim.Adam's, in its order of operations; the first step is 1. All tensors change.

    Source: Kingma & Ba, ICLR 2015, algorithm 1.
    """
    gradient = state.grad
    assert gradient is not None
    mean.lerp_(gradient, 1 - _BETA1)
    square.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
    root = (square.sqrt() / (1 - _BETA2**step) ** 0.5).add_(1e-8)
    state.addcdiv_(mean, root, value=-rate / (1 - _BETA1**step))


def _spare_the_compiler() -> None:
    """Keep PyTorch from loading its compiler, some two seconds, to exempt from it the making of an optimiser.

    Nothing is compiled here. A PyTorch that does otherwise is slower to start, and does the same.
    """
    made = getattr(torch.optim.Optimizer.add_param_group, "__wrapped__", None)
    if made is not None:
        made.__dynamo_disable = made


def _orthonormal(rotation: torch.Tensor) -> np.ndarray:
    """The rotation nearest to a float32 matrix that has gathered rounding errors."""
    u, _, vt = np.linalg.svd(rotation.double().numpy())
    nearest: np.ndarray = u @ vt
    return nearest
