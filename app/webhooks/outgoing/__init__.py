"""Webhooks to clients: deliver events of the outbox to the endpoints that listen.

    outbox ──fan_out──> deliveries ──lease──> deliver ──http_client──> retry

endpoints    URLs, event types and secrets of clients
fan_out      one delivery per event and listening endpoint
lease        one worker leases an endpoint and its due deliveries
deliver      post leased deliveries; signing and http_client do the request
retry        record attempts: delivered, due again, abandoned; switch endpoints off
deliveries   list deliveries; post them again
url_policy   which URLs and addresses may be posted to
"""
