"""People text STOP and START: told by a callback, perhaps twice and late, or only in a list."""

from collections.abc import Callable
from dataclasses import dataclass, field

from app.keywords.classify import KeywordIntent, classify_keyword
from app.sinch.callbacks import parse_callback
from app.sinch.schemas import SinchInbound, format_time
from app.sms.inbound.reply_texts import Reply
from tests.reporting import inbound
from tests.simulation.sinch import SimulatedSinch, name_copy, name_reply
from tests.simulation.world import World

_STOPS = ("STOP", "Stop!", "please stop", "STOPP")
_OTHERS = ("START", "START", "HELP")
_WITHIN_S = 1_000.0
_DELAYS_S = (0.0, 0.0, 1.0, 30.0, 400.0)
_REPLIES = {
    KeywordIntent.STOP: Reply.STOP,
    KeywordIntent.START: Reply.START,
    KeywordIntent.HELP: Reply.HELP,
}


@dataclass(slots=True)
class Text:
    """A text that Sinch received, and whether we have answered a callback that brought it."""

    at: float
    number: str
    intent: KeywordIntent
    answered: bool = False


@dataclass
class Phones:
    """The phones of a run; `tell` brings a callback, `heed` is called behind each text."""

    world: World
    sinch: SimulatedSinch
    tell: Callable[[bytes, Text], None]
    heed: Callable[[], None] = lambda: None
    texts: list[Text] = field(default_factory=list)
    called_back: bool = True

    def plan(self, numbers: list[str]) -> None:
        """Draw when they text, if they do in this run."""
        random = self.world.random
        if "texts" not in self.world.faults.odds:
            return
        for _ in range(random.choice((1, 3, 8))):
            number = random.choice(numbers)
            at = random.choice((random.uniform(0, 120), random.uniform(0, _WITHIN_S)))
            self.world.seconds_from_now(at, self._make_text(number))
            if random.random() < 0.3:
                self.world.seconds_from_now(
                    at + random.choice((1.0, 60.0, 900.0)), self._make_text(number)
                )

    def has_stopped(self, number: str, *, jumped: bool) -> bool:
        """Whether we answered a STOP of this number behind which no START can be.

        Where our clock jumps, a START from before may seem to be from behind it.
        """
        stops = [text.at for text in self._of(number, KeywordIntent.STOP) if text.answered]
        starts = [text.at for text in self._of(number, KeywordIntent.START)]
        return bool(stops) and (not starts or (not jumped and max(starts) < max(stops)))

    def must_end_stopped(self, number: str, *, jumped: bool) -> bool:
        """The same of all that were texted, once all of them have been heard."""
        stops = [text.at for text in self._of(number, KeywordIntent.STOP)]
        starts = [text.at for text in self._of(number, KeywordIntent.START)]
        return bool(stops) and (not starts or (not jumped and max(starts) < max(stops)))

    def numbers_with(self, intent: KeywordIntent) -> set[str]:
        """Whoever texted this at any time."""
        return {text.number for text in self.texts if text.intent is intent}

    def may_be_answered_again(self) -> None:
        """A backup was put back, and our clock was wrong: what came when nobody can say."""
        for text in self.texts:
            self.sinch.allow(name_copy(name_reply(_REPLIES[text.intent]), text.number))

    def _of(self, number: str, intent: KeywordIntent) -> list[Text]:
        return [text for text in self.texts if text.number == number and text.intent is intent]

    def _make_text(self, number: str) -> Callable[[], None]:
        return lambda: self._text(number)

    def _text(self, number: str) -> None:
        world, random = self.world, self.world.random
        body = random.choice(_STOPS if random.random() < 0.7 else _OTHERS)
        text = Text(world.time, number, classify_keyword(body).intent)
        self.texts.append(text)
        world.note(f"TEXT {body} from {number}")
        raw = inbound(
            number,
            body,
            name=f"IN{len(self.texts)}",
            received_at=format_time(world.tell_time(world.time)),
        )
        said = parse_callback(raw)
        assert isinstance(said, SinchInbound)
        self.sinch.inbounds.append((world.time, said))
        self.sinch.allow(name_copy(name_reply(_REPLIES[text.intent]), number))
        world.seconds_from_now(random.choice((20.0, 400.0)), self.heed)
        if self.called_back and random.random() < 0.7:
            for _ in range(random.choice((1, 1, 2))):
                world.seconds_from_now(random.choice(_DELAYS_S), lambda: self.tell(raw, text))
