"""What is imposed on a network: what its texts mean, and that every message is as old as a brute-force oracle says."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmtl.errors import ConfigError
from dmtl.links import Conditions, Link, Split, parse_joins, parse_link, parse_slow, parse_split

RANKS = 10
NUMBERS = st.floats(0, 1e9, allow_subnormal=False)
SHARES = st.floats(0, 1, exclude_max=True)
ROUNDS = st.integers(0, 10**9)


# texts


@given(delay=NUMBERS, jitter=NUMBERS, drop=SHARES, age=ROUNDS, order=st.permutations(range(4)))
def test_a_link_is_read_back_from_its_own_words_in_any_order(delay, jitter, drop, age, order):
    parts = [f"delay={delay!r}", f" jitter={jitter!r}", f"drop = {drop!r}", f"age={age}"]
    assert parse_link(",".join(parts[place] for place in order)) == Link(delay, jitter, drop, age)


@given(slow=st.dictionaries(st.integers(0, RANKS - 1), st.floats(1, 1e9)))
def test_slow_ranks_are_read_back(slow):
    assert parse_slow(",".join(f"{rank}:{factor!r}x" for rank, factor in slow.items()), RANKS) == slow
    assert parse_slow(", ".join(f"{rank}: {factor!r}" for rank, factor in slow.items()), RANKS) == slow


@given(joins=st.dictionaries(st.integers(0, RANKS - 1), ROUNDS))
def test_joins_are_read_back(joins):
    assert parse_joins(",".join(f"{rank}@{round}" for rank, round in joins.items()), RANKS) == joins


@given(
    numbers=st.lists(st.integers(0, 3), min_size=2, max_size=RANKS).filter(lambda row: len(set(row)) > 1),
    first=st.integers(0, 1000),
    length=st.integers(1, 1000),
)
def test_a_split_is_read_back(numbers, first, length):
    """Whatever the groups, in spans or rank by rank."""
    groups = [[rank for rank, number in enumerate(numbers) if number == one] for one in sorted(set(numbers))]
    spans = [f"{g[0]}-{g[-1]}" if g == list(range(g[0], g[-1] + 1)) else ",".join(map(str, g)) for g in groups]
    expected = {rank: place for place, group in enumerate(groups) for rank in group}
    found = parse_split(f"{'|'.join(spans)}@{first}-{first + length}", len(numbers))
    assert found == Split(expected, first, first + length)


def test_no_words_impose_nothing():
    assert parse_link("") == Link()
    assert (parse_slow("", 3), parse_joins("", 3)) == ({}, {})
    empty = Conditions()
    assert (empty.timed, empty.hides, empty.reach) == (False, False, 0)
    assert all(empty.age(round, 0, 1) == 0 for round in range(5))


@pytest.mark.parametrize(
    "text",
    [
        *("drop", "drop=", "=0.1", ",", "drop=0.1,", "speed=3", "Drop=0.1", "drop=x", "drop=nan", "drop=-0.1"),
        *("delay=inf", "delay=-1", "jitter=1s", "age=2.5", "age=x", "age=nan", "age=inf", "age=-1", "age=1e10"),
        *("drop=0.1,drop=0.2", "drop=0.1;age=2", "drop=0.1=0.2", "age=1e400"),
    ],
)
def test_a_bad_link_is_one_sentence_that_names_the_part(text):
    with pytest.raises(ConfigError, match=r"^link is '.*': '.*' is not understood\. Write delay=SECONDS, .*commas\.$"):
        parse_link(text)


@pytest.mark.parametrize("text", ["drop=1", "age=3,drop=1.5"])
def test_a_drop_that_leaves_nothing_is_refused(text):
    with pytest.raises(ConfigError, match=r"^link has drop=1.*It is a probability, at least 0 and below 1\.$"):
        parse_link(text)


HUGE = "9" * 5000

BAD = [
    *((parse_slow, text, "is not RANK:TIMESx") for text in ("3", "3:", "3:x", "3:0.5x", "3:nanx", "3:infx", "3:-2x")),
    *((parse_slow, text, "is no rank. A rank is 0 .. 9") for text in ("10:2x", "-1:2x", "a:2x", ":2x", HUGE + ":2x")),
    (parse_slow, "3:2x,3:4x", "rank 3 is named twice"),
    (parse_slow, "3:2x,", "is not RANK:TIMESx"),
    *((parse_joins, text, "is not RANK@ROUND") for text in ("3", "3@", "3@x", "3@-1", "3@1.5", "3@5,", "3@" + HUGE)),
    *((parse_joins, text, "is no rank. A rank is 0 .. 9") for text in ("10@2", "x@2", "@2", "1-2@5")),
    (parse_joins, "3@5,3@6", "rank 3 is named twice"),
    *(
        (parse_split, f"0-4|5-9{span}", "the rounds are missing or wrong")
        for span in ("", "@", "@5", "@5-", "@-5", "@5-5", "@6-5", "@a-b", "@1-2-3", "@0.5-2", "@1-" + HUGE)
    ),
    *(
        (parse_split, f"{groups}@1-2", "is no rank. A rank is 0 .. 9")
        for groups in ("0-4|5-10", "0-4|x", "0-4|", "|0-9", "0-4,|5-9", "0-|1-9", "-4|5-9", "0-4-5|6-9")
    ),
    *((parse_split, f"{groups}@1-2", "is named twice") for groups in ("0-5|5-9", "0,0|1-9", "0-9|3")),
    (parse_split, "4-0|5-9@1-2", "'4-0' runs backwards"),
    (parse_split, "0-4|5-8@1-2", "rank 9 is in no group"),
    (parse_split, "0-9@1-2", "all ranks are in one group"),
]


@pytest.mark.parametrize(("parser", "text", "reason"), BAD, ids=lambda value: str(value)[:20])
def test_other_bad_texts_are_one_line_that_says_what_was_got_and_what_is_allowed(parser, text, reason):
    with pytest.raises(ConfigError, match=re.escape(reason)) as caught:
        parser(text, RANKS)
    said = str(caught.value)
    assert said.startswith(f"{parser.__name__.removeprefix('parse_').removesuffix('s')} is {text!r}: ")
    assert "\n" not in said
    assert said.endswith(".")


# conditions


@st.composite
def conditions(draw, most: int = 6):
    """Any, on six ranks."""
    group = st.lists(st.integers(0, 1), min_size=6, max_size=6).map(lambda row: dict(enumerate(row)))
    span = st.tuples(st.integers(0, 20), st.integers(1, 15)).map(lambda pair: (pair[0], sum(pair)))
    splits = draw(st.lists(st.tuples(group, span), max_size=2))
    return Conditions(
        draw(st.integers(0, 100)),
        Link(drop=draw(st.sampled_from([0.0, 0.1, 0.5, 0.9])), age=draw(st.integers(0, most))),
        tuple(Split(group, *span) for group, span in splits),
        draw(st.dictionaries(st.integers(0, 5), st.integers(0, 15), max_size=2)),
    )


EDGES = st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda edge: edge[0] != edge[1])


@settings(max_examples=200)
@given(imposed=conditions(), edge=EDGES)
def test_the_age_is_that_of_the_newest_message_that_has_come_as_an_oracle_with_all_of_them_says(imposed, edge):
    """Each round's message is put in flight, if its link is in use; what comes too late for the reach is gone."""
    newest, flying = -1, []
    for round in range(40):
        if imposed.open(round, *edge):
            taken = imposed._taken(round, *edge)
            assert taken == math.inf or 0 <= taken <= imposed.link.age
            flying.append((round + taken, round))
        came = max((said for due, said in flying if due <= round), default=-1)
        assert came >= newest  # what has come does not go
        newest = came
        within = imposed.open(round, *edge) and newest >= max(0, round - imposed.reach)
        assert imposed.age(round, *edge) == (round - newest if within else -1)


@settings(max_examples=60)
@given(imposed=conditions(), edge=EDGES)
def test_words_never_go_back_in_time_and_the_same_question_has_the_same_answer(imposed, edge):
    ages = [imposed.age(round, *edge) for round in range(40)]
    said = [round - age for round, age in enumerate(ages) if age >= 0]
    assert said == sorted(said)
    again = Conditions(imposed.seed, imposed.link, imposed.splits, imposed.joins)
    assert [again.age(round, *edge) for round in reversed(range(40))] == ages[::-1]


@settings(max_examples=60)
@given(imposed=conditions(), edge=EDGES, round=st.integers(0, 40))
def test_both_ends_agree_on_what_is_open_and_only_both_being_there_opens_it(imposed, edge, round):
    u, v = edge
    cut = any(s.first <= round < s.end and s.group[u] != s.group[v] for s in imposed.splits)
    there = all(round >= imposed.joins.get(rank, 0) for rank in edge)
    assert imposed.open(round, u, v) == imposed.open(round, v, u) == (there and not cut)
    if not imposed.open(round, u, v):
        assert imposed.age(round, u, v) == imposed.age(round, v, u) == -1


def test_nobody_hears_what_was_said_before_he_joined_or_across_a_cut():
    late = Conditions(0, Link(age=3), joins={1: 10})
    assert {late.age(10, 0, 1), late.age(10, 1, 0)} <= {-1, 0}
    assert all(late.age(round, *edge) <= round - 10 for round in range(10, 20) for edge in ((0, 1), (1, 0)))
    cut = Conditions(0, Link(age=3), (Split({0: 0, 1: 1}, 10, 15),))
    said = {round - cut.age(round, 0, 1) for round in range(40) if cut.age(round, 0, 1) >= 0}
    assert said
    assert not said & set(range(10, 15))


@pytest.mark.parametrize("drop", [0.01, 0.1, 0.5, 0.95])
def test_as_many_are_lost_as_the_probability_says_and_the_ages_are_uniform(drop):
    """Within five standard deviations, on each of two directions."""
    imposed, n = Conditions(7, Link(drop=drop, age=4)), 4000
    for edge in ((0, 1), (1, 0)):
        taken = [imposed._taken(round, *edge) for round in range(n)]
        assert abs(taken.count(math.inf) - n * drop) < 5 * math.sqrt(n * drop * (1 - drop))
        for age in range(5):
            share = (1 - drop) / 5
            assert abs(taken.count(age) - n * share) < 5 * math.sqrt(n * share)


def test_where_messages_are_only_lost_a_lost_one_is_silence_and_no_older_one_stands():
    imposed = Conditions(3, Link(drop=0.3))
    ages = [imposed.age(round, 2, 5) for round in range(500)]
    assert set(ages) == {-1, 0}
    assert [age < 0 for age in ages] == [imposed.delay(round, 2, 5) == math.inf for round in range(500)]


def test_the_two_directions_of_a_link_and_two_seeds_have_draws_of_their_own():
    lost = [
        [Conditions(seed, Link(drop=0.5)).age(round, *edge) for round in range(64)]
        for seed, edge in ((0, (0, 1)), (0, (1, 0)), (0, (0, 2)), (1, (0, 1)))
    ]
    assert len(set(map(tuple, lost))) == 4


def test_seconds_on_the_way_are_between_delay_and_delay_plus_jitter():
    imposed = Conditions(5, Link(delay=0.5, jitter=0.25, drop=0.2))
    waits = [imposed.wait(round, 0, 1) for round in range(1000)]
    assert 0.5 <= min(waits) < 0.505
    assert 0.745 < max(waits) < 0.75
    for round, wait in enumerate(waits):
        assert imposed.delay(round, 0, 1) in (wait, math.inf)


def test_what_counts_as_timed_and_what_hides():
    for timed in ({"pace": 0.1}, {"slow": {1: 2.0}}, {"link": Link(delay=1.0)}, {"link": Link(jitter=1.0)}):
        assert (Conditions(**timed).timed, Conditions(**timed).hides) == (True, False)
    split = Split({0: 0, 1: 1}, 0, 1)
    for hides in ({"link": Link(drop=0.1)}, {"link": Link(age=1)}, {"splits": (split,)}, {"joins": {1: 3}}):
        assert (Conditions(**hides).timed, Conditions(**hides).hides) == (False, True)
    assert Conditions(slow={1: 3.0}).cost(1, 5) == 3 * Conditions().cost(1, 0)
    assert Conditions(slow={1: 3.0}, pace=2.0).cost(1, 5) == 6
    assert Conditions(link=Link(age=5)).reach == 15
