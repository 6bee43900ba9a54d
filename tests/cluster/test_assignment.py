"""Which worker gets which exposure: these tests start no processes and test the choice alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from gpuanom.cluster.assignment import Assignment, Attempt, send_again, start_clocks, to_move
from gpuanom.cluster.roster import Member
from gpuanom.records import Exposure

EXPOSURE = Exposure("1", "C", "r", "", 1.0, (), (), "", "")
_numbers = count()


def attempt(**options):
    return Attempt(replace(EXPOSURE, exposure=str(next(_numbers))), **options)


def send(attempt, member):
    member.assignments.append(Assignment([attempt], member))


def members(*loads, lanes=2):
    roster = [Member(f"w{i}", lanes, nanny=True, state="ready") for i in range(len(loads))]
    for member, n in zip(roster, loads, strict=True):
        for _ in range(n):
            send(attempt(), member)
    return roster


def fill(again, roster, most=100):
    """Send again what must be sent again, then new exposures while there is room."""
    new = []
    for member in send_again(again, roster, send):
        new.append(attempt())
        send(new[-1], member)
        assert len(new) < most
    return new


def test_new_exposures_fill_all_lanes_evenly_and_one_waits():
    roster = members(0, 1, 0, lanes=3)
    assert len(fill([], roster)) == 11
    assert [len(m.assignments) for m in roster] == [4, 4, 4]


def test_the_clock_runs_from_when_a_lane_is_free():
    (member,) = members(3, lanes=2)
    start_clocks(member)
    first, second, third = member.assignments
    assert None not in (first.since, second.since)
    assert third.since is None
    since = second.since
    member.assignments.remove(first)
    start_clocks(member)
    assert second.since == since <= third.since


def test_what_waits_at_busy_workers_goes_to_idle_ones():
    roster = members(3, 3, 0, 1, lanes=2)
    for member in roster:
        start_clocks(member)
    assert to_move(roster) == [roster[0].assignments[2], roster[1].assignments[2]]
    assert to_move(roster[:2]) == []


def test_what_may_have_killed_a_worker_is_alone_on_the_next():
    roster, again = members(1, 3), [attempt(alone=True)]
    assert fill(again, roster) == []  # the first worker takes no more work, the second has no room
    assert len(again) == 1
    roster[0].assignments.clear()
    assert fill(again, roster) == []
    assert again == []
    assert [len(m.assignments) for m in roster] == [1, 3]


def test_two_suspects_wait_for_two_workers():
    roster, again = members(0, 1, 0), [attempt(alone=True), attempt(alone=True)]
    new = fill(again, roster)
    assert again == []
    assert len(new) == 2
    assert [len(m.assignments) for m in roster] == [1, 3, 1]


def test_elsewhere_if_there_is_an_elsewhere():
    roster, again = members(0, 0), [attempt(avoid={"w0"}), attempt(avoid={"w0", "w1"})]
    first, second = again
    fill(again, roster)
    assert first in [assignment.attempts[0] for assignment in roster[1].assignments]
    assert second in [a.attempts[0] for a in roster[0].assignments + roster[1].assignments]


def test_never_where_its_files_are_not_seen():
    roster, again = members(0, 3), [attempt(blind={"w0"})]
    fill(again, roster)
    assert len(again) == 1


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
    st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from(["w0", "w1", "w2"]))), max_size=6),
)
def test_bounded_and_all_sent_in_the_end(loads, suspects):
    """For any load of the workers there are never more exposures than room, suspects are alone, and nothing waits for
    ever.
    """
    roster = members(*loads, lanes=3)
    again = [attempt(alone=alone, avoid=avoid) for alone, avoid in suspects]
    for _ in range(20):
        fill(again, roster)
        for member in roster:
            assert len(member.assignments) <= member.lanes + 1
            placed = [assignment for assignment in member.assignments if assignment.attempts[0].alone]
            assert not placed or len(member.assignments) == 1
        if not again:
            break
        for member in roster:
            if member.assignments:
                member.assignments.remove(min(member.assignments, key=lambda a: int(a.attempts[0].exposure.exposure)))
    assert not again
