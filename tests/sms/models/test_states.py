"""The states of a batch and their moves, in the program and in the document for people."""

import re

from app.sms.lifecycle.counts import STATUS_BY_BATCH_STATE
from app.sms.models.states import BatchState
from tests.batch_moves import MOVES
from tests.environ import ROOT

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)


def _read_table(title):
    """The rows of a section's table as cells, without its head."""
    document = (ROOT / "docs" / "failure-model.md").read_text()
    parts = _SECTION.split(document)
    section = dict(zip(parts[1::2], parts[2::2], strict=True))[title]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_document_has_the_moves_of_the_program_each_once_and_with_its_reason():
    rows = _read_table("The moves of a batch")

    told = [(old, new) for old, new, _ in rows]
    assert len(told) == len(set(told))
    assert set(told) == {(old.value, new.value) for old in MOVES for new in MOVES[old]}
    assert [reason for _, _, reason in rows if not reason] == []


def test_the_document_has_each_state_and_the_word_it_is_counted_under():
    rows = _read_table("The states of a batch")

    assert {state: word for state, _, word in rows} == {
        state.value: str(STATUS_BY_BATCH_STATE.get(state, "–")) for state in BatchState
    }
    assert len(rows) == len(BatchState)
