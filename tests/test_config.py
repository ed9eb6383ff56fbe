import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest
from dotenv import dotenv_values

from app.config import ConfigError, SendingRules, load_config, read_config
from app.config.scopes import KeyScope
from tests.commands import FLASK, run_code, run_command
from tests.environ import ROOT, clean_environ
from tests.factories import STRONG_KEY, production, settings

SIGNED = {"SINCH_WEBHOOK_SECRET": STRONG_KEY}


def test_a_complete_production_environment_is_accepted():
    config = read_config(production())

    assert config.production
    assert config.rate_limit == "100000 per minute"
    assert config.api_keys[0].client == "shop"
    assert config.sinch.url == "https://eu.sms.api.sinch.com"


def test_the_users_who_need_a_second_factor_are_none_senders_or_all():
    set_to = [read_config(settings(SECOND_FACTOR=value)) for value in ("", "Senders", " all ")]

    assert [config.second_factor for config in set_to] == ["off", "senders", "all"]
    with pytest.raises(ConfigError, match="set SECOND_FACTOR to off, senders or all"):
        read_config(settings(SECOND_FACTOR="admins"))


def test_neither_keys_nor_secrets_show_in_a_printed_configuration():
    environ = production()

    printed = repr(read_config(environ)) + repr(read_config(environ).sinch)

    assert STRONG_KEY not in printed
    assert environ["SINCH_API_TOKEN"] not in printed
    assert environ["SECRET_KEY"] not in printed


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"API_KEYS": ""}, "set API_KEYS"),
        ({"API_KEYS": " , "}, "set API_KEYS"),
        ({"ALLOWED_SENDERS": "shop"}, "ALLOWED_SENDERS must read like client:sender"),
        ({"ALLOWED_SENDERS": "shop:ACME,shop:Acme"}, "each client once"),
        ({"ALLOWED_SENDERS": "shpo:ACME"}, "'shpo', which is no client of API_KEYS"),
        ({"ALLOWED_SENDERS": "shop:"}, "shop has '', which is no sender"),
        ({"ALLOWED_SENDERS": "shop:ACME|Much too long a name"}, "which is no sender"),
        ({"ALLOWED_SENDERS": "shop:0701234567 8"}, "which is no sender"),
        ({"ALLOWED_COUNTRIES": "SE,Sweden"}, "'SWEDEN', which is no country"),
        ({"ALLOWED_COUNTRIES": "shop:SE,shop:NO"}, "'shop' twice"),
        ({"ALLOWED_NUMBER_KINDS": "premum"}, "perhaps premium: known are premium, shared_cost"),
        ({"API_KEYS": "short"}, "shorter than 32"),
        ({"API_KEYS": "shop:" + "short"}, "shorter than 32"),
        ({"API_KEYS": "change-me-" + STRONG_KEY}, "sample"),
        ({"API_KEYS": "your-api-key-" + STRONG_KEY}, "sample"),
        ({"API_KEYS": "a" * 40}, "not random"),
        ({"WEB_CONCURRENCY": "2"}, "WEB_CONCURRENCY=2 needs REDIS_URL"),
        ({"API_KEYS": f"a:{STRONG_KEY},b:{STRONG_KEY}"}, "same key twice"),
        ({"API_KEYS": f"a:{STRONG_KEY},a:{STRONG_KEY}"}, "same key twice"),
        ({"API_KEYS": f"shop[broadcast:send]:{STRONG_KEY}"}, "perhaps broadcasts:send; known are"),
        ({"API_KEYS": f"shop[]:{STRONG_KEY}"}, "shop has no scope"),
        ({"API_KEYS": f"shop[broadcasts:send:{STRONG_KEY}"}, "look at the brackets"),
        ({"API_KEYS": f"[broadcasts:send]:{STRONG_KEY}"}, "name in API_KEYS"),
        ({"API_KEYS": f"no blanks:{STRONG_KEY}"}, "name in API_KEYS"),
        ({"API_KEYS": f"clarion:{STRONG_KEY}"}, "the service itself"),
        ({"API_KEYS": f"people:{STRONG_KEY}"}, "choose another"),
        ({"API_KEYS": "clé:" + STRONG_KEY}, "name in API_KEYS"),
        ({"API_KEYS": "shop:" + STRONG_KEY + "é"}, "printable ASCII"),
        ({"SECRET_KEY": ""}, "set SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY is shorter"),
        ({"SECRET_KEY": "example" * 6}, "sample"),
        ({"SINCH_SERVICE_PLAN_ID": ""}, "set SINCH_SERVICE_PLAN_ID"),
        ({"SINCH_API_TOKEN": ""}, "set SINCH_API_TOKEN"),
        ({"SINCH_NUMBER": ""}, "set SINCH_NUMBER"),
        ({"SINCH_REGION_URL": ""}, "set SINCH_REGION_URL"),
        ({"SINCH_SERVICE_PLAN_ID": "sandbox"}, "sandbox's"),
        ({"SINCH_API_TOKEN": "sandbox"}, "sandbox's"),
        ({"SINCH_API_TOKEN": "your_api_token"}, "sample"),
        ({"SINCH_API_TOKEN": "two words"}, "without blanks"),
        ({"SINCH_SERVICE_PLAN_ID": "../other"}, "letters, digits"),
        ({"SINCH_NUMBER": "not a number!"}, "SINCH_NUMBER must be"),
        ({"SINCH_REGION_URL": "http://eu.sms.api.sinch.com"}, "must be https"),
        ({"SINCH_REGION_URL": "https://sms.api.sinch.com"}, "must be https"),
        ({"SINCH_REGION_URL": "https://eu.sms.api.sinch.com.evil.test"}, "must be https"),
        ({"SINCH_REGION_URL": "https://eu.sms.api.sinch.com:8443"}, "must be https"),
        ({"SINCH_REGION_URL": "https://eu.sms.api.sinch.com@evil.test"}, "scheme and host only"),
        ({"SINCH_REGION_URL": "https://eu.sms.api.sinch.com/other"}, "scheme and host only"),
        ({"SINCH_REGION_URL": "https://[eu"}, "not a URL"),
        ({"SINCH_REGION_URL": "http://127.0.0.1:8089"}, "must be https"),
        ({"SINCH_REGION_URL": "https://127.0.0.1"}, "must be https"),
        ({"FLASK_DEBUG": "1"}, "FLASK_DEBUG"),
        ({"FLASK_DEBUG": "anything"}, "FLASK_DEBUG"),
        ({"FLASK_DEBUG": "off"}, "FLASK_DEBUG"),
        ({"FLASK_DEBUG": " 0"}, "FLASK_DEBUG"),
        ({"FLASK_RUN_DEBUGGER": "1"}, "FLASK_RUN_DEBUGGER"),
        ({"API_KEYS": "shop:password" + STRONG_KEY}, "not random"),
        ({"API_KEYS": "1234567890" * 4}, "not random"),
        ({"API_KEYS": "abcdefghijk" * 4}, "not random"),
        ({"SINCH_API_TOKEN": '"9d2f6b1c8e7a4d53a0f1b2c3d4e5f607"'}, "quotes"),
        ({"SINCH_SERVICE_PLAN_ID": "my-sandbox"}, "sandbox's"),
        ({"RATE_LIMIT": "0 per minute"}, "at least 1"),
        ({"REDIS_URL": "http://user:s3cret@host"}, "REDIS_URL must"),
        ({"REDIS_URL": "redis//user:s3cret@host"}, "REDIS_URL must"),
        ({"REDIS_URL": "redis://user:s3cret@host:port"}, "REDIS_URL must"),
        ({"REDIS_URL": "redis://:s3/cret@host:6379/0"}, "write / as %2F"),
        ({"REDIS_URL": "redis://user:6#s3cret@host/0"}, "REDIS_URL must"),
        ({"REDIS_URL": "redis://host/clarion"}, "end in the number of a database"),
        ({"REDIS_URL": "redis://host/0/1"}, "end in the number of a database"),
        ({"REDIS_URL": "redis://host/-1"}, "end in the number of a database"),
        ({"REDIS_URL": "redis://host/0?socket_timeout=30"}, "leave out all other options"),
        ({"REDIS_URL": "redis://host/0?password=s3cret"}, "leave out all other options"),
        ({"REDIS_URL": "redis://host/0?ssl_cert_reqs=none"}, "leave out all other options"),
        ({"REDIS_URL": "rediss://host/0?ssl_cert_reqs=s3cret"}, "REDIS_URL must end"),
        ({"REDIS_URL": "redis://:s3cret@a/0;redis://:s3cret@b/0"}, "REDIS_URL must end"),
        ({"CELERY_BROKER_URL": "redis://host/0?foo=s3cret"}, "CELERY_BROKER_URL must end"),
        (
            {"REDIS_URL": "redis://host", "BROKER_URL": "amqp://u:s3cret@host"},
            "unset BROKER_URL",
        ),
        ({"SEND_BUDGET_S": "0.5"}, "SEND_BUDGET_S must be at least 2"),
        ({"SEND_BUDGET_S": "99999"}, "24 seconds together"),
        ({"LOOKUP_WAITS_S": "9,9,9"}, "24 seconds together"),
        ({"APP_ENV": "staging"}, "APP_ENV"),
        ({"PORT": "http"}, "PORT must be a whole number"),
        ({"PORT": "0"}, "PORT must be"),
        ({"HOST": "clarion.example.com"}, "HOST must be an IP address"),
        ({"HOST": "0.0.0.0:80"}, "HOST must be an IP address"),
        ({"PORT": "65536"}, "PORT must be"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"API_KEYS": "Change-Me-" + STRONG_KEY}, "sample"),
        ({"SINCH_API_TOKEN": "Sandbox-2"}, "sandbox's"),
        ({"SINCH_REGION_URL": "https://eu.sms.api.sinch.com?x=1"}, "scheme and host only"),
        ({"SINCH_REGION_URL": "https://eu.sms.api.sinch.com#x"}, "scheme and host only"),
        ({"MAX_BODY_BYTES": "999"}, "MAX_BODY_BYTES"),
        ({"RATE_LIMIT": "often"}, "RATE_LIMIT"),
        ({"SEND_BUDGET_S": "-1"}, "SEND_BUDGET_S"),
        ({"SEND_BUDGET_S": "nan"}, "SEND_BUDGET_S"),
        ({"SINCH_READ_TIMEOUT_S": "0"}, "SINCH_READ_TIMEOUT_S"),
        ({"LOOKUP_WAITS_S": "1,x"}, "LOOKUP_WAITS_S"),
        ({"TRUSTED_PROXIES": "all"}, "TRUSTED_PROXIES"),
        ({"DATABASE_URL": "mysql://user:s3cret@host/name"}, "DATABASE_URL must"),
        ({"DATABASE_URL": "user:s3cret@host/name"}, "DATABASE_URL must"),
        ({"DATABASE_URL": "postgresql://"}, "DATABASE_URL must"),
        ({"DATABASE_URL": "sqlite://"}, "DATABASE_URL must"),
        ({"DATABASE_URL": "sqlite:///"}, "DATABASE_URL must"),
        ({"DATABASE_URL": "sqlite:///:memory:"}, "DATABASE_URL must"),
        ({"DATABASE_URL": "sqlite:///file:x?mode=memory"}, "DATABASE_URL must"),
        ({"DYNO": "web.1"}, "no disk that stays (DYNO is set)"),
        ({"VCAP_APPLICATION": "{}"}, "no disk that stays (VCAP_APPLICATION is set)"),
        ({"K_SERVICE": "clarion"}, "no disk that stays (K_SERVICE is set)"),
        ({"DISK_STAYS": "off"}, "no disk that stays (DISK_STAYS=off)"),
        ({"DISK_STAYS": "maybe"}, "set DISK_STAYS to on or off"),
        ({"CELERY_BROKER_URL": "http://user:s3cret@host"}, "CELERY_BROKER_URL must"),
        ({"CELERY_BROKER_URL": "amqp//user:s3cret@host"}, "CELERY_BROKER_URL must"),
        ({"CELERY_BROKER_URL": "redis://user:s3cret@host:port"}, "CELERY_BROKER_URL must"),
        ({"CELERY_BROKER_URL": "db+sqlite:///s3cret.db"}, "CELERY_BROKER_URL must"),
        ({"BACKGROUND": "cron"}, "BACKGROUND to threads or celery"),
        ({"BACKGROUND": "celery"}, "needs a broker"),
        ({"INSTANCE_ID": "two words"}, "INSTANCE_ID must"),
        ({"INSTANCE_ID": "x" * 65}, "INSTANCE_ID must"),
        ({"FAILPOINT": "C3:1"}, "needs APP_ENV=test"),
        ({"SENDER_THREADS": "0"}, "SENDER_THREADS"),
        ({"SINCH_MESSAGES_PER_SECOND": "0"}, "SINCH_MESSAGES_PER_SECOND must be a number"),
        ({"SINCH_MESSAGES_PER_SECOND": "-30"}, "SINCH_MESSAGES_PER_SECOND must be a number"),
        ({"SINCH_MESSAGES_PER_SECOND": "inf"}, "SINCH_MESSAGES_PER_SECOND must be a number"),
        ({"SINCH_MESSAGES_PER_SECOND": "1e3"}, "SINCH_MESSAGES_PER_SECOND must be a number"),
        ({"REPEAT_PERCENT": "0"}, "REPEAT_PERCENT must be a whole number from 1 to 100"),
        ({"REPEAT_PERCENT": "101"}, "REPEAT_PERCENT must be a whole number from 1 to 100"),
        ({"REPEAT_WINDOW_S": "0"}, "REPEAT_WINDOW_S"),
        ({"RECONCILE_AFTER_S": "5,3"}, "RECONCILE_AFTER_S must be in ascending order"),
        ({"RECONCILE_AFTER_S": "5,,9"}, "RECONCILE_AFTER_S must be seconds"),
        ({"RECONCILE_LATER_EVERY_S": "0"}, "RECONCILE_LATER_EVERY_S"),
        ({"EXPIRE_AFTER_S": "259201"}, "3 days at most"),
        ({"MAX_START_DELAY_S": "soon"}, "MAX_START_DELAY_S"),
        ({"LEASE_S": "0"}, "LEASE_S"),
        ({"FIRST_BYTE_WITHIN_S": "x"}, "FIRST_BYTE_WITHIN_S"),
        ({"SWEEP_EVERY_S": "0"}, "SWEEP_EVERY_S"),
        ({"ABSENT_AFTER_S": "0"}, "ABSENT_AFTER_S"),
        ({"ABSENT_RECENT_S": "0"}, "ABSENT_RECENT_S"),
        ({"UNREADABLE_AFTER_S": "0"}, "UNREADABLE_AFTER_S"),
        ({"RETRY_WAIT_MAX_S": "0"}, "RETRY_WAIT_MAX_S"),
        ({"PROBE_EVERY_S": "0"}, "PROBE_EVERY_S"),
        ({"PUBLIC_URL": "https://sms.test"}, "set SINCH_WEBHOOK_SECRET or SINCH_WEBHOOK_BASIC"),
        ({"PUBLIC_URL": "http://sms.test", **SIGNED}, "PUBLIC_URL must be https"),
        ({"PUBLIC_URL": "sms.test", **SIGNED}, "PUBLIC_URL must read like"),
        ({"PUBLIC_URL": "ftp://sms.test", **SIGNED}, "PUBLIC_URL must read like"),
        ({"PUBLIC_URL": "https://", **SIGNED}, "PUBLIC_URL must read like"),
        ({"PUBLIC_URL": "https://user:s3cret@sms.test", **SIGNED}, "PUBLIC_URL must read like"),
        ({"PUBLIC_URL": "https://sms test", **SIGNED}, "PUBLIC_URL must read like"),
        ({"PUBLIC_URL": "https://sms.test:port", **SIGNED}, "PUBLIC_URL is not a URL"),
        ({"PUBLIC_URL": "https://[sms", **SIGNED}, "PUBLIC_URL is not a URL"),
        ({"PUBLIC_URL": "https://sms.test/path", **SIGNED}, "scheme and host only"),
        ({"PUBLIC_URL": "https://sms.test?x=1", **SIGNED}, "scheme and host only"),
        ({"PUBLIC_URL": "https://sms.test#x", **SIGNED}, "scheme and host only"),
        ({"PUBLIC_URL": f"https://{'a' * 2000}.test", **SIGNED}, "scheme and host only"),
        ({"SINCH_WEBHOOK_SECRET": "short"}, "SINCH_WEBHOOK_SECRET is shorter"),
        ({"SINCH_WEBHOOK_SECRET": "change-me-" + STRONG_KEY}, "SINCH_WEBHOOK_SECRET is a sample"),
        ({**SIGNED, "SINCH_WEBHOOK_SECRET_OLD": "short"}, "SINCH_WEBHOOK_SECRET_OLD is shorter"),
        ({"SINCH_WEBHOOK_SECRET_OLD": STRONG_KEY}, "only for a new SINCH_WEBHOOK_SECRET"),
        ({"SINCH_WEBHOOK_BASIC": STRONG_KEY}, "SINCH_WEBHOOK_BASIC must read like"),
        ({"SINCH_WEBHOOK_BASIC": ":" + STRONG_KEY}, "SINCH_WEBHOOK_BASIC must read like"),
        ({"SINCH_WEBHOOK_BASIC": "sinch:s3cret"}, "password in SINCH_WEBHOOK_BASIC is shorter"),
        ({"SINCH_WEBHOOK_BASIC": "é:" + STRONG_KEY}, "user in SINCH_WEBHOOK_BASIC"),
        ({"DELIVERY_REPORT": "sometimes"}, "DELIVERY_REPORT to none, summary"),
        ({"METRICS_TOKEN": "short"}, "METRICS_TOKEN is shorter"),
        ({"METRICS_DIR": "metrics"}, "METRICS_DIR must be an absolute path"),
        ({"SENTRY_DSN": "s3cret"}, "SENTRY_DSN must read like"),
        ({"SENTRY_DSN": "http://s3cret@sentry.example/1"}, "SENTRY_DSN must read like"),
        ({"SENTRY_DSN": "https://sentry.example/1"}, "SENTRY_DSN must read like"),
        ({"SENTRY_DSN": "https://s3cret:s3cret@sentry.example/1"}, "SENTRY_DSN must read like"),
        ({"SENTRY_DSN": "https://s3cret@sentry.example/project"}, "SENTRY_DSN must read like"),
        ({"SENTRY_DSN": "https://s3cret@sentry.example:x/1"}, "SENTRY_DSN must read like"),
    ],
)
def test_production_refuses_with_one_line_that_names_the_setting(overrides, reason):
    with pytest.raises(ConfigError) as refused:
        read_config(production(**overrides))

    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_debug_that_is_off_is_no_obstacle(value):
    assert read_config(production(FLASK_DEBUG=value)).production


def test_blanks_around_a_key_are_not_a_part_of_it():
    spaced = read_config(production(API_KEYS=f" shop : {STRONG_KEY} ,"))

    assert spaced.api_keys == read_config(production()).api_keys


def test_an_empty_environment_is_production_and_refused():
    with pytest.raises(ConfigError, match="set API_KEYS"):
        read_config({})


def test_outside_production_the_sandbox_and_short_keys_will_do():
    config = read_config(settings(API_KEYS="k", SINCH_REGION_URL="http://localhost:8089"))

    assert config.sinch.url == "http://localhost:8089"


@pytest.mark.parametrize("url", ["http://10.0.0.1:80", "https://example.test", "ftp://127.0.0.1"])
def test_outside_production_too_only_sinch_and_loopback_are_called(url):
    with pytest.raises(ConfigError, match="loopback"):
        read_config(settings(SINCH_REGION_URL=url))


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://us.sms.api.sinch.com", "https://us.sms.api.sinch.com"),
        ("https://us.sms.api.sinch.com/", "https://us.sms.api.sinch.com"),
        ("https://us.sms.api.sinch.com:443/xms/v1/", "https://us.sms.api.sinch.com"),
        ("https://US.sms.api.sinch.com", "https://us.sms.api.sinch.com"),
    ],
)
def test_the_sinch_url_may_be_written_as_people_copy_it(given, used):
    assert read_config(production(SINCH_REGION_URL=given)).sinch.url == used


def test_a_sinch_number_may_lack_its_plus():
    assert read_config(production(SINCH_NUMBER="46700000900")).sinch.sender == "+46700000900"


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg"], ids=["heroku", "libpq", "ours"]
)
def test_a_postgresql_url_may_be_written_as_people_copy_it(scheme):
    config = read_config(production(DATABASE_URL=f"{scheme}://user:pass@host:5432/name?sslmode=x"))

    assert config.database_url == "postgresql+psycopg://user:pass@host:5432/name?sslmode=x"


@pytest.mark.parametrize(
    "settings",
    [
        {"DYNO": "web.1", "DATABASE_URL": "postgres://user:pass@host/name"},
        {"DYNO": "web.1", "DISK_STAYS": "on"},
    ],
    ids=["PostgreSQL", "a volume"],
)
def test_where_nothing_is_lost_with_the_disk_a_host_may_have_any(settings):
    assert read_config(production(**settings)).database_url


def test_what_works_in_the_background_follows_from_the_broker_unless_it_is_named():
    redis = {"REDIS_URL": "redis://host:6379/0"}

    assert read_config(production()).background == "threads"
    assert read_config(production(**redis)).background == "celery"
    assert read_config(production(**redis)).broker_url == redis["REDIS_URL"]
    assert read_config(production(CELERY_BROKER_URL="sqs://")).background == "celery"
    assert read_config(production(BACKGROUND="Threads", **redis)).background == "threads"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("redis://host", "redis://host/0"),
        ("redis://host:6380/", "redis://host:6380/0"),
        ("REDIS://:s3cret@Host:6379/2", "redis://:s3cret@Host:6379/2"),
        ("redis://host:6379?db=3", "redis://host:6379/3"),
        ("rediss://host/0?ssl_cert_reqs=CERT_NONE", "rediss://host/0?ssl_cert_reqs=none"),
    ],
)
def test_the_limits_and_celery_read_one_url_of_redis_alike(written, read):
    config = read_config(production(REDIS_URL=written, BROKER_URL=written))

    assert (config.redis_url, config.broker_url) == (read, read)
    assert read_config(production(CELERY_BROKER_URL=written)).broker_url == read


def test_a_broker_of_its_own_wins_over_redis_but_does_not_count_the_limits():
    config = read_config(
        production(REDIS_URL="redis://host:6379/0", CELERY_BROKER_URL="amqp://host//")
    )

    assert (config.broker_url, config.redis_url) == ("amqp://host//", "redis://host:6379/0")


def test_an_instance_without_a_name_is_known_by_its_plan_and_secret():
    names = {
        read_config(production(INSTANCE_ID="", **other)).instance_id
        for other in (
            {},
            {"SINCH_SERVICE_PLAN_ID": "4f1b7c2d9e8a4f60b5d1c2e3f4a5b6c7"},
            {"SECRET_KEY": STRONG_KEY},
        )
    }

    assert len(names) == 3
    assert read_config(production(INSTANCE_ID="")).instance_id in names
    assert read_config(production(INSTANCE_ID="clarion-eu")).instance_id == "clarion-eu"


@pytest.mark.parametrize("value", ["C3", "C3:0", "C3:-1", ":1", "C 3:1", "C3:1:2"])
def test_a_failpoint_is_a_name_and_a_count(value):
    with pytest.raises(ConfigError, match="name:count"):
        read_config(settings(FAILPOINT=value))


def test_a_failpoint_is_for_tests_alone():
    assert read_config(settings(FAILPOINT="C3:2")).failpoint == ("C3", 2)
    with pytest.raises(ConfigError, match="needs APP_ENV=test"):
        read_config(settings(APP_ENV="development", FAILPOINT="C3:2"))


def test_what_is_unset_is_as_the_failure_model_says():
    rules = read_config(production(SEND_BUDGET_S="", LOOKUP_WAITS_S="")).rules

    assert rules == SendingRules()
    assert (rules.lease_s, rules.first_byte_within_s, rules.budget_s) == (120, 10, 20)
    assert rules.reconcile_after_s == (5, 15, 30, 60, 120, 300, 600, 900)
    assert (rules.absent_lists, rules.absent_after_s, rules.absent_recent_s) == (5, 900, 300)
    assert (rules.unreadable_after_s, rules.reconcile_later_every_s) == (1800, 3600)
    assert (rules.expire_after_s, rules.repeat_window_s, rules.repeat_share) == (86400, 86400, 0.5)
    assert (rules.idempotency_kept_s, rules.commit_retry_s) == (30 * 86400, 20)
    assert rules.messages_per_second is None


def test_keys_without_a_name_get_one_that_does_not_depend_on_their_order():
    one, two = STRONG_KEY, STRONG_KEY[::-1]

    first = read_config(production(API_KEYS=f"{one},{two}")).api_keys
    second = read_config(production(API_KEYS=f"{two},{one}")).api_keys

    assert {key.client for key in first} == {key.client for key in second}
    assert all(re.fullmatch(r"key-[0-9a-f]{8}", key.client) for key in first)


def test_without_a_public_url_sinch_is_not_told_where_to_report():
    config = read_config(production())

    assert (config.public_url, config.callback_url) == (None, None)
    assert not config.webhook_auth
    assert config.delivery_report == "per_recipient_final"


@pytest.mark.parametrize(
    "given", ["https://sms.test", "https://sms.test/", " https://sms.test// ", "https://[::1]:8443"]
)
def test_with_a_public_url_sinch_reports_to_a_path_of_ours(given):
    config = read_config(production(PUBLIC_URL=given, **SIGNED))

    assert config.callback_url == given.strip(" /") + "/webhooks/sinch"


def test_outside_production_sinch_may_be_a_sandbox_on_http():
    config = read_config(settings(PUBLIC_URL="http://127.0.0.1:3000"))

    assert config.callback_url == "http://127.0.0.1:3000/webhooks/sinch"


def test_two_secrets_live_while_one_is_changed_for_the_other():
    old = {"SINCH_WEBHOOK_SECRET_OLD": STRONG_KEY[::-1]}

    assert read_config(production(**SIGNED)).webhook_auth.secrets == (STRONG_KEY,)
    assert read_config(production(**SIGNED, **old)).webhook_auth.secrets == (
        STRONG_KEY,
        STRONG_KEY[::-1],
    )


def test_a_password_may_stand_for_a_signature_and_shows_in_nothing_printed():
    basic = f"sinch:{STRONG_KEY}:x"

    config = read_config(production(PUBLIC_URL="https://sms.test", SINCH_WEBHOOK_BASIC=basic))

    assert config.webhook_auth.basic == basic
    assert STRONG_KEY not in repr(config.webhook_auth)


class _Recording(Mapping[str, str]):
    """An environment that remembers which names were asked for."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ, self.asked = environ, set[str]()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self.environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.environ)

    def __len__(self) -> int:
        return len(self.environ)


def test_every_setting_is_in_the_example_and_the_example_has_no_other():
    environ = _Recording(production())

    read_config(environ)

    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", example, re.M)) == environ.asked | {
        "ENV_FILE"
    }


def test_pages_name_only_settings_that_there_are():
    example = (ROOT / ".env.example").read_text()
    pages = "".join(path.read_text() for path in (ROOT / "app/web").rglob("*.py"))

    named = set(re.findall(r"\b(?:SINCH|SUPPRESSION)_[A-Z_]+", pages))

    assert "SUPPRESSION_KEY" in named
    assert [name for name in sorted(named) if not re.search(rf"^#? ?{name}=", example, re.M)] == []


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        [*FLASK, "run", "--port", "0"],
        [*FLASK, "sandbox"],
        [sys.executable, "-m", "wsgi"],
        [sys.executable, "-m", "celery", "--app", "app.worker.queue", "worker"],
    ],
    ids=["gunicorn", "flask run", "flask sandbox", "wsgi", "celery"],
)
def test_an_unsafe_start_ends_with_one_clear_line_and_code_78(command):
    ended = run_command(command, production(API_KEYS="short"))

    assert ended.returncode == 78
    assert ended.stderr == "clarion: a key in API_KEYS is shorter than 32 characters\n"
    assert ended.stdout == ""


def test_flask_run_with_debug_is_refused_in_production():
    command = [*FLASK, "run", "--debug", "--port", "0"]

    ended = run_command(command, production())

    assert ended.returncode == 78
    assert "FLASK_DEBUG" in ended.stderr


def test_flask_run_with_a_debugger_is_refused_in_production():
    command = [*FLASK, "run", "--debugger", "--port", "0"]

    ended = run_command(command, production())

    assert ended.returncode == 78
    assert "--debugger" in ended.stderr


def test_the_sandbox_is_refused_in_production():
    ended = run_command([*FLASK, "sandbox"], production())

    assert ended.returncode == 1
    assert "not for production" in ended.stderr


def test_settings_are_read_from_an_env_file_and_the_environment_wins(tmp_path):
    file = tmp_path / "settings.env"
    lines = [f"{name}={value}" for name, value in production(PORT="4001").items()]
    file.write_text("\n".join([*lines, "SINCH_NUMBER=${PORT}"]))
    show = "import app.config as c; k=c.load_config(); print(k.port, k.log_level, k.sinch.sender)"

    printed = run_code(show, ENV_FILE=str(file), LOG_LEVEL="error", SINCH_NUMBER="Acme").stdout

    assert printed == "4001 ERROR Acme\n"


@pytest.fixture
def find_warnings(monkeypatch, tmp_path):
    """A function that reads these settings and no others, and returns the warnings.

    It does so in this process: one of its own takes 0.2 core-seconds.
    """

    def find_warnings(in_file=(), **environ):
        path = tmp_path / "some.env"
        values = {**production(), **dict(in_file)}
        path.write_text("\n".join(f"{name}={value}" for name, value in values.items()))
        monkeypatch.setattr(os, "environ", clean_environ({"ENV_FILE": str(path), **environ}))
        return [*load_config().warnings]

    return find_warnings


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WEB_CONCURENCY", "WEB_CONCURRENCY"),
        ("REDIS_URI", "REDIS_URL"),
        ("DATABASEURL", "DATABASE_URL"),
        ("SEND_BUDGET", "SEND_BUDGET_S"),
        ("rate_limits", "RATE_LIMIT"),
    ],
)
def test_a_misspelt_setting_is_warned_about_wherever_it_is(find_warnings, name, meant):
    warning = f"{name} is not a setting of Clarion and has no effect: perhaps you mean {meant}"

    assert find_warnings(**{name: "3"}) == [warning]
    assert find_warnings({name: "3"}) == [warning]


def test_settings_of_other_programs_are_no_misspelt_ones(find_warnings):
    others = {"REDIS_TLS_URL": "x", "DATABASE_CONNECTION_POOL_URL": "x", "HOSTNAME": "x"}
    others |= {"SECRET_KEY_BASE": "x", "PORTAGE_HOME": "x", "DYNO": "web.1", "PYTHONPATH": ""}
    others["DISK_STAYS"] = "on"

    assert find_warnings(**others) == []
    assert find_warnings({"DYNO": "web.1"}, DISK_STAYS="on") == [
        "DYNO is not a setting of Clarion and has no effect (see .env.example)"
    ]


def test_in_development_the_rate_limit_locks_nobody_out_and_in_production_it_is_as_told():
    def read(env):
        config = read_config(settings(APP_ENV=env, RATE_LIMIT="", READ_RATE_LIMIT=""))
        return config.rate_limit, config.read_rate_limit

    assert read("development") == ("10000 per 15 minutes", "100000 per 15 minutes")
    assert read("test") == ("100 per 15 minutes", "1000 per 15 minutes")
    strict = read_config(production(RATE_LIMIT="", READ_RATE_LIMIT=""))
    assert strict.rate_limit == "100 per 15 minutes"


def test_the_defaults_are_those_that_the_example_tells():
    example = dotenv_values(ROOT / ".env.example", interpolate=False)
    needed = {"APP_ENV": "development", "API_KEYS": "k", "SECRET_KEY": "s"}
    sinch = {name: example[name] for name in example if name.startswith("SINCH_")}
    required = needed | {name: sinch[name] for name in sinch if not name.endswith("_S")}

    assert read_config(required) == read_config({**example, **needed})


def test_a_key_has_the_scopes_between_its_brackets_or_all_but_clients_all():
    keys = read_config(
        settings(
            API_KEYS="shop:k1, shop [broadcasts:read, messages:read]:k2 ,ops[* clients:all]:k3,k4"
        )
    ).api_keys

    usual = frozenset(KeyScope) - {KeyScope.ALL_CLIENTS}
    assert [(key.client, key.scopes) for key in keys[:3]] == [
        ("shop", usual),
        ("shop", {KeyScope.READ, KeyScope.READ_NUMBERS}),
        ("ops", frozenset(KeyScope)),
    ]
    assert (keys[3].client[:4], keys[3].scopes) == ("key-", usual)


@pytest.mark.parametrize("region", ["us", "eu", "au", "br", "ca"])
def test_every_region_of_sinch_may_be_used(region):
    url = f"https://{region}.sms.api.sinch.com"

    assert read_config(production(SINCH_REGION_URL=url)).sinch.url == url


@pytest.mark.parametrize("sender", ["123", "71234", "12345678", "Acme"])
def test_a_short_code_or_a_name_stays_as_it_is(sender):
    assert read_config(production(SINCH_NUMBER=sender)).sinch.sender == sender


@pytest.mark.parametrize(
    ("given", "used"), [("warn", "WARNING"), ("Fatal", "CRITICAL"), ("debug", "DEBUG")]
)
def test_a_log_level_may_bear_its_other_name(given, used):
    assert read_config(production(LOG_LEVEL=given)).log_level == used


def test_a_dollar_in_an_env_file_is_only_a_dollar(tmp_path):
    file = tmp_path / "settings.env"
    environ = production(SINCH_API_TOKEN="9d2f6b1c${PORT}8e7a4d53", PORT="4001")
    file.write_text("\n".join(f"{name}={value}" for name, value in environ.items()))
    show = "import app.config as c; print(c.load_config().sinch.api_token)"

    assert run_code(show, ENV_FILE=str(file)).stdout == "9d2f6b1c${PORT}8e7a4d53\n"


@pytest.mark.parametrize("skips", [{}, {"FLASK_SKIP_DOTENV": "0"}])
def test_a_flask_command_reads_its_env_file_alone_as_it_stands(tmp_path, skips):
    asked, found = tmp_path / "asked.db", tmp_path / "found.db"
    file = tmp_path / "settings.env"
    secret = "5f0c${PORT}" + STRONG_KEY
    for path, database in ((tmp_path / ".env", found), (file, asked)):
        more = {"PORT": "4001", "INSTANCE_ID": "", "SECRET_KEY": secret}
        lines = production(DATABASE_URL=f"sqlite:///{database}", **more).items()
        path.write_text("\n".join(f"{name}={value}" for name, value in lines))
    environ = clean_environ({"ENV_FILE": str(file)})
    del environ["FLASK_SKIP_DOTENV"]
    environ |= skips

    command = [sys.executable, "-m", "flask", "--app", str(ROOT / "wsgi.py"), "db", "upgrade"]
    subprocess.run(command, cwd=tmp_path, env=environ, check=True, timeout=60)

    assert not found.exists()
    with sqlite3.connect(asked) as database:
        owner = database.execute("SELECT value FROM metadata WHERE name = 'instance_id'").fetchone()
    assert owner == (read_config(production(INSTANCE_ID="", SECRET_KEY=secret)).instance_id,)


@pytest.mark.parametrize("text", ["two\nlines", "Hi ${name}", "x" * 321])
def test_the_answer_to_help_is_one_line_without_placeholders(text):
    assert read_config(settings(HELP_TEXT="Clinic, 555-0100")).subscriber_rules.help_text

    with pytest.raises(ConfigError, match="HELP_TEXT"):
        read_config(settings(HELP_TEXT=text))


@pytest.mark.parametrize(
    ("host", "listens_on", "own_url"),
    [
        ("", "127.0.0.1", "http://127.0.0.1:3000"),
        (" localhost ", "127.0.0.1", "http://127.0.0.1:3000"),
        ("0.0.0.0", "0.0.0.0", "http://127.0.0.1:3000"),
        ("::", "::", "http://127.0.0.1:3000"),
        ("[::1]", "::1", "http://[::1]:3000"),
        ("10.1.2.3", "10.1.2.3", "http://10.1.2.3:3000"),
    ],
)
def test_it_listens_on_this_machine_only_unless_host_says_otherwise(host, listens_on, own_url):
    config = read_config(production(HOST=host) if host else production())

    assert (config.host, config.own_url) == (listens_on, own_url)


def test_no_slow_package_is_imported_that_the_settings_do_not_need():
    code = (
        "import sys; from app.config import load_config; from app.factory import create_app; "
        "create_app(load_config()); "
        "print({'psycopg', 'sentry_sdk', 'sqlalchemy.orm'} & sys.modules.keys())"
    )

    assert run_code(code, **settings()).stdout.strip() == "set()"
