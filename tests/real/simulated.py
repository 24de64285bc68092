"""Definitions of datasets for tests against programs not written here; what is left out has the schema's default."""

from typing import Any

from hydra_bench import config


def dataset(seed: int, species: dict[str, Any], evaluated: int, **simulation: Any) -> dict[str, Any]:
    """A checked definition: species as in a configuration, `evaluated` particles of each, and keys of `simulation`."""
    definition = {"seed": seed, "species": species, "simulation": simulation}
    definition["evaluation_particles_per_class"] = evaluated
    settings = {"datasets": ["one"], "dataset_definitions": {"one": definition}, "methods": [], "seeds": [0]}
    return config.validate({**settings, "method_definitions": {}})["dataset_definitions"]["one"]
