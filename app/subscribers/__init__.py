"""Subscribers, tags, audiences, suppressions and consent: the people a broadcast may go to.

subscriber: a person we may write to, with a number, tags and attributes
tag: a name assigned to subscribers, which an audience can select
audience: the subscribers that match tags and conditions
suppression: a number that is not written to; it outlives its subscriber
consent event: an opt-in or opt-out, one link of the append-only ledger

    imports ─> profiles ─┬─> tags ─────────┬─> audiences ─> context, models, attributes
                         └─> suppressions ─┴─> consent

`lists` and `fields` read lists of people and JSON bodies.
"""
