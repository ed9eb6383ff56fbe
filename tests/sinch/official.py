"""Sinch's official SDK, imported by the tests that use it alone: that takes a second a process."""

from importlib import import_module
from typing import Any


def official(module: str, name: str) -> Any:
    """Return what a module of the SDK calls by this name."""
    return getattr(import_module(f"sinch.{module}" if module else "sinch"), name)


def event_reader(secret: str) -> Any:
    """Return the SDK's reader of callbacks under a secret."""
    return official("domains.sms.sinch_events.v1.sms_sinch_event", "SmsSinchEvent")(secret)
