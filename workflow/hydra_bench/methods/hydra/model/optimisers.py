"""Adam for the fields of a mixture and for rows of a table: what takes no part in a step is left as it is.

No size in them depends on values, so that on a GPU nothing waits for them. Both make torch.optim.Adam's step.
Source: Kingma & Ba, ICLR 2015, algorithm 1.
"""

from __future__ import annotations

import torch

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class FieldAdam:
    """Adam on the weights (K, P) of K fields, each of which counts its own steps.

    rate : a number on the weights' device, so that a step that was recorded once sees it change.
    """

    def __init__(self, weights: torch.Tensor, rate: float) -> None:
        self.weights, self.rate = weights, torch.tensor(rate, device=weights.device)
        self.mean, self.square = torch.zeros_like(weights), torch.zeros_like(weights)
        self.steps = torch.zeros(len(weights), 1, device=weights.device, dtype=weights.dtype)

    @torch.no_grad()
    def step(self, gradients: torch.Tensor, present: torch.Tensor) -> None:
        """One step by gradients (K, P) of the fields (K,) that are present in it."""
        if self.weights.device.type == "cpu":  # one after the other they stay in the processor's cache
            for k in present.nonzero()[:, 0].tolist():
                self._step(slice(k, k + 1), gradients[k : k + 1], present[k : k + 1])
        else:
            self._step(slice(None), gradients, present)

    def _step(self, fields: slice, gradients: torch.Tensor, present: torch.Tensor) -> None:
        here = present[:, None].to(gradients.dtype)
        mean, square, steps = self.mean[fields], self.square[fields], self.steps[fields]
        steps += here
        mean.addcmul_(gradients - mean, here, value=1 - _BETA1)
        square.addcmul_(gradients.square() - square, here, value=1 - _BETA2)
        self.weights[fields].addcmul_(_move(mean, square, steps.clamp(min=1), self.rate), here, value=-1)

    def state(self) -> dict[str, torch.Tensor]:
        return {"mean": self.mean, "square": self.square, "steps": self.steps}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        for name, saved in state.items():
            getattr(self, name).copy_(saved)


class RowAdam:
    """Adam on rows of a table, each moved only in steps that it takes part in; all rows count all steps.

    As torch.optim.SparseAdam, for rows that are named at most once in a step, which need no sorting out. What it keeps
    of the rows is there from the first step on.
    """

    def __init__(self, table: torch.nn.Embedding, rate: float) -> None:
        self.table, self.rate = table.weight, rate
        self.mean: torch.Tensor | None = None
        self.square: torch.Tensor | None = None
        self.steps = torch.zeros((), device=self.table.device)

    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Running means (rows, d) of the gradient and of its square; zeros if there was no step yet."""
        if self.mean is None or self.square is None:
            self.mean, self.square = torch.zeros_like(self.table.data), torch.zeros_like(self.table.data)
        return self.mean, self.square

    def step(self) -> None:
        """One step by the sparse gradient that the table has, if it has any."""
        gradient = self.table.grad
        if gradient is not None:
            self.move(gradient._indices()[0], gradient._values())

    @torch.no_grad()
    def move(self, rows: torch.Tensor, gradients: torch.Tensor, taken: torch.Tensor | None = None) -> None:
        """One step of rows (m,) by their gradients (m, d), or of those among them that are taken (m,)."""
        mean, square = self.moments()
        here: torch.Tensor | float = 1.0 if taken is None else taken[:, None].to(gradients.dtype)
        self.steps += 1
        mean.index_add_(0, rows, here * (1 - _BETA1) * (gradients - mean[rows]))
        square.index_add_(0, rows, here * (1 - _BETA2) * (gradients.square() - square[rows]))
        self.table.index_add_(0, rows, -here * _move(mean[rows], square[rows], self.steps, self.rate))

    def state(self) -> dict[str, torch.Tensor | None]:
        return {"mean": self.mean, "square": self.square, "steps": self.steps}

    def restore(self, state: dict[str, torch.Tensor | None]) -> None:
        mean, square, steps = state["mean"], state["square"], state["steps"]
        assert steps is not None
        self.steps.copy_(steps)
        if mean is not None and square is not None:
            for own, saved in zip(self.moments(), (mean, square), strict=True):
                own.copy_(saved)


def _move(mean: torch.Tensor, square: torch.Tensor, steps: torch.Tensor, rate: torch.Tensor | float) -> torch.Tensor:
    """What Adam subtracts, from running means of the gradient and its square after so many steps."""
    first, second = 1 - _BETA1**steps, 1 - _BETA2**steps
    return rate / first * mean / (square.sqrt() / second.sqrt() + _EPSILON)
