"""A person who is erased is in no draft any more, and old drafts are deleted."""

from dataclasses import replace
from datetime import timedelta

from app.ids import make_id
from app.sms.drafts.store import find_draft, list_drafts, old_drafts, save_draft
from app.sms.privacy.erase import erase_number
from tests.accounts.people import at_once

ANN, BOB = "+46701234567", "+46702345678"


def test_an_erased_number_is_removed_from_drafts(machine):
    ctx = machine.ctx
    draft_id = make_id(ctx.now())
    columns = {"numbers": f"{ANN}\n{BOB}"}
    save_draft(ctx, draft_id, {"message": "Hi"}, user="anna", columns=columns)

    erase_number(ctx, ANN, actor="tests")

    draft = find_draft(ctx, draft_id)
    assert (draft.numbers, draft.body) == (BOB, {"message": "Hi"})
    assert draft.version == 2


def test_a_draft_is_deleted_90_days_after_its_last_change(machine):
    ctx, clock = machine.ctx, machine.clock
    save_draft(ctx, make_id(ctx.now()), {"message": "Hi"}, user="anna")
    clock.advance(timedelta(days=89).total_seconds())
    assert old_drafts(ctx).delete(ctx.db) == 0

    clock.advance(timedelta(days=2).total_seconds())

    assert old_drafts(ctx).delete(ctx.db) == 1
    assert list_drafts(ctx).rows == []


def test_of_two_presses_that_make_a_draft_at_once_both_are_kept_in_one(either_service):
    ctx = either_service.extensions["clarion"]
    draft_id = make_id(ctx.now())

    results = at_once(
        ctx.db.engine.url.render_as_string(hide_password=False),
        *[lambda db: save_draft(replace(ctx, db=db), draft_id, {"message": "Hi"}, user="anna")] * 3,
    )

    assert results == [1, 1, 1]
