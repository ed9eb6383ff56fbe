"""Sinch's side of the sandbox over HTTP.

- wire: sockets, keep-alive, faults; fake_responses: faulty answers
- access: plan and token; routes: the URLs
- batch_request, fields, queries: validation with Sinch's error codes
"""
