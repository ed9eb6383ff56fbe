"""Our books against Sinch's ledger, once nothing is under way."""

from collections import Counter

from tests.kills.mortal import Clients, Mortal

_OPEN = ("scheduled", "queued", "sending", "late", "stopped")


def is_settled(service: Mortal) -> bool:
    """Nothing is to be sent, on its way or in doubt, but for what waits for an operator."""
    return not any(
        service.read(f"/api/broadcasts?limit=1&status={status}")["broadcasts"] for status in _OPEN
    )


def check_books(service: Mortal, clients: Clients, copies: Counter[str]) -> None:
    """Everybody whom a client was told of is counted, and nobody has more than one copy.

    Who is counted as accepted has one, and nobody else has any.
    """
    books = {book["broadcast_id"]: book for book in service.books()}
    orders = clients.accepted
    assert sorted(books) == sorted(str(order.broadcast_id) for order in orders)
    assert {number: n for number, n in copies.items() if n > 1} == {}
    wrong = []
    for order in orders:
        counts = books[str(order.broadcast_id)]["counts"]
        taken = sum(copies[number] for number in order.numbers)
        told = counts["accepted"] + counts["rejected"] + counts["uncertain"]
        if taken != counts["accepted"] or told != len(order.numbers):
            wrong.append((order.broadcast_id, len(order.numbers), taken, counts))
    assert wrong == []
    assert set(copies) <= {number for order in orders for number in order.numbers}
