import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from dotenv import dotenv_values

from app.config import ConfigError, read_config
from tests.factories import STRONG_KEY, production, settings

ROOT = Path(__file__).parent.parent


def test_a_complete_production_environment_is_accepted():
    config = read_config(production())

    assert config.production
    assert config.rate_limit == "100000 per minute"
    assert config.api_keys[0].client == "shop"
    assert config.sinch.url == "https://eu.sms.api.sinch.com"


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
        ({"API_KEYS": "short"}, "shorter than 32"),
        ({"API_KEYS": "shop:" + "short"}, "shorter than 32"),
        ({"API_KEYS": "change-me-" + STRONG_KEY}, "sample"),
        ({"API_KEYS": "your-api-key-" + STRONG_KEY}, "sample"),
        ({"API_KEYS": "a" * 40}, "not random"),
        ({"API_KEYS": f"shop:{STRONG_KEY},shop:{STRONG_KEY[::-1]}"}, "twice"),
        ({"API_KEYS": f"a:{STRONG_KEY},b:{STRONG_KEY}"}, "same key under two names"),
        ({"API_KEYS": f"no blanks:{STRONG_KEY}"}, "name in API_KEYS"),
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
        ({"SEND_BUDGET_S": "0.5"}, "SEND_BUDGET_S must be at least 2"),
        ({"SEND_BUDGET_S": "99999"}, "24 seconds together"),
        ({"LOOKUP_WAITS_S": "9,9,9"}, "24 seconds together"),
        ({"APP_ENV": "staging"}, "APP_ENV"),
        ({"PORT": "http"}, "PORT must be a whole number"),
        ({"PORT": "0"}, "PORT must be"),
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


def test_keys_without_a_name_get_one_that_does_not_depend_on_their_order():
    one, two = STRONG_KEY, STRONG_KEY[::-1]

    first = read_config(production(API_KEYS=f"{one},{two}")).api_keys
    second = read_config(production(API_KEYS=f"{two},{one}")).api_keys

    assert {key.client for key in first} == {key.client for key in second}
    assert all(re.fullmatch(r"key-[0-9a-f]{8}", key.client) for key in first)


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


def _start(command: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "ENV_FILE": "", "FLASK_SKIP_DOTENV": "1", **environ}
    return subprocess.run(
        command, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        [sys.executable, "-m", "flask", "--app", "wsgi", "run", "--port", "0"],
        [sys.executable, "-m", "flask", "--app", "wsgi", "sandbox"],
        [sys.executable, "-c", "import wsgi"],
    ],
    ids=["gunicorn", "flask run", "flask sandbox", "wsgi"],
)
def test_an_unsafe_start_ends_with_one_clear_line_and_code_78(command):
    ended = _start(command, production(API_KEYS="short"))

    assert ended.returncode == 78
    assert ended.stderr == "clarion: a key in API_KEYS is shorter than 32 characters\n"
    assert ended.stdout == ""


def test_flask_run_with_debug_is_refused_in_production():
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "run", "--debug", "--port", "0"]

    ended = _start(command, production())

    assert ended.returncode == 78
    assert "FLASK_DEBUG" in ended.stderr


def test_flask_run_with_a_debugger_is_refused_in_production():
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "run", "--debugger", "--port", "0"]

    ended = _start(command, production())

    assert ended.returncode == 78
    assert "--debugger" in ended.stderr


def test_the_sandbox_is_refused_in_production():
    ended = _start([sys.executable, "-m", "flask", "--app", "wsgi", "sandbox"], production())

    assert ended.returncode == 1
    assert "not for production" in ended.stderr


def test_settings_are_read_from_an_env_file_and_the_environment_wins(tmp_path):
    file = tmp_path / "settings.env"
    lines = [f"{name}={value}" for name, value in production(PORT="4001").items()]
    file.write_text("\n".join([*lines, "SINCH_NUMBER=${PORT}"]))
    show = "import app.config as c; k=c.load_config(); print(k.port, k.log_level, k.sinch.sender)"

    ended = _start(
        [sys.executable, "-c", show],
        {"ENV_FILE": str(file), "LOG_LEVEL": "error", "SINCH_NUMBER": "Acme"},
    )

    assert ended.stdout == "4001 ERROR Acme\n"


def test_the_defaults_are_those_that_the_example_tells():
    example = dotenv_values(ROOT / ".env.example", interpolate=False)
    needed = {"APP_ENV": "development", "API_KEYS": "k", "SECRET_KEY": "s"}
    sinch = {name: example[name] for name in example if name.startswith("SINCH_")}
    required = needed | {name: sinch[name] for name in sinch if not name.endswith("_S")}

    assert read_config(required) == read_config({**example, **needed})


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

    ended = _start([sys.executable, "-c", show], {"ENV_FILE": str(file)})

    assert ended.stdout == "9d2f6b1c${PORT}8e7a4d53\n"
