"""`flask users`: who may sign in to the pages, and the first user of `make run`."""

import re

import pytest
from pyotp import TOTP

from app.accounts.factor import begin_setup, confirm_setup
from app.accounts.roles import Role
from app.accounts.sessions import find_session, sign_in
from app.accounts.users import accept_invitation, find_invitation, list_users
from app.cli.up import invite_first, make_welcome
from app.config import read_config
from app.db.audit import AuditEntry
from app.errors import NotFound
from tests.commands import FLASK, run_command
from tests.factories import settings

PASSWORD = "correct horse battery"


@pytest.fixture
def run(service):
    def run(*arguments, **more):
        return service.test_cli_runner().invoke(args=["users", *arguments], **more)

    return run


@pytest.fixture
def ctx(service):
    return service.extensions["clarion"]


def _token(output):
    return re.search(r"(?m)^http\S+/invite/([\w-]{43})$", output)[1]


def _join(run, ctx, name, *, role="sender"):
    token = _token(run("create", name, "--role", role).output)
    return accept_invitation(ctx.db, ctx.clock, token, PASSWORD)


def test_a_new_user_gets_a_link_under_our_address(run, ctx):
    ended = run("create", "Anna", "--role", "sender")

    assert ended.exit_code == 0, ended.output
    said, once, link = ended.output.splitlines()
    assert said.startswith("Anna may sign in once they have chosen a password. A sender may ")
    assert once == "This link works once, within 7 days:"
    assert link.startswith("http://127.0.0.1:3000/invite/")
    user = find_invitation(ctx.db, ctx.clock, _token(ended.output))
    assert (user.name, user.role) == ("Anna", Role.SENDER)
    with ctx.db.read() as tx:
        (entry,) = tx.execute(AuditEntry.__table__.select()).all()
    assert entry.actor.startswith("cli")
    assert (entry.action, entry.facts) == ("create user", {"role": "sender"})


def test_the_link_is_under_the_public_address_if_there_is_one(make_service):
    service = make_service(
        PUBLIC_URL="https://texts.example.org", SINCH_WEBHOOK_SECRET="a1B2c3D4e5F6g7H8i9J0k1L2m3N4"
    )

    ended = service.test_cli_runner().invoke(args=["users", "create", "Anna", "--role", "admin"])

    assert "\nhttps://texts.example.org/invite/" in ended.output


def test_a_new_link_replaces_the_old_one(run, ctx):
    old = _token(run("create", "Anna", "--role", "viewer").output)

    new = _token(run("invite", "anna").output)

    assert find_invitation(ctx.db, ctx.clock, new).name == "Anna"
    with pytest.raises(NotFound):
        find_invitation(ctx.db, ctx.clock, old)


def test_a_user_is_removed_but_not_the_last_administrator(run, ctx):
    _join(run, ctx, "Bo", role="admin")
    _join(run, ctx, "Anna")
    session = sign_in(ctx.db, ctx.clock, "Anna", PASSWORD, address="192.0.2.1")

    removed, refused, unknown = (run("remove", name) for name in ("anna", "Bo", "Anna"))

    assert removed.output == "anna is removed and signed out everywhere.\n"
    assert find_session(ctx.db, ctx.clock, session) is None
    assert (refused.exit_code, "last administrator" in refused.output) == (1, True)
    assert (unknown.exit_code, "no user with this name" in unknown.output) == (1, True)
    assert [user.name for user in list_users(ctx.db)] == ["Bo"]


def test_a_role_is_changed_and_the_user_signs_in_again(run, ctx):
    _join(run, ctx, "Anna")
    session = sign_in(ctx.db, ctx.clock, "Anna", PASSWORD, address="192.0.2.1")

    same = run("role", "Anna", "sender")
    kept = find_session(ctx.db, ctx.clock, session)
    changed = run("role", "Anna", "operator")

    assert same.output == "Anna has the role sender already; nothing was changed.\n"
    assert kept
    assert changed.output == "Anna has the role operator now and has to sign in again.\n"
    assert find_session(ctx.db, ctx.clock, session) is None
    assert list_users(ctx.db)[0].role is Role.OPERATOR


def test_a_reset_ends_the_sessions_and_prints_a_link(run, ctx):
    _join(run, ctx, "Anna")
    session = sign_in(ctx.db, ctx.clock, "Anna", PASSWORD, address="192.0.2.1")

    ended = run("reset", "Anna")

    assert ended.output.startswith("Anna is signed out everywhere, and the password is void.\n")
    assert find_session(ctx.db, ctx.clock, session) is None
    assert find_invitation(ctx.db, ctx.clock, _token(ended.output)).name == "Anna"


def test_a_reset_removes_the_second_factor(run, ctx):
    user = _join(run, ctx, "Anna")
    secret = begin_setup(ctx.db, "a secret", user.id)
    confirm_setup(ctx.db, ctx.clock, "a secret", user.id, TOTP(secret).at(ctx.now()))
    before = run("list").output

    link = run("reset", "Anna").output
    accept_invitation(ctx.db, ctx.clock, _token(link), PASSWORD)

    assert "has a password and a second factor" in before
    assert "second factor" not in run("list").output
    assert isinstance(sign_in(ctx.db, ctx.clock, "Anna", PASSWORD, address="192.0.2.1"), str)


def test_the_list_says_how_far_each_has_come(run, ctx):
    empty = run("list").output
    _join(run, ctx, "Bo", role="admin")
    run("create", "anna", "--role", "viewer")

    listed = run("list").output

    assert empty == (
        "There are no users: flask users create NAME --role admin makes the first one.\n"
    )
    title, *lines = listed.splitlines()
    assert re.fullmatch(r"USER +ROLE +STATE +CREATED", title)
    assert re.match(r"anna  viewer  invited until 20..-..-.. ..:.. UTC  20", lines[0])
    assert re.match(r"Bo    admin   has a password +20", lines[1])
    assert "invite/" not in listed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("invite", "Otto"), "There is no user with this name: `flask users list` shows all"),
        (("create", "ANNA", "--role", "admin"), "There is a user named ANNA already"),
        (("create", "", "--role", "admin"), "name: A name has 1 to 60 characters"),
        (("create", "Bo"), "Missing option '--role'"),
        (("create", "Bo", "--role", "boss"), "'boss' is not one of 'viewer', 'author', 'sender'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(run, arguments, says):
    run("create", "Anna", "--role", "viewer")

    ended = run(*arguments)

    assert ended.exit_code in (1, 2)
    assert says in ended.output
    assert "Traceback" not in ended.output


def test_it_is_a_command_of_the_program(database_url):
    environ = settings(DATABASE_URL=database_url)

    ended = run_command([*FLASK, "users", "create", "Anna", "--role", "admin"], environ)

    assert ended.returncode == 0, ended.stderr
    assert _token(ended.stdout)


def test_make_run_prints_a_link_until_the_first_user_has_a_password(ctx, database_url, monkeypatch):
    monkeypatch.setenv("API_KEYS", "shop:first-key")
    config = read_config(settings(DATABASE_URL=database_url))
    first, second = (invite_first(config) for _ in range(2))
    (user,) = list_users(ctx.db)

    accept_invitation(ctx.db, ctx.clock, _token(second), PASSWORD)
    third = invite_first(config)

    assert first != second
    assert (user.name, user.role, third) == ("admin", Role.ADMIN, None)
    assert f"\n{second}\n" in make_welcome(config, first_link=second)
    assert "Sign in to its pages: http://127.0.0.1:3000/login" in make_welcome(
        config, first_link=third
    )
