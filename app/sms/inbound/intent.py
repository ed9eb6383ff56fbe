"""The intent of an inbound: STOP, START, HELP or YES in the words of a phone's owner."""

from dataclasses import dataclass
from datetime import datetime

from app.keywords.classify import KeywordIntent, KeywordMatch, classify_texts
from app.phone.e164 import normalise_number
from app.sinch.schemas import SinchInbound, read_texts
from app.sms.inbound.reply_texts import is_own_reply
from app.subscribers.consent.ledger import ConsentEntry
from app.subscribers.models import ConsentKind

PERSON = "phone"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundIntent:
    """An inbound with an intent; `language` is the subscriber's."""

    phone: str
    at: datetime
    match: KeywordMatch
    inbound: SinchInbound
    language: str | None = None
    is_subscriber: bool = False

    def make_record(self, kind: ConsentKind, tag: str | None = None) -> ConsentEntry:
        """Return the consent record of this inbound, with its exact words."""
        return ConsentEntry(
            kind=kind,
            phone=self.phone,
            at=self.at,
            channel="sms",
            actor=PERSON,
            source=f"text {self.inbound.id}",
            wording="\n".join(read_texts(self.inbound.kind, self.inbound.body)),
            tag=tag,
        )


def find_intent(inbound: SinchInbound, now: datetime) -> InboundIntent | None:
    """Return an inbound with its intent, or None if it has none."""
    phone = normalise_number(inbound.sender)
    texts = read_texts(inbound.kind, inbound.body)
    match = classify_texts([text for text in texts if not is_own_reply(text)])
    if phone is None or match.intent is KeywordIntent.NONE:
        return None
    at = min(inbound.received_at or now, now)
    return InboundIntent(phone=phone, at=at, match=match, inbound=inbound)
