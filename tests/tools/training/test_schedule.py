"""How long networks for boxed clutter are trained: two cosines, and which round shows which scenes."""

from __future__ import annotations

import pytest

from training import schedule
from training.schedule import Schedule


def test_the_learning_rate_rises_and_ends_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "WARM_STEPS", 2)
    rates = [schedule.learning_rate(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(schedule.LEARNING_RATE / 2)
    assert rates[1] == max(rates)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[100] == pytest.approx(0)


def test_further_rounds_have_a_cosine_of_their_own() -> None:
    both, first, second = Schedule(2, 3), Schedule(2), Schedule(3)
    steps = 2 * 3 * 100
    for step in (0, 1, 300, steps - 1):
        assert both.rate(step) == first.rate(step)
    for step in (0, 1, 300, 899):
        assert both.rate(steps + step) == second.rate(step)


def test_the_first_rounds_do_not_depend_on_how_many_follow() -> None:
    """What was trained already can be gone on from, as if more had been asked for at once."""
    first, both = Schedule(6), Schedule(6, 8, 7)
    assert [first.rate(step) for step in range(0, 1800, 50)] == [both.rate(step) for step in range(0, 1800, 50)]
    assert [first.scenes_of(number, 0) for number in range(6)] == [both.scenes_of(number, 0) for number in range(6)]


def test_later_rounds_see_scenes_again_in_turn_and_in_another_order() -> None:
    how = Schedule(2, 3, 3)
    assert [how.scenes_of(number, 1) for number in range(5)] == [2000, 2001, 2002, 2000, 2001]
    assert [how.seed_of(number, 1) for number in range(5)] == [2000, 2001, 2002, 2003, 2004]


def test_a_card_says_what_was_done() -> None:
    assert Schedule(6).told(0, "--split train") == (
        "6 rounds of 6400 scenes, --split train, --seed 1000 to 1005, 3 passes over each, channels of every batch in a "
        "random order"
    )
    assert Schedule(6).decay() == "all steps"
    assert Schedule(6).flags() == "--rounds 6"
    more = Schedule(6, 8, 7)
    assert "14 rounds" in more.told(0, "")
    assert "--seed 1000 to 1006 in turn, over and over" in more.told(0, "")
    assert "the last 8 rounds also rolled by up to 4 pixels" in more.told(0, "")
    assert more.decay() == "the steps of 6 rounds and again over those of the last 8 rounds, with products in bfloat16"
    assert more.flags() == "--rounds 6 --more 8 --different 7"
    assert "over and over" not in Schedule(2, 1, 5).told(0, "")
