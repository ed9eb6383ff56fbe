"""Something for every page to show: its address is made of these values.

A page whose address needs another value is not opened until it is made here.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.factories import broadcast_to
from tests.reporting import inbound

# A word that no line can be broken in.
LONG = "Wintergartenschlussverkaufsankuendigung" * 2
TAG = "a tag with samples"
_LONGEST_REFERENCE = 64


def make_samples(
    call: Callable[..., Any], hear: Callable[..., Any], texts: Sequence[str], **more: Any
) -> list[dict[str, Any]]:
    """For each text make a broadcast, a template, a person with it as names, and a text from them.

    `call` asks the API and returns the JSON of the answer; `hear` takes callbacks.  Returns values
    by the names of arguments of routes.
    """
    phones = [f"+4670{number:07}" for number in range(len(texts))]
    now = datetime.now(UTC).isoformat()
    people, heard, values = [], [], []
    for number, (phone, text) in enumerate(zip(phones, texts, strict=True)):
        reference = text[:_LONGEST_REFERENCE].strip()
        broadcast = broadcast_to(phone, message=text, reference=reference, allow_duplicate=True)
        sent = call("POST", "/api/broadcast", broadcast | more)
        template = {"name": f"sample-{number}", "texts": {"en": text}, "default_language": "en"}
        call("POST", "/api/templates", template)
        # Texts are numbered from 1.
        value = {"text_id": number + 1, "client": "tests", "name": template["name"], "tag": TAG}
        values.append({"broadcast_id": sent["broadcast_id"], **value})
        names = {"first_name": text, "last_name": text, "attributes": {"city": text}}
        people.append({"phone": phone, "tags": [TAG], **names})
        heard.append(inbound(phone, text, name=f"01SAMPLE{number:05}", received_at=now))
    hear(*heard)
    added = call("POST", "/api/subscribers/bulk", {"subscribers": people})
    assert added["created"] == len(texts), added
    shown = call("GET", f"/api/subscribers?limit={len(texts)}")["subscribers"]
    ids = {person["phone"]: person["subscriber_id"] for person in shown}
    made = call("POST", "/api/subscribers/imports", {})["import_id"]
    call("POST", "/api/suppressions", {"phone": "+46719999999", "note": texts[-1]})
    stopped = call("GET", "/api/suppressions?limit=1")["suppressions"][0]["suppression_id"]
    return [
        {**value, "import_id": made, "suppression_id": stopped, "subscriber_id": ids[phone]}
        for value, phone in zip(values, phones, strict=True)
    ]
