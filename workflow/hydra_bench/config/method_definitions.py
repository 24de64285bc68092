"""Definitions of methods: parameters filled in, relations between keys, and what of whose a method is given."""

from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.schema import KeyPath, KeyPathError, check_name
from hydra_bench.methods.cards import card, filled_parameters, has_rule, programs

TRUTH = "truth"
"""What `poses_from` and `init_from` say for the true ones; no method may have that name."""
GIVEN_BY = {"poses_from": ("takes_poses", "poses"), "init_from": ("takes_init", "poses and classes to begin from")}
"""Keys that give a method what another one found, or the truth: what the card of a program that takes it says; what it
is."""


def check_method(definitions: JsonObject, name: str) -> None:
    """Check one of the definitions and fill in its parameters, in place. Raises KeyPathError."""
    method, at = definitions[name], ("method_definitions", name)
    check_name(method["program"], programs(), (*at, "program"), "a folder of workflow/methods")
    method["parameters"] = filled_parameters(method["program"], method["parameters"], (*at, "parameters"))
    _check_merging(method["merge_classes"] or {}, (*at, "merge_classes"))
    _check_given(definitions, name)
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


def _check_given(definitions: JsonObject, name: str) -> None:
    """What is given: one thing, only to a program that takes it, and not by a method that waits for this one."""
    at, method = ("method_definitions", name), definitions[name]
    if name == TRUTH:
        raise KeyPathError(at, f"{TRUTH!r} is not allowed as a name; it stands for the true poses in poses_from")
    if method["poses_from"] is None:
        _check_needs(method, at)
    keys = [key for key in GIVEN_BY if method[key] is not None]
    if len(keys) > 1:
        raise KeyPathError((*at, keys[1]), f"is not allowed beside {keys[0]}; null is expected for one of them")
    for key in keys:
        takes, what = GIVEN_BY[key]
        if not card(method["program"]).get(takes):
            takers = ", ".join(program for program in programs() if card(program).get(takes)) or "none there"
            problem = f"the program {method['program']} takes no {what}; null is expected (those that do: {takers})"
            raise KeyPathError((*at, key), problem)
        _check_source(definitions, name, (*at, key))


def _check_needs(method: JsonObject, at: KeyPath) -> None:
    """Whether a method does without given poses."""
    program = method["program"]
    if card(program).get("needs_poses"):
        problem = f"is null; the program {program} needs poses, {TRUTH} or those of another method"
        raise KeyPathError((*at, "poses_from"), problem)
    for key, values in (card(program).get("needs_poses_for") or {}).items():
        if (value := method["parameters"][key]) in values:
            problem = f"{value} is not allowed without poses; poses_from is expected, {TRUTH} or a method's name"
            raise KeyPathError((*at, "parameters", key), problem)


def _check_source(definitions: JsonObject, name: str, at: KeyPath) -> None:
    """Who gives to a method must be there, and not wait for it."""
    chain, source = [name], given_from(definitions[name])
    while source is not None and source != TRUTH:
        check_name(source, [*definitions, TRUTH], at, f"{TRUTH} or a key of method_definitions")
        if source in chain:
            raise KeyPathError(at, f"{' <- '.join([*chain, source])} goes round in a circle")
        chain.append(source)
        source = given_from(definitions[source])


def given(definition: JsonObject) -> tuple[str, str] | None:
    """By which key of GIVEN_BY a method is given something, and whose it is: a method's name, or TRUTH.

    None if it finds its own from nothing.
    """
    return next(((key, definition[key]) for key in GIVEN_BY if definition.get(key) is not None), None)


def given_from(definition: JsonObject) -> str | None:
    """Whose it is alone."""
    found = given(definition)
    return None if found is None else found[1]


def given_sources(definitions: JsonObject, method: str) -> list[str]:
    """Who gives to a method, and who to that one, and so on; the last may be TRUTH."""
    sources: list[str] = []
    source = given_from(definitions[method])
    while source is not None:
        sources.append(source)
        source = None if source == TRUTH else given_from(definitions[source])
    return sources


def reads_truth(definitions: JsonObject, method: str) -> bool:
    """Whether a method is a bound: its program reads the truth, or what it is given is, however indirectly."""
    sources = given_sources(definitions, method)
    return any(name == TRUTH or card(definitions[name]["program"])["reads_truth"] for name in (method, *sources))
