"""From a trained mixture to the reconstruction contract, and to the fields that maps can be rendered from later."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from hydra_bench.contracts import reconstruction
from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import IS_JUNK, JUNK_IMAGES, Assignments, least_share
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.mrc import write_map
from hydra_bench.core.types import IntArray
from hydra_bench.methods.hydra.fit.run_state import History, Run
from hydra_bench.methods.hydra.model.networks import Field
from hydra_bench.methods.hydra.model.rendering import render_map, render_maps
from hydra_bench.methods.hydra.output.at_noise import at_noise
from hydra_bench.methods.hydra.output.remarks import remarks, remarks_on_junk
from hydra_bench.methods.hydra.settings import Settings

FIELDS_NAME = "fields.pt"
_LARGEST_BOX_PX, _LARGEST_PIXEL_A = 4096, 1000.0


@torch.no_grad()
def settle_latents(run: Run) -> None:
    """Latents of an encoder, computed once more for every particle by its final weights, into the tables."""
    encoder, tables = run.model.encoder, run.model.tables
    if encoder is None or run.settings.conformations != "encoder":
        return
    for particles in np.array_split(np.arange(len(run.source)), -(-len(run.source) // 500)):
        encoded = encoder(run.source.load(particles, slice(None, encoder.n_inputs)))
        for k, (mean, log_sd) in enumerate(encoded.latents):
            tables.store_latents(run.tensor(particles), k, mean, log_sd)


@torch.no_grad()
def assignments(run: Run, pixel_size_A: float) -> Assignments:
    """Every particle's state in its most probable class; latents of classes of fewer dimensions end in zeros."""
    tables = run.model.tables
    classes = tables.hard_classes()
    rotations, shifts = np.zeros((tables.n, 3, 3)), np.zeros((tables.n, 2))
    latents = np.zeros((tables.n, max(tables.latent_dims)))
    for k, d in enumerate(tables.latent_dims):
        members = np.flatnonzero(classes == k)
        index = torch.from_numpy(members).to(tables.rotations.device)
        rotation, shift = tables.pose(index, k)
        rotations[members], shifts[members] = rotation.cpu().numpy(), shift.cpu().numpy()
        if d:
            latents[members, :d] = tables.latent(index, k)[0].cpu().numpy()
    learned_with = tables.posteriors.cpu().double().numpy()
    noise = at_noise(run)
    return Assignments(classes, learned_with, rotations, shifts * pixel_size_A, latents, noise.classes, noise.junk)


def write_reconstruction(run: Run, pixel_size_A: float, evaluation: IntArray, folder: Path) -> Assignments:
    """Write particles.star, class maps at the mean latents, the listed particles' own maps, the history, fields.pt.

    pixel_size_A : of the box that the run worked in, which maps are written at. Returns what particles.star holds.
    """
    settle_latents(run)
    found, tables, box = assignments(run, pixel_size_A), run.model.tables, run.frequencies.box_px
    reconstruction.write_assignments(folder, found)
    for k, field in enumerate(run.model.fields):
        volume = render_map(field, box, tables.mean_latent(k))
        write_map(class_volume_path(folder, k), volume.cpu().numpy(), pixel_size_A)
    for k, field in enumerate(run.model.fields):
        listed = evaluation[found.classes[evaluation] == k]
        latents = torch.from_numpy(found.latents[listed, : tables.latent_dims[k]]).float().to(run.device)
        for particle, volume in zip(listed, render_maps(field, box, list(latents)), strict=True):
            write_map(reconstruction.sample_path(folder, int(particle)), volume.cpu().numpy(), pixel_size_A)
    write_history(run.history, folder)
    write_fields(run, pixel_size_A, folder)
    return found


def write_history(history: History, folder: Path) -> None:
    """history.csv, and history_labels.npy where there are classes; none where a run goes on from before it was kept."""
    with atomic(folder / reconstruction.HISTORY_NAME) as temporary:
        pd.DataFrame(history.rows).round(6).to_csv(temporary, index=False)
    if history.labels and len(history.labels) == len(history.rows):
        with atomic(folder / reconstruction.HISTORY_LABELS_NAME) as temporary:
            np.save(temporary, torch.stack(history.labels).numpy())


@dataclass(frozen=True)
class SavedFields:
    """Trained fields, and the box and pixel size that their maps have."""

    fields: list[Field]
    box_px: int
    pixel_size_A: float


def write_fields(run: Run, pixel_size_A: float, folder: Path) -> None:
    content = {
        "shape": list(run.model.fields[0].shape),
        "latent_dims": list(run.model.tables.latent_dims),
        "box_px": run.frequencies.box_px,
        "pixel_size_A": pixel_size_A,
        "weights": {name: weight.cpu() for name, weight in run.model.field_weights().state_dict().items()},
    }
    # Given a path, torch.save puts its name, a temporary one here, into the file.
    with atomic(folder / FIELDS_NAME) as temporary, open(temporary, "wb") as file:
        torch.save(content, file)


def read_fields(folder: Path) -> SavedFields:
    """The fields of a run's folder. Raises InputError if there are none that can be read."""
    path = folder / FIELDS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; a finished run of `hydra-bench hydra` holds one")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        envelope = content["weights"]["0.envelope"]
        n_features, width, depth = content["shape"]
        _check_sizes(content, path.stat().st_size)
        # The spread of the features is in the weights.
        fields = [Field(n_features, width, depth, d, 1.0, envelope) for d in content["latent_dims"]]
        nn.ModuleList(fields).load_state_dict(content["weights"])
        return SavedFields(fields, int(content["box_px"]), float(content["pixel_size_A"]))
    except Exception as error:  # whatever unpickling or a missing key raises
        raise InputError(f"{path}: not readable as fields ({' '.join(str(error).split())[:120]})") from None


def _check_sizes(content: JsonObject, file_bytes: int) -> None:
    """Whether fields of the shape that a file tells can be in it, before any is made. Raises ValueError."""
    (n_features, width, depth), dimensions = content["shape"], content["latent_dims"]
    n_weights = len(dimensions) * width * (n_features + depth * width) + sum(dimensions) * width
    if min(n_features, width, depth, *dimensions) < 0 or n_weights > file_bytes:
        raise ValueError(f"fields of the shape {content['shape']} are larger than the file")
    if not 2 <= content["box_px"] <= _LARGEST_BOX_PX or not 0 < content["pixel_size_A"] < _LARGEST_PIXEL_A:
        raise ValueError(f"a box of {content['box_px']} px of {content['pixel_size_A']} Å")


def notes(run: Run, written: Assignments | None, given: Settings) -> JsonObject:
    """What a reader should know of the result: class sizes, classes too small to count, junk, what looks wrong.

    written : what particles.star holds, in the process that wrote it. given : the settings as they were given.
    """
    tables = run.model.tables
    sizes = tables.class_sizes()
    limit = least_share(tables.classes) * tables.n
    empty = [k + 1 for k, size in enumerate(sizes) if size < limit]
    found: JsonObject = {"class_sizes": sizes, "empty_classes": empty}
    junk = None if written is None else written.junk
    if junk is not None:
        found[JUNK_IMAGES] = int((junk > IS_JUNK).sum())
    looks_wrong = remarks(run.settings, given, tables, empty, run.frequencies.box_px) + remarks_on_junk(junk)
    return {**found, "remarks": looks_wrong} if looks_wrong else found
