"""Requests and settings as tests need them; every argument says what the test is about."""

from datetime import UTC, datetime, timedelta
from typing import Any

KEY = "test-key-8c1f5b7e2a9d4c63b0e7f1a2"
AUTH = {"X-API-Key": KEY}

INSTANCE = "tests"

# Strong enough for production; made for these tests alone.
STRONG_KEY = "q7Zt3vXw9LrB2mNc5KdF8hJs4GpY6uAe"
STRONG_SECRET = "Hn4Rk8Wb2Tq6Vz9Mx3Lc7Pf5Yj1Sd0Ga"


def settings(**overrides: str) -> dict[str, str]:
    """An environment that starts a service for tests; an override of "" unsets."""
    base = {
        "APP_ENV": "test",
        "API_KEYS": f"tests:{KEY}",
        "SECRET_KEY": "a secret for tests",
        "SINCH_SERVICE_PLAN_ID": "sandbox",
        "SINCH_API_TOKEN": "sandbox",
        "SINCH_NUMBER": "+12015550199",
        "SINCH_REGION_URL": "http://127.0.0.1:9",
        "SINCH_CONNECT_TIMEOUT_S": "0.5",
        "SINCH_READ_TIMEOUT_S": "0.6",
        "SEND_BUDGET_S": "3",
        "LOOKUP_WAITS_S": "0.01,0.05,0.1",
        "RATE_LIMIT": "100000 per minute",
        "READ_RATE_LIMIT": "100000 per minute",
        "LOG_LEVEL": "debug",
        # Marketing at any hour, for whoever runs the tests at night.
        "QUIET_HOURS": "*=00:00-00:00",
        "INSTANCE_ID": INSTANCE,
    }
    return {name: value for name, value in (base | overrides).items() if value}


def production(**overrides: str) -> dict[str, str]:
    """An environment that production accepts."""
    return settings(
        **{
            "APP_ENV": "",
            "API_KEYS": f"shop:{STRONG_KEY}",
            "SECRET_KEY": STRONG_SECRET,
            "SINCH_SERVICE_PLAN_ID": "3f1b7c2d9e8a4f60b5d1c2e3f4a5b6c7",
            "SINCH_API_TOKEN": "9d2f6b1c8e7a4d53a0f1b2c3d4e5f607",
            "SINCH_REGION_URL": "https://eu.sms.api.sinch.com",
        }
        | overrides
    )


def broadcast_to(*recipients: Any, message: str = "Pickup moved to 08:30", **more: Any) -> Any:
    """The body of POST /api/broadcast."""
    return {"recipients": list(recipients), "message": message, **more}


def in_hours(hours: float) -> str:
    """The time so many hours from now, as a client writes it."""
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


def many_numbers(count: int, *, start: int = 0) -> list[str]:
    """That many numbers, all different."""
    return [f"+4670{number:07d}" for number in range(start, start + count)]
