"""The particle's diameter as the unit of settings: what it makes of them, what it refuses, and what a run then does."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra_cases import Case, hydra, tiny, write_stack

from hydra_bench.cli.main import main
from hydra_bench.contracts.places import RUN_NAME
from hydra_bench.contracts.reconstruction import HISTORY_NAME
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.methods.hydra.diameter import REFERENCE_FILL, in_boxes, what_followed
from hydra_bench.methods.hydra.fit.training_input import TrainingInput, check_sizes
from hydra_bench.methods.hydra.settings import LARGEST_L, PRESETS, Settings, described

BOX_A = 422.4
"""Of the stacks that presets were measured on."""
DIAMETER_A = REFERENCE_FILL * BOX_A

IN_CYCLES = ("map_schedule", "l_schedule", "l_coarse", "refine_schedule", "l_encoder")
IN_BOXES = ("shift_extent", "feature_sigma", "particle_radius", "window")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("box_A", [BOX_A, 1.5 * BOX_A])
def test_null_leaves_every_setting_as_it_is(preset: str, box_A: float) -> None:
    settings = Settings.from_parameters({"preset": preset})
    assert in_boxes(settings, box_A) == settings
    assert what_followed(settings, box_A) is None


@pytest.mark.parametrize("preset", PRESETS)
def test_the_reference_box_has_the_settings_of_the_preset(preset: str) -> None:
    settings = Settings.from_parameters({"preset": preset})
    used = in_boxes(replace(settings, diameter_A=DIAMETER_A), BOX_A)
    for name, value in asdict(settings).items():
        assert getattr(used, name) == (pytest.approx(value) if isinstance(value, float) else value), name


def test_a_wider_box_has_as_much_higher_l_and_smaller_lengths() -> None:
    settings = Settings.from_parameters({"preset": "field", "refine_schedule": [14, 40], "diameter_A": DIAMETER_A})
    used = in_boxes(settings, 1.5 * BOX_A)
    assert used.l_schedule == (18,) * 4 + (21,) * 3 + (24,) * 3
    assert (used.l_coarse, used.l_encoder, used.refine_schedule) == (15, 18, (21, 60))
    np.testing.assert_allclose(used.map_schedule, 1.5 * np.array(settings.map_schedule), atol=0.5)
    for name in IN_BOXES:
        assert getattr(used, name) == pytest.approx(getattr(settings, name) / 1.5), name
    others = {"diameter_A", *IN_CYCLES, *IN_BOXES}
    assert {k: v for k, v in asdict(used).items() if k not in others} == {
        k: v for k, v in asdict(settings).items() if k not in others
    }


def test_nothing_is_left_to_apply_twice() -> None:
    used = in_boxes(Settings(diameter_A=DIAMETER_A), 1.5 * BOX_A)
    assert used.diameter_A is None
    assert in_boxes(used, 1.5 * BOX_A) == used


def test_radius_and_window_end_at_the_box() -> None:
    """In a box that is just as wide as the particle, 0.75 of half the reference box would be 1.10 of half of it."""
    tight = in_boxes(Settings(particle_radius=0.75, window=0.85, diameter_A=BOX_A), BOX_A)
    assert (tight.particle_radius, tight.window) == (1, 1)
    assert tight.shift_extent == pytest.approx(0.047 / REFERENCE_FILL)
    assert tight.l_schedule == tuple(round(REFERENCE_FILL * l) for l in Settings().l_schedule)
    assert in_boxes(Settings(window=None, diameter_A=BOX_A), BOX_A).window is None
    assert in_boxes(Settings(window=1.3, diameter_A=BOX_A), BOX_A).window == 1.3


def test_resolutions_stay_within_their_bounds() -> None:
    used = in_boxes(Settings(l_schedule=(1, LARGEST_L), diameter_A=BOX_A / 9), BOX_A)
    assert used.l_schedule == (6, LARGEST_L)
    assert in_boxes(Settings(l_schedule=(1,), diameter_A=BOX_A), BOX_A).l_schedule == (1,)


def test_every_setting_in_boxes_is_one_of_them() -> None:
    """A new one that says so of itself is to be scaled, too."""
    by_their_words = {
        name
        for name, content in described().items()
        if name != "diameter_A" and re.search(r"^Resolution|\bin (half )?boxes\b", content["description"])
    }
    assert by_their_words == {*IN_CYCLES, *IN_BOXES}


@pytest.mark.parametrize(
    ("diameter_A", "message"),
    [
        (0, "diameter_A: 0; more than 0 is allowed"),
        (-290, "diameter_A: -290; more than 0 is allowed"),
        ("wide", "diameter_A: 'wide'; a number, or null is expected"),
        (430, "diameter_A: 430; a box of 422.4 Å allows 42.2 to 422.4"),
        (29, "diameter_A: 29; a box of 422.4 Å allows 42.2 to 422.4"),
    ],
)
def test_what_is_refused(diameter_A: object, message: str) -> None:
    with pytest.raises(InputError) as refused:
        in_boxes(Settings.from_parameters({"diameter_A": diameter_A}), BOX_A)
    assert str(refused.value) == message


def test_a_resolution_that_the_box_cannot_hold_is_told_with_what_made_it() -> None:
    settings = Settings.from_parameters({"preset": "fine", "l_to_nyquist": False, "diameter_A": DIAMETER_A})
    check_sizes(settings, 100, 128, BOX_A)
    with pytest.raises(InputError) as refused:
        check_sizes(settings, 100, 96, 1.5 * BOX_A)
    by = "by diameter_A 287.232 (l_to_nyquist: true lowers it)"
    assert str(refused.value) == f"refine_schedule: 60; this box allows 1 to 47; {by}"
    check_sizes(replace(settings, l_to_nyquist=True), 100, 96, 1.5 * BOX_A)
    # Where only the number of pixels is known, nothing can be said of it.
    check_sizes(settings, 100, 96)


def test_a_checkpoint_is_that_of_what_followed(case: Case) -> None:
    given = tiny(diameter_A=150)
    start_from = TrainingInput(case.stack, given)
    used = in_boxes(given, start_from.box_A)
    assert start_from.box_A == pytest.approx(316.8)
    assert start_from.identity() == TrainingInput(case.stack, used).identity()
    assert start_from.identity() != TrainingInput(case.stack, replace(given, diameter_A=None)).identity()
    # One that no run can have must not stop a benchmark before it is recorded as a failed run.
    too_wide = TrainingInput(case.stack, tiny(diameter_A=400))
    assert too_wide.identity()["settings"]["diameter_A"] == 400
    with pytest.raises(InputError, match="diameter_A: 400"):
        too_wide.check()
    with pytest.raises(InputError, match="diameter_A: 400"):
        too_wide.schedule()


@pytest.fixture
def wide(case: Case, tmp_path: Path) -> Stack:
    """The same particles in a box 1.5 times as wide, with noise around them."""
    images = case.stack.read_images(np.arange(len(case.stack)))
    box, margin = 48, 8
    around = np.random.default_rng(3).standard_normal((len(images), box, box)).astype(np.float32)
    around[:, margin:-margin, margin:-margin] = images
    return write_stack(tmp_path / "wide", case.stack, around, case.stack.pixel_size_A)


def test_the_search_in_a_wide_box_is_that_of_the_tight_one_in_A(
    case: Case, wide: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resolutions and shifts of a run of the command, which says what it made of the diameter."""
    tight_A = case.stack.box_px * case.stack.pixel_size_A
    changes = {"l_schedule": (4, 6), "diameter_A": round(REFERENCE_FILL * tight_A, 3)}
    runs = {"tight": case.stack, "wide": wide}
    for name, stack in runs.items():
        assert main(hydra(stack.path, tmp_path / f"run_{name}", "--classes", "2", **changes)) == 0
    said = capsys.readouterr().err
    history = {name: pd.read_csv(tmp_path / f"run_{name}" / HISTORY_NAME).query("phase == 'search'") for name in runs}
    resolution_A = {
        name: (stack.box_px * stack.pixel_size_A / history[name]["l"]).to_numpy() for name, stack in runs.items()
    }
    np.testing.assert_allclose(resolution_A["tight"], tight_A / np.array([4, 6]))
    np.testing.assert_allclose(resolution_A["wide"], resolution_A["tight"])
    note = json.loads((tmp_path / "run_wide" / RUN_NAME).read_text())["notes"]["diameter"]
    assert note == (
        "diameter_A 215.424, 0.45 of the box of 475.2 Å (presets: 0.68): l_schedule 6 to 9, particle_radius 0.667, "
        "feature_sigma 0.0467, l_coarse 6, shift_extent 0.0313, l_encoder 9"
    )
    assert f"hydra-bench: {note}\n" in said
