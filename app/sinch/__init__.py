"""Sinch's SMS REST API (XMS v1) as Python.  Knows nothing of the rest of Clarion.

Reference: https://developers.sinch.com/docs/sms/api-reference/

    SinchClient ── session (one POST, retried GETs) ── Sinch
        │
        ├── schemas   our words ⇄ Sinch's spelling; nothing outside this folder knows the latter
        └── errors    what a failure means: not sent, or unknown

Numbers go in and come out in E.164 with `+`; times are aware UTC.
"""
