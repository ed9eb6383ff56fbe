"""Who acts on a broadcast: its client, who asks again when no answer came, and the operators."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256

from app.errors import BadInput, ClarionError, Conflict, RequestRunning, SendFailed
from app.sms.broadcasts.create import create_broadcast
from app.sms.broadcasts.idempotency import RequestKey
from app.sms.broadcasts.store import accept_broadcast
from app.sms.context import Context
from app.sms.dispatch.submit import drain_broadcast
from app.sms.models.states import Category
from app.sms.recovery.attention import Decision
from app.sms.request.model import BroadcastRequest
from app.subscribers.audiences.audience import plain_tag
from app.text.segments import measure_text
from tests.simulation.database import Trouble
from tests.simulation.world import SimulatedClock, World

_TRIES = 4
# So long somebody who sends by hand looks on; looking ten times a second takes many steps.
_PATIENCE_S = 300.0


@dataclass(slots=True)
class Wanted:
    """What a client wants, and what it was told."""

    name: str
    recipients: list[str]
    key: RequestKey | None
    by_hand: bool
    # It goes to a tag of its own name, which these bear.
    to_tag: bool
    # Made with the first request; the same in those that follow.
    order: BroadcastRequest | None = None
    tries: int = 0
    told: str | None = None
    # A backup from before was put back.
    forgotten: bool = False
    # Whom an operator counted as sent.
    marked: set[str] = field(default_factory=set)


def make_orders(world: World, bad: set[str]) -> list[Wanted]:
    """What the clients of a run want; numbers that Sinch refuses are added to `bad`."""
    random = world.random
    orders = []
    for n in range(1, random.choice((1, 2, 3, 4)) + 1):
        size = random.choice((1, 1, 2, 3, 5, 9, 14))
        recipients = [
            # Some get several orders.
            f"+46700{0 if random.random() < 0.2 else n:02d}{i:03d}"
            for i in range(size)
        ]
        if "bad_numbers" in world.faults.odds:
            bad.update(each for each in recipients if random.random() < 0.2)
        name = f"order{n}"
        key = RequestKey(name, sha256(name.encode()).digest()) if random.random() < 0.6 else None
        by_hand = key is None and random.random() < 0.3
        orders.append(Wanted(name, recipients, key, by_hand, to_tag=random.random() < 0.25))
    return orders


def _make_order(world: World, wanted: Wanted) -> BroadcastRequest:
    random = world.random
    text = f"{wanted.name}: the bus leaves at 08:30"
    now = SimulatedClock(world).now()
    seconds_from_now = not wanted.by_hand and random.random() < 0.3
    start = now + timedelta(seconds=random.uniform(1, 900))
    brief = timedelta(seconds=random.choice((20, 120, 1200)))
    return BroadcastRequest(
        recipients=() if wanted.to_tag else wanted.recipients,
        audience=plain_tag(wanted.name) if wanted.to_tag else None,
        tag=wanted.name if wanted.to_tag else None,
        text=text,
        size=measure_text(text),
        send_at=start if seconds_from_now else None,
        expire_at=(start if seconds_from_now else now) + brief if random.random() < 0.15 else None,
        reference=wanted.name,
        category=random.choice(list(Category)),
        priority=random.choice((None, None, 1, 9)),
    )


def ask(world: World, ctx: Context, wanted: Wanted, answered: Callable[..., None]) -> None:
    """A client's request; without an answer it comes again, if it has a key."""
    wanted.tries += 1
    if wanted.order is None:
        wanted.order = _make_order(world, wanted)
    try:
        if wanted.by_hand:
            accepted = accept_broadcast(ctx, wanted.order, client="client")
            answered(wanted, {"broadcast_id": accepted.public_id})
            enough = ctx.clock.monotonic() + _PATIENCE_S
            for _ in drain_broadcast(
                ctx, accepted.id, accepted.first, stop=lambda: ctx.clock.monotonic() > enough
            ):
                pass
            return
        answer, _, _ = create_broadcast(
            ctx, wanted.order, client="client", key=wanted.key, production=True
        )
    except SendFailed as e:
        answered(wanted, dict(e.facts))
    except BadInput as e:
        world.note(f"{wanted.name}: 400 {e}")
    except RequestRunning:
        world.note(f"{wanted.name}: still running")
        raise
    except Trouble as e:
        world.note(f"{wanted.name}: 503 {e.orig}")
        raise
    else:
        answered(wanted, answer)


def may_ask_again(wanted: Wanted) -> bool:
    """Whether a client whose request was not answered tries once more."""
    return wanted.key is not None and not wanted.forgotten and wanted.tries < _TRIES


def act(world: World, what: Callable[[], object]) -> None:
    """Somebody's deed, which may not be possible as things stand."""
    try:
        what()
    except Conflict as e:
        world.note(f"refused: {e}")
    except (ClarionError, Trouble) as e:
        world.note(f"failed: {type(e).__name__}")


def decide(world: World, copies: list[int], *, careless: bool) -> Decision:
    """What an operator makes of a batch, having looked whom Sinch has; or without looking."""
    random = world.random
    if careless and random.random() < 0.5:
        return Decision.RESEND
    if all(copies):
        return random.choice((Decision.MARK_SENT, Decision.MARK_SENT, Decision.GIVE_UP))
    if any(copies):
        return Decision.GIVE_UP
    return random.choice((Decision.RESEND, Decision.RESEND, Decision.GIVE_UP))
