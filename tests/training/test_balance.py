"""A discriminator that has won is told of, once, and nothing is said of a fair fight."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from training.balance import PATIENCE, Balance

WON, FAIR, FOOLED, BLIND = (0.99, 0.01), (0.8, 0.25), (0.7, 0.9), (0.5, 0.5)


def _said(*ticks):
    balance = Balance()
    return [
        balance.see({"cur_nimg": 2000 * n, "real_is_real": real, "fake_is_real": fake})
        for n, (real, fake) in enumerate(ticks, start=1)
    ]


def test_a_discriminator_that_has_won_is_told_of_when_it_lasts_and_once():
    said = _said(FAIR, *[WON] * 6)
    assert [bool(sentence) for sentence in said] == [False, False, False, True, False, False, False]
    assert said[3] == (
        "the discriminator has won, so the generator gets hardly any gradient to learn from (at 8,000 images it calls "
        "real faces real with 0.99 and generated ones with 0.01, 3 ticks in a row); if this lasts, lower "
        "discriminator.lr or its widths, or raise its dropout."
    )


def test_it_is_said_again_only_after_the_balance_was_found():
    said = _said(*[WON] * 3, FAIR, *[WON] * 3)
    assert [n for n, sentence in enumerate(said) if sentence] == [2, 6]
    assert not any(_said(*[WON, WON, FAIR] * 4))


def test_one_that_is_fooled_or_blind_teaches_nothing_either():
    fooled, blind = _said(*[FOOLED] * 3)[-1], _said(*[BLIND] * 3)[-1]
    assert fooled is not None
    assert blind is not None
    assert "has been fooled" in fooled
    assert "cannot tell real from generated" in blind


@given(st.lists(st.tuples(st.floats(0.55, 0.94), st.floats(0.06, 0.45)), max_size=20))
def test_nothing_is_said_of_a_fair_fight(ticks):
    assert not any(_said(*ticks))


@given(st.lists(st.sampled_from([WON, FAIR, FOOLED, BLIND]), max_size=30))
def test_whatever_is_said_has_lasted_and_is_one_sentence(ticks):
    for n, sentence in enumerate(_said(*ticks)):
        if sentence:
            assert len(set(ticks[n - PATIENCE + 1 : n + 1])) == 1
            assert ticks[n] != FAIR
            assert sentence.endswith(".")
            assert ". " not in sentence
