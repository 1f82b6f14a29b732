"""X3: requests with so many mistakes that listing them takes long."""

import json
import time
from collections.abc import Callable

import pytest

from services.gateway.http.fields import is_storable
from services.gateway.http.problems import FAULT_LIMIT
from shared.pipeline.errors import PipelineInvalid
from shared.pipeline.load import load
from tests.attack.payloads import HEAD
from tests.integration.gateway.serving import Serving

NAMES = [f"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz_{number}" for number in range(99)]


@pytest.mark.parametrize(("fields", "listed"), [(FAULT_LIMIT, FAULT_LIMIT), (FAULT_LIMIT + 1, 1), (5000, 1)])
async def test_x03_a_request_lists_a_bounded_number_of_mistakes(
    served: Serving, fields: int, listed: int
) -> None:
    wrong = {"name": "n", "email": "n@example.org"} | {f"x{number}": 1 for number in range(fields)}
    answer = (await served.admin.post("/users", wrong)).expect(422)
    assert len(answer.json["errors"]) == listed
    assert ("too_many_faults" in answer.text) == (fields > FAULT_LIMIT)


@pytest.mark.parametrize("path", ["/users", "/tokens", "/repositories"])
async def test_x03_bodies_without_a_document_are_small(served: Serving, path: str) -> None:
    raw = json.dumps({f"x{number}": 1 for number in range(8000)}).encode()
    assert len(raw) > 65536
    (await served.admin.post(path, raw=raw)).expect(413)


@pytest.mark.alone("a search is timed")
@pytest.mark.parametrize(
    "text",
    [
        HEAD
        + "".join(
            f"  {name}:\n    needs: [{', '.join(f'{other}q' for other in NAMES[:10])}]\n    steps: "
            f"[{{ run: a }}]\n"
            for name in NAMES
        ),
        HEAD + "".join(f"  {name}:\n    {'checkoutx' * 7}{number}: 1\n" for number, name in enumerate(NAMES)),
    ],
    ids=["needs", "keys"],
)
def test_x03_looking_for_what_was_meant_takes_a_bounded_time(text: str) -> None:
    def seconds(work: Callable[[], object]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    def refuse() -> None:
        with pytest.raises(PipelineInvalid):
            load(text)

    sound = HEAD + "".join(f"  {name}:\n    steps: [{{ run: {'a' * 500} }}]\n" for name in NAMES)
    assert seconds(refuse) < 0.25 + 3 * seconds(lambda: load(sound))


def test_x03_a_first_mistake_still_gets_its_hint() -> None:
    text = (
        HEAD
        + "  build:\n    stpes: []\n    steps: [{ run: a }]\n"
        + "  test:\n    needs: [bulid]\n    steps: [{ run: a }]\n"
    )
    with pytest.raises(PipelineInvalid) as caught:
        load(text)
    assert [problem.message.rpartition("mean ")[2] for problem in caught.value.problems] == [
        '"steps"?',
        '"build"?',
    ]


@pytest.mark.parametrize(
    ("text", "storable"),
    [("a" * 1000, True), ("é\U0001f600", True), ("a\0", False), ("\ud800", False), ("a\udfff", False)],
)
def test_x03_text_is_checked_without_a_look_at_each_character(text: str, storable: bool) -> None:
    assert is_storable(text) is storable
