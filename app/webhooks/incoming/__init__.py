"""Callbacks from Sinch: stored before the answer, applied afterwards.

POST /webhooks/sinch ──> authenticate ──> store ──> 200
                                            └──> table events ──> apply

routes.py        the route, and its fast path in front of Flask
authenticate.py  signature or password
store.py         many callbacks in one commit; a STOP takes effect with it
apply.py         events → messages, inbounds, suppressions; the rest are dead letters
"""
