"""Who may be written to: subscribers, their tags, who wants nothing, and who agreed to what.

subscriber: a person we may write to, stored.
tag: a name that subscribers bear, and that a broadcast can go to.
audience: whom a broadcast is for, by tags and by what is known of people.
suppression: a number that is not written to, whoever asks; outlives its subscriber.
consent event: who agreed or objected, when, in which words: one link of a chain that only grows.

    routes ── schemas ──┬── records, upserting ── writing ──┐
                        ├── importing, exporting ───────────┼── tagging, suppressing ── consent
                        ├── reading, describing, tags ──────┘            │
                        └── audiences ── conditions ─────────────────── models
"""
