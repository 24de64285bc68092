"""Definitions of methods: parameters filled in, relations between keys, and whose poses a method is given."""

from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.schema import KeyPath, KeyPathError, check_name
from hydra_bench.methods.cards import card, filled_parameters, has_rule, programs

TRUTH = "truth"
"""What `poses_from` says for true poses; no method may have that name."""


def check_method(definitions: JsonObject, name: str) -> None:
    """Check one of the definitions and fill in its parameters, in place. Raises KeyPathError."""
    method, at = definitions[name], ("method_definitions", name)
    check_name(method["program"], programs(), (*at, "program"), "a folder of workflow/methods")
    method["parameters"] = filled_parameters(method["program"], method["parameters"], (*at, "parameters"))
    _check_merging(method["merge_classes"] or {}, (*at, "merge_classes"))
    _check_poses(definitions, name)
    if method["time_limit_min"] is not None and has_rule(method["program"]):
        problem = f"the program {method['program']} has no time limit of its own; null is expected"
        raise KeyPathError((*at, "time_limit_min"), problem)


def _check_merging(merged: dict[str, list[int]], at: KeyPath) -> None:
    """A class has one name only."""
    names: dict[int, str] = {}
    for name, numbers in merged.items():
        for number in numbers:
            if number in names:
                raise KeyPathError((*at, name), f"{number} is not allowed; it belongs to {names[number]} already")
            names[number] = name


def _check_poses(definitions: JsonObject, name: str) -> None:
    """Given poses: only for a program that takes them, and not from a method that waits for this one."""
    at, chain = ("method_definitions", name, "poses_from"), [name]
    source = definitions[name]["poses_from"]
    if name == TRUTH:
        raise KeyPathError(at[:2], f"{TRUTH!r} is not allowed as a name; it stands for the true poses in poses_from")
    program = definitions[name]["program"]
    if source is None and card(program).get("needs_poses"):
        raise KeyPathError(at, f"is null; the program {program} needs poses, {TRUTH} or those of another method")
    if source is None:
        for key, values in (card(program).get("needs_poses_for") or {}).items():
            if (value := definitions[name]["parameters"][key]) in values:
                problem = f"{value} is not allowed without poses; poses_from is expected, {TRUTH} or a method's name"
                raise KeyPathError((*at[:2], "parameters", key), problem)
        return
    if not card(program).get("takes_poses"):
        takers = ", ".join(name for name in programs() if card(name).get("takes_poses")) or "none there"
        raise KeyPathError(at, f"the program {program} takes no poses; null is expected (those that do: {takers})")
    while source is not None and source != TRUTH:
        check_name(source, [*definitions, TRUTH], at, f"{TRUTH} or a key of method_definitions")
        if source in chain:
            raise KeyPathError(at, f"{' <- '.join([*chain, source])} goes round in a circle")
        chain.append(source)
        source = definitions[source].get("poses_from")


def pose_sources(definitions: JsonObject, method: str) -> list[str]:
    """Whose poses a method is given, and whose that one is given, and so on; the last may be TRUTH."""
    sources: list[str] = []
    source = definitions[method]["poses_from"]
    while source is not None:
        sources.append(source)
        source = None if source == TRUTH else definitions[source]["poses_from"]
    return sources


def reads_truth(definitions: JsonObject, method: str) -> bool:
    """Whether a method is a bound: its program reads the truth, or its poses come from there, however indirectly."""
    sources = pose_sources(definitions, method)
    return any(name == TRUTH or card(definitions[name]["program"])["reads_truth"] for name in (method, *sources))
