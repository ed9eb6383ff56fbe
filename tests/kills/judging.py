"""Our books against Sinch's ledger, once nothing is under way."""

from collections import Counter

from tests.callers import count_taken
from tests.kills.mortal import Clients, Mortal

# The first is the most likely.  Then in the order of their changes, since each is asked for alone.
_OPEN = ("sending", "halted", "scheduled", "missed_start", "queued", "sending")


def is_settled(service: Mortal) -> bool:
    """Nothing is to be sent, on its way or in doubt, but for what waits for an operator."""
    return not any(
        service.read(f"/api/broadcasts?limit=1&status={status}")["broadcasts"] for status in _OPEN
    )


def check_books(service: Mortal, clients: Clients, copies: Counter[str]) -> None:
    """Everybody of whom a client was told is counted, and nobody has more than one copy.

    Who is counted as taken has one, and nobody else has any; of an order whose client got no
    answer either everything is true or nothing.
    """
    assert {number: n for number, n in copies.items() if n > 1} == {}
    shown = service.books()
    books = {book["reference"]: book for book in shown}
    assert len(books) == len(shown)
    wrong = []
    for order in clients.orders:
        book = books.pop(order.key, None)
        taken = sum(copies[number] for number in order.numbers)
        if book is None:
            fits = taken == 0 and order.broadcast_id is None
        else:
            counts = book["counts"]
            told = count_taken(counts) + counts["rejected"] + counts["unconfirmed"]
            fits = taken == count_taken(counts) and told == len(order.numbers)
            fits = fits and order.broadcast_id in (None, book["broadcast_id"])
        if not fits:
            wrong.append((order.key, order.broadcast_id, len(order.numbers), taken, book))
    assert wrong == []
    assert books == {}
    assert set(copies) <= {number for order in clients.orders for number in order.numbers}
