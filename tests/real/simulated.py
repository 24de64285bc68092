"""Definitions of datasets for tests against programs not written here; what is left out has the schema's default."""

from typing import Any

from hydra_bench.config import configuration as config


def dataset(seed: int, species: dict[str, Any], evaluated: int, **simulation: Any) -> dict[str, Any]:
    """A checked definition: species as in a configuration, `evaluated` particles of each, and keys of `simulation`."""
    definition = {"seed": seed, "species": species, "simulation": simulation}
    definition["evaluation_particles_per_class"] = evaluated
    return checked(definition)


def checked(definition: dict[str, Any]) -> dict[str, Any]:
    """A definition with its defaults filled in."""
    settings = {
        "datasets": ["one"],
        "dataset_definitions": {"one": definition},
        "methods": ["oracle"],
        "method_definitions": {"oracle": {"program": "backprojection", "label": "Oracle"}},
    }
    return config.validate(settings)["dataset_definitions"]["one"]
