"""What is learned: K fields, the particle tables, an encoder where one is asked for, and their optimisers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from hydra_bench.methods.hydra.model.encoder import Encoder
from hydra_bench.methods.hydra.model.field import Field
from hydra_bench.methods.hydra.model.tables import ParticleTables
from hydra_bench.methods.hydra.settings import Settings


@dataclass
class Model:
    """Everything that gradient steps change. latents_on: whether latents take part yet; grown: fields are fine ones."""

    fields: nn.ModuleList
    tables: ParticleTables
    encoder: Encoder | None
    dense_optimiser: torch.optim.Optimizer
    table_optimisers: list[torch.optim.Optimizer]
    latents_on: bool = False
    grown: bool = False

    @classmethod
    def create(cls, settings: Settings, n: int, n_encoder: int, envelope: torch.Tensor, device: torch.device) -> Model:
        """Fields and tables of N particles as the search starts with; n_encoder frequencies feed the encoder."""
        s = settings
        dims = s.latent_dims(s.fields_at_start)
        fields = nn.ModuleList(Field(s.features, s.width, s.depth, d, s.feature_sigma, envelope) for d in dims)
        return cls.of(fields.to(device), ParticleTables(n, dims).to(device), n_encoder, s)

    @classmethod
    def of(
        cls, fields: nn.ModuleList, tables: ParticleTables, n_encoder: int, settings: Settings, grown: bool = False
    ) -> Model:
        """A model of given fields and tables, with new optimisers and, if one is used, a new encoder."""
        s, stage, encoder = settings, settings.stage(grown), None
        groups = [{"params": list(fields.parameters()), "lr": stage.learning_rate}]
        if "encoder" in (s.gating, s.conformations):
            encoder = Encoder(n_encoder, tables.latent_dims, s.encoder_width, s.encoder_depth)
            encoder.to(tables.rotations.device)
            groups.append({"params": list(encoder.parameters()), "lr": s.encoder_learning_rate})
        rates = [(tables.scores, s.score_learning_rate), (tables.corrections, stage.pose_learning_rate)]
        rates += [(table, s.latent_learning_rate) for table in tables.latents]
        sparse = [torch.optim.SparseAdam(table.parameters(), lr=rate) for table, rate in rates]
        return cls(fields, tables, encoder, torch.optim.Adam(groups), sparse, grown=grown)

    def of_classes(self, keep: list[int], settings: Settings) -> Model:
        """A model of the given classes only; an encoder starts anew."""
        fields = nn.ModuleList(self.fields[k] for k in keep)
        n_encoder = self.encoder.n_inputs if self.encoder else 0
        return Model.of(fields, self.tables.of_classes(keep), n_encoder, settings)

    def with_larger_fields(self, settings: Settings) -> Model:
        """New fields of the fine size for the same classes and tables; the optimisers start anew."""
        stage, envelope = settings.stage(grown=True), self.fields[0].envelope.cpu()
        fields = nn.ModuleList(
            Field(stage.features, stage.width, stage.depth, d, settings.feature_sigma, envelope)
            for d in self.tables.latent_dims
        ).to(self.tables.rotations.device)
        return Model.of(fields, self.tables, self.encoder.n_inputs if self.encoder else 0, settings, grown=True)

    def set_learning_rate(self, rate: float) -> None:
        """Of the fields."""
        self.dense_optimiser.param_groups[0]["lr"] = rate

    def dense_parameters(self) -> list[nn.Parameter]:
        return [p for group in self.dense_optimiser.param_groups for p in group["params"]]

    def zero_gradients(self) -> None:
        for optimiser in (self.dense_optimiser, *self.table_optimisers):
            optimiser.zero_grad()

    def step(self) -> None:
        self.dense_optimiser.step()
        for optimiser in self.table_optimisers:
            if any(p.grad is not None for group in optimiser.param_groups for p in group["params"]):
                optimiser.step()
