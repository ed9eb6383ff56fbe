"""The `sms` blueprint: broadcasts and the batches they are cut into.

broadcast: what a client asked for, one text to an audience.
batch: one call to Sinch, 1 to 1,000 recipients.
message: one recipient's copy.

    routes ── answers ──┬── schemas ──┬── planning (pure)
                        └── sending ──┘
"""
