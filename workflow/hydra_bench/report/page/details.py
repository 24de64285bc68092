"""What the page says of one run in words: facts, classes, and what was not as by default."""

import json
from dataclasses import dataclass

from hydra_bench.config.method_definitions import TRUTH
from hydra_bench.contracts.places import Results
from hydra_bench.contracts.reconstruction import EMPTY_TEXT, JUNK_IMAGES, POSES
from hydra_bench.contracts.scores import SpeciesFsc
from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import Json
from hydra_bench.methods import cards as method_cards
from hydra_bench.report.results import MOST_NAMED, EvaluatedRun, named
from hydra_bench.report.tables.rows import number

_TOLD = ("versions", "commands", "departures", "poses_from", "init_from", "log_tail", "frame", "reference", "given")
"""Notes of known form, which the page shows each in its own way."""


@dataclass(frozen=True)
class Told:
    """What a run's notes say under one name; `code` where they are to be read letter by letter."""

    name: str
    texts: list[str]
    code: bool = False


def plain(value: Json) -> str:
    """A parameter or note as one line of text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def facts(run: EvaluatedRun) -> list[tuple[str, str]]:
    """What ran, on what, and what it cost, as (name, value)."""
    cost = run.metrics.cost
    spent = [f"{number(cost.wall_s, 1)} s wall", f"{number(cost.cpu_s, 1)} s CPU"]
    spent += [f"{number(cost.peak_rss_mb, 0)} MB peak memory"]
    if cost.gpu_memory_mb:
        spent += [f"{number(cost.gpu_memory_mb, 0)} MB GPU memory"]
    if cost.attempts > 1:
        spent += [f"{cost.attempts} attempts"]
    place = [("Node", str(cost.node))] if cost.node else []
    return [
        ("Program", f"{run.metrics.program or run.method} {run.metrics.program_version or ''}".strip()),
        ("Seed", str(run.seed)),
        ("Device", str(run.metrics.device or "–")),
        ("Images seen", f"{run.metrics.images_seen or 0:,} (repeats counted)"),
        ("Cost", ", ".join(spent)),
        *place,
        ("Command", f"snakemake {Results().run(run.dataset, run.method, run.seed).metrics}"),
    ]


def told(run: EvaluatedRun) -> list[Told]:
    """What notes of known form say of how a run was made; a name that says nothing is left out."""
    notes = run.metrics.notes
    said = [
        Told("Poses from", _named_source(run.poses_from)),
        Told("Begins at poses and classes of", _named_source(run.init_from)),
        Told("Versions", [f"{name} {version}" for name, version in (notes.get("versions") or {}).items()]),
        Told("Commands run", list(map(str, notes.get("commands") or [])), code=True),
        Told("Departures from the program's defaults", list(map(str, notes.get("departures") or []))),
    ]
    return [entry for entry in said if entry.texts]


def _named_source(source: str | None) -> list[str]:
    return [] if source is None else ["the truth" if source == TRUTH else source]


def log_tail(run: EvaluatedRun) -> str:
    """The last lines that a failed program said; "" where none were kept."""
    return "\n".join(map(str, run.metrics.notes.get("log_tail") or []))


def departures(run: EvaluatedRun) -> tuple[list[tuple[str, str, str]], bool]:
    """Parameters that are not the program's defaults, as (key, value, default); whether the defaults are known."""
    parameters = run.metrics.parameters
    try:
        schema = method_cards.parameter_schema(run.metrics.program)
    except InputError:
        return [(key, plain(value), "–") for key, value in sorted(parameters.items())], False
    defaults = {key: entry.get("default") for key, entry in schema["properties"].items()}
    changed = [key for key, value in sorted(parameters.items()) if value != defaults.get(key)]
    return [
        (key, plain(parameters[key]), "the preset's" if defaults.get(key) is None else plain(defaults[key]))
        for key in changed
    ], True


def remarks(run: EvaluatedRun) -> list[str]:
    """What a reader should know of a run's labels: empty, split and merged ones, and the method's own notes."""
    clustering = run.clustering
    why = [*run.unscored, *(["poses are the truth"] if POSES in run.metrics.given else [])]
    found = [f"No score, since {reason}." for reason in why]
    if clustering.empty_labels:
        empty = _listed(run.noun, clustering.empty_labels)
        found.append(f"Empty (less than {EMPTY_TEXT}): {empty}.")
    for group in clustering.groups or []:
        if len(group.labels) > 1:
            which, shown = _listed(run.noun, group.labels), _listed(run.noun, [group.map_of])
            found.append(f"{group.name} is {which}, counted as one; the map shown is that of {shown}, the largest.")
    split = [
        f"{species} is split over {_listed(run.noun, labels)}" for species, labels in clustering.split_species.items()
    ]
    merged = [f"{run.noun} {label} merges {', '.join(names)}" for label, names in clustering.merged_labels.items()]
    for what, sentences in (("species are split", split), (f"{_several(run.noun)} merge species", merged)):
        if len(sentences) > MOST_NAMED:
            found.append(f"{len(sentences)} {what}: {named(sentences, '; ')}.")
        else:
            found += [f"{sentence}." for sentence in sentences]
    notes = {key: value for key, value in run.metrics.notes.items() if key not in _TOLD}
    if isinstance(notes.get(JUNK_IMAGES), int):
        junk = notes.pop(JUNK_IMAGES)
        found.append(f"Junk, more likely of no class than of one: {junk:,} of {run.metrics.n_particles or 0:,} images.")
    return found + [f"{key}: {plain(value)}" for key, value in notes.items()]


def _listed(noun: str, labels: list[int]) -> str:
    """Class numbers as words: class 4; classes 3 and 5."""
    numbers = [str(label) for label in labels]
    if len(numbers) == 1:
        return f"{noun} {numbers[0]}"
    return f"{_several(noun)} {', '.join(numbers[:-1])} and {numbers[-1]}"


def _several(noun: str) -> str:
    return f"{noun}{'es' if noun.endswith('s') else 's'}"


def classes(run: EvaluatedRun) -> list[dict[str, str]]:
    """One entry a label: its number, size, the species that it matches, and how its map was aligned.

    In the labels' order; of more than MOST_NAMED in that of the species, as the columns of the confusion matrix.
    """
    clustering, names = run.clustering, run.class_names
    result = []
    alignments = {(entry.label, entry.class_name): entry for entry in run.metrics.alignments or []}
    n_labels = len(clustering.label_sizes)
    for j in range(n_labels) if n_labels <= MOST_NAMED else run.label_order():
        size = clustering.label_sizes[j]
        matched, majority = clustering.matched_class[j], clustering.majority_class[j]
        species = names[matched] if matched is not None else "–" if majority is None else f"(mostly {names[majority]})"
        target = run.clustering.species_of(j + 1)
        entry = None if target is None else alignments.get((run.own_label(j + 1), names[target]))
        result.append(
            {
                "label": run.short_name(j + 1),
                "size": f"{size:,}",
                "species": species,
                "share": "–" if majority is None else f"{clustering.confusion[majority][j] / max(size, 1):.1%}",
                "aligned_to": entry.class_name if entry else "–",
                "correlation": number(entry.correlation if entry else None),
                "hand": "–" if entry is None else "mirrored" if entry.mirrored else "as is",
                "turn": "–" if entry is None else ", ".join(f"{angle:.1f}" for angle in entry.angles_deg),
                "shift": "–" if entry is None else ", ".join(f"{shift:.1f}" for shift in entry.shift_A),
            }
        )
    return result


def map_quality(run: EvaluatedRun) -> list[SpeciesFsc]:
    """The FSC of each species; of more than MOST_NAMED, the lowest FSC-AUC first."""
    found = run.fsc.per_class
    return found if len(found) <= MOST_NAMED else sorted(found, key=lambda entry: entry.auc_mean)
