"""Swarm testing: each seed has some kinds of trouble and not the others, each more or less often.

With everything wrong all the time little ever gets far enough to go wrong in an interesting way.
https://dl.acm.org/doi/10.1145/2338965.2336763
"""

from dataclasses import dataclass, field
from random import Random

# The most that each kind may have: of one POST, one list, one transaction, one step.
POST_KINDS = {
    "unreachable": 0.4,  # no byte left
    "reset": 0.3,  # it left, Sinch did not process it, no answer
    "lost": 0.4,  # Sinch took it, no answer
    "error_before": 0.2,  # 5xx, not processed
    "error_after": 0.2,  # 5xx, taken
    "late": 0.2,  # no answer; Sinch takes it minutes later
    "busy": 0.4,  # 429
    "no_id": 0.3,  # 201 with an unusable body
    "odd": 0.1,  # an error that nobody foresaw, after it was taken
    "doubled": 0.05,  # something on the way repeats the request
    "refused": 0.15,  # 400 that has nothing to do with a number
}
ASK_KINDS = {
    "list_error": 0.6,  # 5xx, cut, unclean pages
    "list_busy": 0.3,
    "list_stale": 0.5,  # answered from a copy that lags behind
    "cancel_error": 0.5,
    "cancel_lost": 0.3,
}
CALLBACK_KINDS = {
    "callback_lost": 0.9,  # never told
    "callback_doubled": 0.5,
}
DATABASE_KINDS = {
    "db_read": 0.1,
    "db_begin": 0.2,
    "db_rollback": 0.1,
    "db_lost": 0.1,  # the commit took effect, its answer did not come
}
STEP_KINDS = {
    "crash": 0.06,
    "failpoint": 0.05,
    "freeze": 0.05,  # of one border: a task stops there, for longer than a lease perhaps
    "slow": 0.3,
    "jump": 0.01,  # our clock is set, forth or back
}
RUN_KINDS = {
    "lag": 0.35,  # Sinch's list shows a batch only after a while
    "outage": 0.3,  # 401, 402 or 403 for a time
    "dark": 0.2,  # out of reach for a time
    "bad_numbers": 0.35,  # numbers for which a whole batch is refused
    "restore": 0.12,
    "people": 0.5,  # pause, resume, cancel
    "careless": 0.3,  # an operator who resends without looking
    "texts": 0.6,  # people text STOP and START
    "nights": 0.3,  # it is quiet for a while
}
# Beyond the first byte's time, beyond a lease, beyond an operator's call.
_FREEZES_S = (8.0, 15.0, 60.0, 150.0, 400.0, 2000.0)
_CALM = 0.06
_EACH = 0.3


@dataclass(slots=True)
class Faults:
    """How likely each kind is; 0 for those that this run does not have."""

    odds: dict[str, float] = field(default_factory=dict)

    def strike(self, random: Random, kind: str) -> bool:
        """Whether this kind happens now."""
        odds = self.odds.get(kind, 0.0)
        return odds > 0 and random.random() < odds

    def draw_post(self, random: Random) -> str | None:
        """What becomes of a POST; None when all goes well."""
        return next((kind for kind in POST_KINDS if self.strike(random, kind)), None)

    def draw_delay(self, random: Random) -> float:
        """How long a task is held up at a border."""
        if self.strike(random, "freeze"):
            return random.choice(_FREEZES_S) * random.uniform(0.7, 1.3)
        if self.strike(random, "slow"):
            return random.uniform(0.0, 4.0)
        return random.uniform(0.0, 0.05)

    def stop(self) -> None:
        """From now on all goes well."""
        self.odds.clear()


def draw_faults(random: Random) -> Faults:
    """The kinds of trouble of one run."""
    if random.random() < _CALM:
        return Faults()
    odds: dict[str, float] = {}
    for kinds in (POST_KINDS, ASK_KINDS, CALLBACK_KINDS, DATABASE_KINDS, STEP_KINDS):
        for kind, most in kinds.items():
            if random.random() < _EACH:
                odds[kind] = most * random.choice((0.1, 0.3, 1.0))
    for kind, share in RUN_KINDS.items():
        if random.random() < share:
            odds[kind] = 1.0
    return Faults(odds)
