"""The own account: set up a second factor, sign in with it, turn it off, change the password."""

import re
from datetime import timedelta

import pytest
from pyotp import TOTP

from app.accounts.roles import Role
from app.accounts.users import accept_invitation, change_role, reset_user
from app.web.accounts.account import draw_qr
from tests.web.visitor import PASSWORD, Visitor, make_user, read_text, visit

REQUIRED = {"SECOND_FACTOR": "senders"}


def _read_secret(page):
    return re.search(r"<code>([A-Z2-7 ]{39})</code>", page.text)[1].replace(" ", "")


def _code(visitor, secret, *, later_s=0):
    now = visitor.service.extensions["clarion"].now()
    return TOTP(secret).at(now + timedelta(seconds=later_s))


def _set_up(visitor):
    """Set up a second factor.  Returns its secret and the recovery codes."""
    secret = _read_secret(visitor.post("/account/factor", on="/account"))
    page = visitor.post("/account/factor/confirm", {"code": _code(visitor, secret)}, on="/account")
    assert page.status_code == 200
    return secret, re.findall(r"<code>([a-z0-9-]{19})</code>", page.text)


def _half(service, name):
    visitor = Visitor(service)
    answer = visitor.sign_in(name, next="/broadcasts")
    assert (answer.status_code, answer.location) == (303, "/login/code?next=/broadcasts")
    return visitor


def _finish(visitor, code, **fields):
    fields = {"code": code, "next": "/broadcasts"} | fields
    return visitor.post("/login/code", fields, on="/login/code")


def test_a_second_factor_is_set_up_and_asked_for_at_the_next_sign_in(service):
    first = visit(service, Role.VIEWER)
    secret, codes = _set_up(first)
    assert len(set(codes)) == 10
    assert "You have 10 recovery codes left." in read_text(first.get("/account"))

    visitor = _half(service, "a viewer")
    asked = visitor.get("/login/code?next=/broadcasts")
    nothing_yet = visitor.get("/overview")
    done = _finish(visitor, _code(visitor, secret, later_s=30))

    assert 'inputmode="numeric"' in asked.text
    assert 'autocomplete="one-time-code"' in asked.text
    assert "Six digits from your app" in read_text(asked)
    assert nothing_yet.location.startswith("/login?next=")
    assert (done.status_code, done.location) == (303, "/broadcasts")
    assert visitor.get("/overview").status_code == 200
    assert visitor.get("/login/code").location == "/overview"


def test_a_wrong_or_used_code_is_refused_with_a_wait(service):
    secret, _ = _set_up(visit(service, Role.VIEWER))
    visitor = _half(service, "a viewer")

    used = _finish(visitor, _code(visitor, secret))

    assert used.status_code == 401
    assert "That code does not fit, or was used already. You can try again in" in read_text(used)
    assert visitor.get("/overview").status_code == 303


def test_a_recovery_code_signs_in_once(service):
    _, codes = _set_up(visit(service, Role.VIEWER))
    visitor = _half(service, "a viewer")
    link = re.search(r'href="([^"]+)">Use a recovery code', visitor.get("/login/code").text)[1]
    asked = visitor.get(link.replace("&amp;", "&"))
    assert 'name="recovery"' in asked.text

    done = _finish(visitor, codes[0].upper(), recovery="1")
    again = _finish(_half(service, "a viewer"), codes[0], recovery="1")

    assert done.status_code == 303
    assert "9 recovery codes left" in read_text(visitor.get("/account"))
    assert again.status_code == 401
    assert "Recovery code" in read_text(again)


def test_a_second_step_without_a_first_leads_to_sign_in(service):
    visitor = Visitor(service)

    shown = visitor.get("/login/code?next=/broadcasts")
    sent = visitor.post("/login/code", {"code": "123456"})

    assert shown.location == "/login?next=/broadcasts&late=1"
    assert sent.location == "/login?next=/overview&late=1"
    assert "Sign in again." in read_text(visitor.get(shown.location))


def test_the_secret_is_shown_once_and_confirmed_by_a_code(service):
    visitor = visit(service, Role.VIEWER)

    shown = visitor.post("/account/factor", on="/account")
    wrong = visitor.post("/account/factor/confirm", {"code": "no code"}, on="/account")
    off = visitor.get("/account")

    secret = _read_secret(shown)
    assert f"secret={secret}" in shown.text
    assert "<svg role" in shown.text
    assert " style=" not in shown.text
    assert "data:" not in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    assert wrong.status_code == 400
    assert "That code does not fit" in read_text(wrong)
    assert secret not in wrong.text
    assert secret not in off.text
    assert "Set up a second factor" in read_text(off)


def test_a_second_set_up_is_refused(service):
    visitor = visit(service, Role.VIEWER)
    _set_up(visitor)

    begun = visitor.post("/account/factor", on="/account")
    confirmed = visitor.post("/account/factor/confirm", {"code": "123456"}, on="/account")

    assert begun.status_code == 409
    assert "turn it off" in read_text(begun)
    assert "If you did not see the recovery codes, make new ones" in read_text(
        visitor.get(confirmed.location)
    )


def test_a_code_turns_it_off(service):
    visitor = visit(service, Role.VIEWER)
    _, codes = _set_up(visitor)

    done = visitor.post("/account/factor/off", {"code": codes[0]}, on="/account")

    assert (done.status_code, done.location) == (303, "/account")
    assert "The second factor is off." in read_text(visitor.get("/account"))
    assert Visitor(service).sign_in("a viewer").location == "/overview"


def test_new_recovery_codes_are_shown_once_by_the_password(service):
    visitor = visit(service, Role.VIEWER)
    _, old = _set_up(visitor)

    page = visitor.post("/account/factor/codes", {"present": PASSWORD}, on="/account")

    new = re.findall(r"<code>([a-z0-9-]{19})</code>", page.text)
    assert (len(new), set(new) & set(old)) == (10, set())
    assert "The recovery codes before them are void." in read_text(page)
    assert not any(code in visitor.get("/account").text for code in new)
    assert _finish(_half(service, "a viewer"), old[0]).status_code == 401
    wrong = visitor.post("/account/factor/codes", {"present": "wrong wrong"}, on="/account")
    assert (wrong.status_code, 'id="codes-password-error"' in wrong.text) == (401, True)


def test_a_wrong_code_does_not_turn_it_off(service):
    visitor = visit(service, Role.VIEWER)
    _set_up(visitor)

    wrong = visitor.post("/account/factor/off", {"code": "no code"}, on="/account")

    assert wrong.status_code == 401
    assert "That code does not fit, or was used already. You can try again in" in read_text(wrong)
    assert 'id="code-error"' in wrong.text
    assert "Turn the second factor off" in read_text(visitor.get("/account"))


@pytest.mark.parametrize(
    ("rule", "role", "is_led"),
    [
        ("off", Role.ADMIN, False),
        ("senders", Role.AUTHOR, False),
        ("senders", Role.SENDER, True),
        ("senders", Role.ADMIN, True),
        ("all", Role.VIEWER, True),
    ],
)
def test_who_needs_a_second_factor_is_led_to_it_before_anything_else(
    make_service, rule, role, is_led
):
    service = make_service(SECOND_FACTOR=rule)
    visitor = visit(service, role)

    pages = [visitor.get(path) for path in ("/overview", "/broadcasts", "/people", "/users")]
    acted = visitor.post("/tags", {"name": "news"}, on="/account")
    region = visitor.get("/overview/live", **{"HX-Request": "true"})

    led = [page.status_code == 303 and page.location == "/account" for page in (*pages, acted)]
    assert led == [is_led] * 5
    assert ("HX-Refresh" in region.headers) is is_led
    account = visitor.get("/account")
    assert ("Your role needs a second factor." in read_text(account)) is is_led
    assert ('href="/broadcasts"' in account.text) is not is_led


def test_once_it_is_set_up_the_pages_open(make_service):
    visitor = visit(make_service(**REQUIRED), Role.SENDER)

    _, codes = _set_up(visitor)
    opened = visitor.get("/overview")
    visitor.post("/account/factor/off", {"code": codes[0]}, on="/account")

    assert opened.status_code == 200
    assert visitor.get("/overview").location == "/account"


def test_who_has_to_set_it_up_can_sign_out_everywhere(make_service):
    visitor = visit(make_service(**REQUIRED), Role.SENDER)

    assert visitor.post("/logout/everywhere", on="/account").location == "/login"
    assert visitor.get("/account").status_code == 303


def test_a_role_that_needs_it_leads_to_it_at_the_next_sign_in(make_service):
    service = make_service(**REQUIRED)
    visitor, ctx = visit(service, Role.AUTHOR), service.extensions["clarion"]
    assert visitor.get("/overview").status_code == 200

    change_role(ctx.db, ctx.clock, "a author", Role.SENDER, actor="tests")
    ended = visitor.get("/overview")
    visitor.sign_in("a author")

    assert ended.location.startswith("/login?")
    assert visitor.get("/overview").location == "/account"


def test_after_a_reset_the_password_is_enough(service):
    _set_up(visit(service, Role.VIEWER))
    ctx = service.extensions["clarion"]

    token = reset_user(ctx.db, ctx.clock, "a viewer", actor="tests")
    accept_invitation(ctx.db, ctx.clock, token, PASSWORD)

    assert Visitor(service).sign_in("a viewer").location == "/overview"


def test_the_own_password_is_changed(service):
    visitor, other = visit(service, Role.VIEWER), Visitor(service)
    other.sign_in("a viewer")
    new = {"password": "another password", "password_again": "another password"}

    differ = visitor.post("/account/password", {**new, "password_again": "x"}, on="/account")
    short = visitor.post(
        "/account/password",
        {"present": PASSWORD, "password": "short", "password_again": "short"},
        on="/account",
    )
    done = visitor.post("/account/password", {"present": PASSWORD, **new}, on="/account")

    assert (differ.status_code, short.status_code) == (400, 400)
    assert "The two differ" in read_text(differ)
    assert "12 to 200 characters, of any kind; this one has 5" in read_text(short)
    assert (done.status_code, done.location) == (303, "/account")
    assert "The password is changed." in read_text(visitor.get("/account"))
    assert other.get("/overview").status_code == 303
    assert Visitor(service).sign_in("a viewer", "another password").status_code == 303


def test_a_wrong_present_password_is_refused_with_a_wait(service):
    visitor = visit(service, Role.VIEWER)
    new = {"password": "another password", "password_again": "another password"}

    wrong = visitor.post("/account/password", {"present": "wrong", **new}, on="/account")

    assert wrong.status_code == 401
    assert "That is not your present password. You can try again in" in read_text(wrong)
    assert "another password" not in wrong.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/account"),
        ("post", "/account/factor"),
        ("post", "/account/factor/confirm"),
        ("post", "/account/factor/off"),
        ("post", "/account/password"),
    ],
)
def test_an_account_is_for_those_who_have_signed_in(service, method, path):
    answer = getattr(Visitor(service), method)(path)

    assert answer.status_code == 303
    assert answer.location.startswith("/login?next=")


def test_a_hostile_name_is_text(service):
    name = "<b>O'Brien</b>&?\"#"
    visitor = Visitor(service)
    visitor.sign_in(make_user(service, Role.VIEWER, name))

    shown = visitor.post("/account/factor", on="/account")

    assert "<b>O" not in shown.text
    assert name in read_text(visitor.get("/account"))


def test_a_qr_code_has_a_light_edge_and_its_three_corners():
    qr = draw_qr("otpauth://totp/Clarion:Anna?secret=ABC&issuer=Clarion")

    assert qr["side"] > 8 + 21
    last = qr["side"] - 5
    for x, y in ((4, 4), (last, 4), (4, last)):
        assert f"M{x} {y}h1v1h-1z" in qr["path"]
    columns = [int(number) for number in re.findall(r"M(\d+) ", qr["path"])]
    assert (min(columns), max(columns)) == (4, last)
