"""Webhooks: Sinch's come in, those of our clients go out."""
