"""Client for Sinch's SMS REST API (XMS v1).  Imports nothing of the rest of Clarion but deadlines.

Reference: https://developers.sinch.com/docs/sms/api-reference/

    SinchClient ── session (POST once, GET with a retry) ── Sinch
        │
        ├── schemas    our names ⇄ Sinch's JSON; no other package knows the latter
        └── errors     what a failure proves: not sent, or outcome unknown
    callbacks          Sinch's callbacks: check their signature, parse them

Numbers go in and come out in E.164 with `+`; times are aware UTC.
"""
