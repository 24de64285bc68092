"""What is learned: K fields, the particle tables, an encoder where one is asked for, and their optimisers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from hydra_bench.methods.hydra.model.networks import Encoder, Field, FieldStack
from hydra_bench.methods.hydra.model.optimisers import FieldAdam, RowAdam
from hydra_bench.methods.hydra.model.tables import ParticleTables
from hydra_bench.methods.hydra.settings import Settings


@dataclass
class Model:
    """Everything that gradient steps change: one field a class, and what is kept of every particle.

    latents_on : whether latents take part yet. grown : whether the fields are the larger, fine ones.
    """

    fields: list[Field]
    stack: FieldStack
    tables: ParticleTables
    encoder: Encoder | None
    field_optimiser: FieldAdam
    encoder_optimiser: torch.optim.Adam | None
    table_optimisers: list[RowAdam]
    latents_on: bool = False
    grown: bool = False

    @classmethod
    def create(cls, settings: Settings, n: int, n_encoder: int, envelope: torch.Tensor, device: torch.device) -> Model:
        """Fields and tables of N particles as the search starts with; n_encoder frequencies feed the encoder."""
        dims = settings.latent_dims(settings.fields_at_start)
        fields = new_fields(settings, False, dims, envelope.to(device))
        return cls.of(fields, ParticleTables(n, dims).to(device), n_encoder, settings)

    @classmethod
    def of(
        cls, fields: list[Field], tables: ParticleTables, n_encoder: int, settings: Settings, grown: bool = False
    ) -> Model:
        """A model of given fields and tables, with new optimisers and, if one is used, a new encoder."""
        s, stage = settings, settings.stage(grown)
        stack, device = FieldStack(fields), tables.rotations.device
        encoder, encoder_optimiser = None, None
        if "encoder" in (s.gating, s.conformations):
            encoder = Encoder(n_encoder, tables.latent_dims, s.encoder_width, s.encoder_depth).to(device)
            recordable = device.type == "cuda"
            encoder_optimiser = torch.optim.Adam(encoder.parameters(), s.encoder_learning_rate, capturable=recordable)
        rates = [(tables.scores, s.score_learning_rate), (tables.corrections, stage.pose_learning_rate)]
        rates += [(tables.latent_table(k), s.latent_learning_rate) for k in range(tables.classes)]
        rows = [RowAdam(table, rate) for table, rate in rates]
        adam = FieldAdam(stack.weights, stage.learning_rate)
        return cls(fields, stack, tables, encoder, adam, encoder_optimiser, rows, grown=grown)

    def of_classes(self, keep: list[int], settings: Settings) -> Model:
        """A model of the given classes only; an encoder starts anew."""
        return Model.of([self.fields[k] for k in keep], self.tables.of_classes(keep), self._encoder_inputs(), settings)

    def with_same_fields(self, settings: Settings) -> Model:
        """Fields that are like these, and learn apart from them."""
        with torch.random.fork_rng(devices=[]):  # all that is drawn is overwritten
            fields = new_fields(settings, self.grown, self.tables.latent_dims, self.fields[0].envelope)
        for field, own in zip(fields, self.fields, strict=True):
            field.load_state_dict(own.state_dict())
        return self.of_other_fields(fields)

    def of_other_fields(self, fields: list[Field]) -> Model:
        """Other fields for the same classes, with an optimiser of their own; tables and all else are shared."""
        stack = FieldStack(fields)
        return replace(self, fields=fields, stack=stack, field_optimiser=FieldAdam(stack.weights, self.rate))

    def with_larger_fields(self, settings: Settings) -> Model:
        """New fields of the fine size for the same classes and tables; the optimisers start anew."""
        fields = new_fields(settings, True, self.tables.latent_dims, self.fields[0].envelope)
        return Model.of(fields, self.tables, self._encoder_inputs(), settings, grown=True)

    def _encoder_inputs(self) -> int:
        return self.encoder.n_inputs if self.encoder else 0

    def field_weights(self) -> nn.ModuleList:
        """All fields as one module, by which their weights are saved, loaded and checked."""
        return nn.ModuleList(self.fields)

    @property
    def rate(self) -> float:
        """Of the fields."""
        return float(self.field_optimiser.rate)

    def set_learning_rate(self, rate: float) -> None:
        """Of the fields."""
        self.field_optimiser.rate.fill_(rate)

    def zero_gradients(self) -> None:
        for module in (self.field_weights(), self.tables, self.encoder):
            if module is not None:
                module.zero_grad()

    def step(self, gradients: torch.Tensor, present: torch.Tensor) -> None:
        """One step of the fields (K,) that are present, by gradients (K, P), and of all else that has gradients."""
        self.field_optimiser.step(gradients, present)
        if self.encoder_optimiser is not None:
            self.encoder_optimiser.step()
        for optimiser in self.table_optimisers:
            optimiser.step()

    def optimiser_states(self) -> dict[str, Any]:  # tensors, and torch's own mappings
        """For a checkpoint."""
        encoder = self.encoder_optimiser
        return {
            "fields": self.field_optimiser.state(),
            "encoder": None if encoder is None else encoder.state_dict(),
            "tables": [optimiser.state() for optimiser in self.table_optimisers],
        }

    def state_of_fields(self) -> dict[str, Any]:  # tensors, and torch's own mappings
        """Of the fields and their optimiser alone, for a checkpoint."""
        return {"fields": self.field_weights().state_dict(), "optimiser": self.field_optimiser.state()}

    def restore_fields(self, state: dict[str, Any]) -> None:  # tensors, and torch's own mappings
        """As `state_of_fields` gave them."""
        self.field_weights().load_state_dict(state["fields"])
        self.field_optimiser.restore(state["optimiser"])

    def restore_optimisers(self, states: dict[str, Any]) -> None:  # tensors, and torch's own mappings
        """As `optimiser_states` gave them."""
        self.field_optimiser.restore(states["fields"])
        if self.encoder_optimiser is not None:
            self.encoder_optimiser.load_state_dict(states["encoder"])
        for optimiser, saved in zip(self.table_optimisers, states["tables"], strict=True):
            optimiser.restore(saved)


def new_fields(settings: Settings, grown: bool, latent_dims: tuple[int, ...], envelope: torch.Tensor) -> list[Field]:
    """One field for each class, drawn at random, on the envelope's device."""
    stage, sigma = settings.stage(grown), settings.feature_sigma
    fields = [Field(stage.features, stage.width, stage.depth, d, sigma, envelope.cpu()) for d in latent_dims]
    return [field.to(envelope.device) for field in fields]
