"""The broadcasts that a number is in: those to it alone, and those to many."""

from app.sms.audience.broadcasts_by_recipient import BEYOND_ALL, find_broadcasts_to

ANN, BOB, CLO = "+46701234567", "+46707654321", "+46700000003"


def _find(machine, number, *, before=BEYOND_ALL, limit=50, **how):
    with machine.ctx.db.read() as tx:
        return find_broadcasts_to(tx, number, before=before, limit=limit, **how)


def test_the_newest_come_first_whether_to_one_or_to_many(either_machine):
    machine = either_machine
    first, second = machine.store([ANN]), machine.store([ANN, BOB])
    machine.store([BOB])
    fourth = machine.store([ANN])
    fifth = machine.store([CLO, ANN], size=1)  # whose pieces are of one each

    assert _find(machine, ANN) == [fifth, fourth, second, first]
    assert _find(machine, ANN, before=fifth, limit=2) == [fourth, second]
    assert _find(machine, "+46799999999") == []


def test_only_what_was_handed_to_sinch_where_that_is_asked(either_machine, sandbox):
    machine = either_machine
    many, one = machine.store([ANN, BOB]), machine.store([ANN])
    assert _find(machine, ANN, handed_over=True) == []

    machine.submit()
    assert _find(machine, ANN, handed_over=True) == [many]
    machine.submit()
    assert _find(machine, ANN, handed_over=True) == [one, many]


def test_who_is_in_no_batch_yet_is_not_found(machine):
    machine.store([ANN], plan=False)

    assert _find(machine, ANN) == []
