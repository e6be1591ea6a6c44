"""Questions about running agents: what is answered, and how it travels."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.agent.introspection.local import ask_here, socket_name
from calico_openstack.agent.introspection.protocol import (
    Answer,
    Question,
    Table,
    answer,
    answer_key,
    decoded_answer,
    decoded_question,
    encoded,
    request_key,
    request_prefix,
)
from calico_openstack.agent.introspection.server import IntrospectionServer


def broken(_match: str) -> Iterator[dict[str, str]]:
    raise RuntimeError("the table is upside down")


TABLES = {
    "fruit": Table("what grows", lambda _: [{"name": "apple"}, {"name": "pear"}, {"name": "plum"}]),
    "echo": Table("what is asked", lambda match: [{"asked": match.upper()}], searches=True),
    "broken": Table("never right", broken),
}


def test_no_table_is_the_list_of_tables() -> None:
    found = answer(TABLES, Question(), "compute-1")
    assert [row["table"] for row in found.rows] == ["broken", "echo", "fruit"]
    assert found.host == "compute-1"


@pytest.mark.parametrize(
    ("question", "names", "total"),
    [
        (Question(table="fruit"), ["apple", "pear", "plum"], 3),
        (Question(table="fruit", match="p", limit=2), ["apple", "pear"], 3),
        (Question(table="fruit", match="ear"), ["pear"], 1),
        (Question(table="fruit", limit=-5), [], 3),
    ],
)
def test_rows_are_chosen_and_counted(question: Question, names: list[str], total: int) -> None:
    found = answer(TABLES, question, "h")
    assert [row["name"] for row in found.rows] == names
    assert found.total == total


def test_a_table_that_searches_gets_what_is_asked() -> None:
    assert answer(TABLES, Question(table="echo", match="a"), "h").rows == ({"asked": "A"},)


def test_an_unknown_table_is_told_with_those_that_exist() -> None:
    assert "fruit" in answer(TABLES, Question(table="vegetables"), "h").error


@given(st.lists(st.text(max_size=40), max_size=60), st.integers(60, 4000))
def test_answers_fit_and_keep_their_count(cells: list[str], largest: int) -> None:
    rows = tuple({"cell": cell} for cell in cells)
    data = encoded(Answer("h", rows, len(rows)), largest)
    found = decoded_answer(data)
    assert len(data) <= largest
    assert found.total == len(rows)
    assert found.rows == rows[: len(found.rows)]


@given(st.binary(max_size=200))
def test_what_is_no_question_is_refused_in_words(data: bytes) -> None:
    found = decoded_question(data)
    assert isinstance(found, Question) or found
    assert isinstance(decoded_answer(data), Answer)


def test_keys_of_questions_lead_to_one_host() -> None:
    assert request_key("compute-1", "x").startswith(request_prefix("compute-1"))
    assert not request_key("compute-12", "x").startswith(request_prefix("compute-1"))
    assert answer_key("x") != request_key("compute-1", "x")


@pytest.fixture
def program() -> Iterator[str]:
    """A server under a name of its own; its loop is a thread that calls what is queued."""
    calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def loop() -> None:
        while (function := calls.get()) is not None:
            function()

    name = f"test-{threading.get_native_id()}"
    thread = threading.Thread(target=loop)
    thread.start()
    server = IntrospectionServer(name, "compute-1", TABLES, calls.put)
    yield name
    server.close()
    calls.put(None)
    thread.join()


def test_a_program_of_this_host_answers(program: str) -> None:
    found = ask_here(Question(program, "fruit", "apple"))
    assert found == Answer("compute-1", ({"name": "apple"},), 1)


def test_a_table_that_fails_spoils_its_own_answer_only(program: str) -> None:
    assert "upside down" in ask_here(Question(program, "broken")).error
    assert ask_here(Question(program, "fruit")).total == 3


def test_nonsense_is_answered_and_the_next_question_too(program: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(socket_name(program))
        connection.sendall(b"{" * 100)
        connection.shutdown(socket.SHUT_WR)
        assert msgspec.json.decode(connection.recv(10000))["error"]
    assert ask_here(Question(program, "fruit")).total == 3


def test_a_second_of_the_same_name_does_not_disturb(program: str) -> None:
    IntrospectionServer(program, "compute-2", TABLES, lambda function: function())
    assert ask_here(Question(program, "fruit")).host == "compute-1"


def test_nobody_there_is_an_answer_too() -> None:
    assert "does not run" in ask_here(Question("nobody")).error
