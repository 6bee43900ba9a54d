"""Answers are brought here many at a time, and one that is lost costs no other answer."""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue
from types import SimpleNamespace

from gpuanom.cluster.connect import Connection
from gpuanom.cluster.fetch import MOST, Fetch


def future(status="finished", value=None):
    return SimpleNamespace(status=status, value=value)


class Client:
    """A client of Dask; the first messages fail, and futures may be lost then."""

    status = "running"

    def __init__(self, failing=0, lost=()):
        self.failing, self.lost, self.asked = failing, lost, []

    def sync(self, function, *arguments, callback_timeout):
        assert callback_timeout > 0
        return asyncio.run(function(*arguments))

    async def gather(self, futures, errors, asynchronous):
        assert (errors, asynchronous) == ("skip", True)
        self.asked.append(list(futures))
        if self.failing:
            self.failing -= 1
            for each in self.lost:
                each.status = "pending"
            raise TimeoutError
        return {i: each.value for i, each in futures.items()}


def results(client, futures):
    connection = object.__new__(Connection)
    connection.client = client
    return connection.results(futures)


def test_results_come_in_one_message():
    client = Client()
    assert results(client, [future(value=i) for i in range(5)]) == list(range(5))
    assert client.asked == [[0, 1, 2, 3, 4]]


def test_calls_that_failed_are_not_asked_for():
    client = Client()
    futures = [future("error"), future(value=1), future("cancelled")]
    assert results(client, futures) == [None, 1, None]
    assert client.asked == [[1]]


def test_a_lost_result_costs_no_other_result():
    futures = [future(value=i) for i in range(3)]
    client = Client(failing=1, lost=[futures[1]])
    assert results(client, futures) == [0, None, 2]
    assert client.asked == [[0, 1, 2], [0, 2]]


def test_nothing_is_asked_of_a_client_that_is_closed():
    client = Client()
    client.status = "closed"
    assert results(client, [future(value=1)]) == [None]
    assert client.asked == []


def test_what_comes_while_a_message_is_under_way_shares_the_next():
    sizes, begun, go = [], threading.Event(), threading.Event()

    def slow(futures):
        sizes.append(len(futures))
        begun.set()
        assert go.wait(10)
        return [each.value for each in futures]

    events = SimpleQueue()
    with Fetch(slow, events) as fetch:
        fetch.ask("first", future(value=0))
        assert begun.wait(10)
        for i in range(1, MOST + 3):
            fetch.ask(f"assignment {i}", future(value=i))
        go.set()
        found = [events.get(timeout=10) for _ in range(MOST + 3)]
    assert found == [("done", "first", 0), *(("done", f"assignment {i}", i) for i in range(1, MOST + 3))]
    assert sizes == [1, MOST, 2]


def test_an_error_is_left_to_the_futures_and_the_thread_goes_on():
    events = SimpleQueue()
    failing = [True]

    def results(futures):
        if failing.pop() if failing else False:
            raise RuntimeError("unforeseen")
        return ["answer"] * len(futures)

    with Fetch(results, events) as fetch:
        fetch.ask("first", future())
        assert events.get(timeout=20) == ("done", "first", None)
        fetch.ask("second", future())
        assert events.get(timeout=20) == ("done", "second", "answer")
