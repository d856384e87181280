"""State of a visit's detector, from messages that come twice, late, or not at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from night_messages import START, a_visit, announced, began, ended

from prompt_processing.domain.outcome import Status
from prompt_processing.domain.outcome_message import OutcomeMessage
from prompt_processing.nights.records import State
from prompt_processing.nights.states import Content, merge

VISIT = a_visit()


def content(*messages: OutcomeMessage) -> Content:
    found = Content()
    for message in messages:
        found = merge(found, message)
    return found


def test_detector_waits_until_a_worker_begins_and_is_done_at_the_end() -> None:
    messages = [announced(VISIT, (94,)), began(VISIT), ended(VISIT)]
    states = [content(*messages[:n]).state for n in (1, 2, 3)]
    assert states == [State.WAITING, State.PROCESSING, State.DONE]


def test_retriable_failure_waits_for_the_next_attempt_and_is_a_problem() -> None:
    failed = content(ended(VISIT, status=Status.RETRIABLE, reason="S3 is down."))
    assert failed.state is State.WAITING
    assert failed.problem
    again = merge(failed, began(VISIT, "b", START + 50))
    assert again.state is State.PROCESSING


def test_attempt_after_a_processed_one_does_not_undo_it() -> None:
    repeated = ended(VISIT, "b", START + 90, Status.FAILED, "The APDB holds this visit already.")
    found = content(ended(VISIT), repeated)
    assert found.state is State.DONE
    assert not found.problem
    assert [one["status"] for one in found.attempts] == ["processed", "failed"]


@given(st.data())
def test_order_and_repetition_of_messages_do_not_matter(data: st.DataObject) -> None:
    messages = [
        announced(VISIT, (94,)),
        began(VISIT, "a", START + 1),
        ended(VISIT, "a", START + 30, Status.RETRIABLE, "S3 is down."),
        began(VISIT, "b", START + 40),
        ended(VISIT, "b", START + 80),
        ended(VISIT, "c", START + 90, Status.FAILED, "The APDB holds this visit already."),
    ]
    shuffled = data.draw(st.permutations([*messages, *data.draw(st.lists(st.sampled_from(messages)))]))
    assert content(*shuffled) == content(*messages)


def test_content_survives_the_database() -> None:
    found = content(began(VISIT), ended(VISIT))
    assert Content.load(found.dump()) == found
