"""The database: what it keeps, whose it is, and what is answered when it is away or full."""

import contextlib
import dataclasses
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import event, select, text, update
from sqlalchemy.exc import StatementError

from app.db.base import Metadata
from app.db.engine import Database, QueryTooSlow, WrongPragma, insert_new
from app.db.schema import MIGRATIONS, list_revisions
from app.logs import configure_logging
from app.sms.models.batch import Gate
from app.worker.start import refuse_wrong_database
from tests.background import look_at, work_until
from tests.commands import FLASK, run_command
from tests.databases import migrate
from tests.environ import ROOT, clean_environ
from tests.factories import AUTH, INSTANCE, broadcast_to, many_numbers, settings
from tests.processes import GUNICORN
from tests.wire import unused_port

ANN = "+46701234567"
SERVERS = {
    "gunicorn": GUNICORN,
    "flask run": [*FLASK, "run", "--port", "0"],
    "celery": [sys.executable, "-m", "celery", "--app", "app.worker.queue", "worker"],
}


@pytest.fixture
def db(either_database):
    database = Database(either_database)
    yield database
    database.close()


def _environ(url, **overrides):
    # No server listens there; none of these commands connects to it.
    broker = f"redis://127.0.0.1:{unused_port()}/0"
    more = {"DATABASE_URL": url, "CELERY_BROKER_URL": broker, "BACKGROUND": "threads"}
    return settings(PORT=str(unused_port()), **more | overrides)


def _post(service, *numbers, **more):
    body = broadcast_to(*(numbers or (ANN,)), **more)
    return service.test_client().post("/api/broadcast", headers=AUTH, json=body)


def test_a_commit_is_on_the_disk_when_it_returns(database_url):
    db = Database(database_url)

    with db.read() as tx:
        kept = {
            name: tx.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    db.close()

    assert kept == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 20_000,
    }


@pytest.fixture
def lockless(migrated_file, tmp_path):
    """A database where there is no write-ahead log: without locks, as on some network drives."""
    path = shutil.copy(migrated_file, tmp_path / "lockless.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = delete")
    db = Database(f"sqlite:///file:{path}?vfs=unix-none&uri=true")
    yield db
    db.close()


def test_a_sqlite_that_does_not_keep_its_pragmas_is_not_used(lockless):
    with pytest.raises(WrongPragma, match="journal_mode is delete, not wal"), lockless.read():
        pass


def test_a_process_does_not_start_on_a_sqlite_that_does_not_keep_its_pragmas(
    service, lockless, capsys
):
    ctx = dataclasses.replace(service.extensions["clarion"], db=lockless)

    with pytest.raises(SystemExit) as ended:
        refuse_wrong_database(ctx)

    assert ended.value.code == 78
    assert capsys.readouterr().err == "clarion: PRAGMA journal_mode is delete, not wal\n"


def test_postgresql_keeps_a_commit_on_the_disk_too(postgres):
    db = Database(postgres.create_database())

    with db.read() as tx:
        assert tx.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    db.close()


def test_times_come_back_as_they_went_in_and_in_utc(db):
    asked = datetime(2026, 3, 29, 2, 30, 0, 123_456, timezone(timedelta(hours=5, minutes=45)))

    with db.write() as tx:
        tx.execute(update(Gate).where(Gate.name == "busy").values(until_at=asked))
    with db.read() as tx:
        kept = tx.execute(select(Gate.until_at).where(Gate.name == "busy")).scalar_one()
        earlier = asked - timedelta(microseconds=1)
        seconds_from_now = select(Gate.name).where(Gate.until_at > earlier)
        assert tx.execute(seconds_from_now).scalars().all() == ["busy"]

    assert kept == asked
    assert kept.tzinfo is UTC


def test_a_time_without_its_offset_is_not_kept(db):
    naive = datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001  # that is the point

    with pytest.raises(StatementError, match="without its offset"), db.write() as tx:
        tx.execute(update(Gate).where(Gate.name == "busy").values(until_at=naive))


def test_a_block_that_raises_changes_nothing(db):
    def give_up_half_way():
        with db.write() as tx:
            insert_new(tx, Metadata, name="half", value="done")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        give_up_half_way()

    with db.write() as tx:
        assert insert_new(tx, Metadata, name="half", value="again")
        assert not insert_new(tx, Metadata, name="half", value="and again")
    with db.read() as tx:
        assert tx.execute(select(Metadata.value).where(Metadata.name == "half")).scalar() == "again"


def test_the_migrations_make_the_tables_of_the_models_and_may_be_repeated(
    make_service, either_database
):
    run = make_service(DATABASE_URL=either_database).test_cli_runner()

    again = run.invoke(args=["db", "upgrade"])
    checked = run.invoke(args=["db", "check"])

    assert (again.exit_code, again.output) == (0, "The database is up to date.\n")
    assert (checked.exit_code, checked.output) == (0, "The tables match the models.\n")


def test_a_table_that_differs_is_told(make_service, either_database, db):
    with db.write() as tx:
        tx.exec_driver_sql("ALTER TABLE broadcasts ADD COLUMN surprise INTEGER")

    checked = (
        make_service(DATABASE_URL=either_database).test_cli_runner().invoke(args=["db", "check"])
    )

    assert checked.exit_code == 1
    assert "surprise" in checked.output


def test_a_new_database_is_migrated_by_the_command_and_then_used(make_service, sandbox, tmp_path):
    service = make_service(DATABASE_URL=f"sqlite:///{tmp_path}/new.db")
    refused = _post(service)

    service.test_cli_runner().invoke(args=["db", "upgrade"])

    assert refused.status_code == 503
    assert _post(service).status_code == 202
    assert sandbox.recipients() == [ANN]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_postgresql_is_used_by_either_name(make_service, sandbox, postgres, scheme):
    url = postgres.create_database().replace("postgresql+psycopg", scheme)

    answer = _post(make_service(DATABASE_URL=url))

    assert (answer.status_code, answer.get_json()["status"]) == (202, "complete")
    assert sandbox.recipients() == [ANN]


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_keep_all_texts_is_refused(make_service, postgres, encoding):
    service = make_service(DATABASE_URL=postgres.create_empty_database(encoding=encoding))

    upgraded = service.test_cli_runner().invoke(args=["db", "upgrade"])

    assert upgraded.exit_code == 1
    assert f"the encoding of the database is {encoding}" in upgraded.output
    assert "createdb --encoding UTF8" in upgraded.output


@pytest.mark.parametrize("command", list(SERVERS.values()), ids=list(SERVERS))
def test_nothing_starts_on_another_instances_database(database_url, command):
    ended = run_command(command, _environ(database_url, INSTANCE_ID="another"))

    assert ended.returncode == 78
    assert ended.stderr == (
        "clarion: the database belongs to another instance: a copy must not send again. Set its "
        "INSTANCE_ID, or run `flask --app wsgi db adopt` if the other one is gone\n"
    )
    assert ended.stdout == ""


@pytest.mark.parametrize("command", list(SERVERS.values()), ids=list(SERVERS))
def test_nothing_starts_on_a_database_that_is_not_migrated(tmp_path, command):
    ended = run_command(command, _environ(f"sqlite:///{tmp_path}/empty.db"))

    assert ended.returncode == 78
    assert ended.stderr == (
        "clarion: the database is not migrated: run `flask --app wsgi db upgrade`\n"
    )
    assert ended.stdout == ""


def test_nothing_is_sent_from_the_command_line_with_another_instances_database(
    make_service, sandbox
):
    run = make_service(INSTANCE_ID="another").test_cli_runner()

    ended = run.invoke(args=["send", "--to", ANN, "--message", "Hello"])

    assert ended.exit_code == 1
    assert "belongs to another instance" in ended.output
    assert sandbox.posts() == 0


def test_a_request_is_refused_with_another_instances_database(make_service, sandbox, capsys):
    service = make_service(INSTANCE_ID="another")
    configure_logging("INFO")

    answer = _post(service)

    assert answer.status_code == 503
    assert "belongs to another instance" in answer.get_json()["error"]
    assert answer.headers["Retry-After"] == "60"
    assert sandbox.posts() == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (alert,) = [line for line in lines if line["level"] == "critical"]
    assert alert["message"] == "nothing is sent from this database"
    assert "another instance" in alert["reason"]


def test_an_adopted_database_is_ours(make_service, sandbox, either_database):
    heir = make_service(DATABASE_URL=either_database, INSTANCE_ID="heir")
    _post(make_service(DATABASE_URL=either_database))

    unsure = heir.test_cli_runner().invoke(args=["db", "adopt"], input="n\n")
    refused = _post(heir, "+46707654321")
    adopted = heir.test_cli_runner().invoke(args=["db", "adopt", "--yes"])

    assert (unsure.exit_code, refused.status_code, adopted.exit_code) == (1, 503, 0)
    assert _post(heir, "+46707654321").status_code == 202
    former = make_service(DATABASE_URL=either_database, INSTANCE_ID=INSTANCE)
    assert _post(former).status_code == 503
    assert sandbox.recipients() == [ANN, "+46707654321"]


def test_the_migrations_we_count_are_those_that_alembic_runs():
    scripts = ScriptDirectory(str(MIGRATIONS)).walk_revisions()

    assert [*list_revisions()] == [script.revision for script in scripts][::-1]


def test_a_database_of_a_newer_program_is_refused(make_service, sandbox, either_database, db):
    with db.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    answer = _post(make_service(DATABASE_URL=either_database))
    ended = run_command([*FLASK, "run", "--port", "0"], _environ(either_database))

    assert answer.status_code == 503
    assert ended.returncode == 78
    assert "the database is newer than this program" in ended.stderr


@contextlib.contextmanager
def _crashed(postgres):
    postgres.stop("immediate")
    try:
        yield
    finally:
        postgres.start()


CALLS = [
    ("POST", "/api/broadcast", broadcast_to(ANN)),
    ("POST", "/api/broadcast", broadcast_to(*many_numbers(1001))),
    ("GET", "/api/broadcasts", None),
    ("GET", "/api/broadcasts/{id}", None),
    ("GET", "/api/broadcasts/{id}/messages", None),
    ("POST", "/api/broadcasts/{id}/pause", None),
    ("POST", "/api/broadcasts/{id}/resume", None),
    ("POST", "/api/broadcasts/{id}/cancel", None),
    ("GET", "/api/batches/attention", None),
    ("POST", "/api/batches/x/resolve", {"decision": "resend", "note": "x"}),
    ("GET", "/api/webhooks", None),
    ("POST", "/api/webhooks", {"url": "http://127.0.0.1:1025/"}),
    ("GET", "/api/webhooks/x/deliveries", None),
    ("POST", "/api/webhooks/x/test", None),
    ("DELETE", "/api/webhooks/x", None),
]


def _call_all(service, broadcast_id):
    """Every answer that needs the database."""
    client = service.test_client()
    return [
        client.open(path.format(id=broadcast_id), method=method, headers=AUTH, json=body)
        for method, path, body in CALLS
    ]


def _is_away(answer):
    told = answer.get_json()
    assert answer.status_code == 503, told
    assert answer.headers["Retry-After"] == "5"
    assert told["error"].startswith("The database is unavailable; nothing was lost.")
    assert told["request_id"] == answer.headers["X-Request-ID"]
    return True


def test_while_postgresql_is_away_every_answer_says_so_and_nothing_is_lost(
    make_service, sandbox, postgres
):
    service = make_service(DATABASE_URL=postgres.create_database())
    large = _post(service, *many_numbers(1001), message="to many")
    first = _post(service, "+46707654321")
    assert (first.status_code, large.status_code) == (202, 202)

    with _crashed(postgres):
        answers = _call_all(service, first.get_json()["broadcast_id"])
        alive = service.test_client().get("/health")
        ready = service.test_client().get("/ready")

    assert [_is_away(answer) for answer in answers] == [True] * len(CALLS)
    assert alive.status_code == 200
    assert (ready.status_code, ready.get_json()["database"]) == (503, "unreachable")
    assert look_at(service, first)["status"] == "complete"
    assert _post(service).status_code == 202
    work_until(service, lambda: look_at(service, large)["status"] == "complete")
    assert sorted(sandbox.recipients()) == sorted([ANN, "+46707654321", *many_numbers(1001)])


def test_a_database_that_was_never_there_is_told_and_neither_its_password_nor_a_number_is_logged(
    make_service, sandbox, capsys
):
    url = f"postgresql://clarion:s3cret-canary@127.0.0.1:{unused_port()}/clarion"
    service = make_service(DATABASE_URL=url)

    answers = _call_all(service, "06eadcew01ykq3f2yhftk7dbp0")

    assert [_is_away(answer) for answer in answers] == [True] * len(CALLS)
    assert sandbox.posts() == 0
    output = capsys.readouterr().err
    assert '"the database is unavailable"' in output
    assert "s3cret-canary" not in output
    assert ANN[1:] not in output


def test_a_file_that_is_no_database_is_told_in_one_line(make_service, sandbox, tmp_path, capsys):
    (tmp_path / "no.db").write_text("no database, but a text\n" * 1000)
    service = make_service(DATABASE_URL=f"sqlite:///{tmp_path}/no.db")

    answers = _call_all(service, "06eadcew01ykq3f2yhftk7dbp0")

    assert [_is_away(answer) for answer in answers] == [True] * len(CALLS)
    output = capsys.readouterr().err
    assert output.count('"message": "the database is unavailable"') == 1
    assert "file is not a database (SQLITE_NOTADB)" in output
    assert "Traceback" not in output


def test_a_process_waits_for_a_database_that_is_away(make_service, capsys):
    service = make_service(DATABASE_URL=f"postgresql://x@127.0.0.1:{unused_port()}/x")

    refuse_wrong_database(service.extensions["clarion"])

    assert "the database cannot be reached yet" in capsys.readouterr().err


def test_a_full_disk_is_told_and_loses_nothing_that_was_accepted(make_service, sandbox):
    service = make_service()
    ctx = service.extensions["clarion"]
    pages = [10**9]
    event.listen(
        ctx.db.engine,
        "begin",
        lambda tx: tx.exec_driver_sql(f"PRAGMA max_page_count = {pages[0]}"),
    )
    with ctx.db.read() as tx:
        pages[0] = tx.exec_driver_sql("PRAGMA page_count").scalar() + 60
    audiences = [many_numbers(900 if n % 2 else 1900, start=n * 2000) for n in range(12)]

    answers = [_post(service, *numbers) for numbers in audiences]

    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {202, 503}
    refused = [answer for answer in answers if answer.status_code == 503]
    assert [_is_away(answer) for answer in refused] == [True] * len(refused)

    pages[0] = 10**9
    accepted = [answer for answer in answers if answer.status_code == 202]
    work_until(
        service, lambda: {look_at(service, each)["status"] for each in accepted} == {"complete"}
    )

    expected = [
        number
        for status, numbers in zip(statuses, audiences, strict=True)
        for number in numbers
        if status == 202
    ]
    assert sorted(sandbox.recipients()) == sorted(expected)


def _modes(folder):
    return {path.name: path.stat().st_mode & 0o777 for path in folder.glob("clarion.db*")}


@pytest.mark.parametrize("existing", [False, True], ids=["new", "made by an earlier version"])
def test_only_its_owner_reads_the_database(tmp_path, existing):
    url = f"sqlite:///{tmp_path / 'clarion.db'}"
    if existing:
        migrate(url)
        (tmp_path / "clarion.db").chmod(0o644)
    db = Database(url)

    with db.write() as tx:
        tx.exec_driver_sql("CREATE TABLE anything (x)")

    assert _modes(tmp_path) == dict.fromkeys(
        [f"clarion.db{suffix}" for suffix in ("", "-wal", "-shm", "-writer", "-next")], 0o600
    )
    db.close()


def test_from_another_folder_a_command_finds_the_database_of_the_project(tmp_path):
    """A relative path is relative to the project: cron makes no second, empty database."""
    project, elsewhere = tmp_path / "clarion", tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(ROOT / "app", project / "app")
    shutil.copy(ROOT / "wsgi.py", project)
    flask = [sys.executable, "-m", "flask", "--app", str(project / "wsgi.py")]

    for folder in (project, elsewhere):
        ended = subprocess.run(
            [*flask, "db", "upgrade"],
            cwd=folder,
            env=clean_environ(settings(DATABASE_URL="sqlite:///clarion.db")),
            preexec_fn=lambda: os.umask(0o022),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr

    assert list(elsewhere.iterdir()) == []
    assert _modes(project)["clarion.db"] == 0o600


def test_an_urgent_writer_comes_before_those_that_wait_and_keeps_none_away(database_url):
    """Each thread asks while the place is taken: eight that can wait, then two that cannot."""
    db, order = Database(database_url), []

    def write(name, *, urgent=False):
        with db.write(urgent=urgent):
            order.append(name)
            time.sleep(0.01)

    names = [*(f"ordinary {number}" for number in range(8)), "urgent 1", "urgent 2"]
    threads = [
        threading.Thread(target=write, args=(name,), kwargs={"urgent": name.startswith("urgent")})
        for name in names
    ]
    with db.write():
        for thread in threads:
            thread.start()
        time.sleep(1)  # until all of them ask
    for thread in threads:
        thread.join(60)

    db.close()
    assert sorted(order) == sorted(names)
    assert order[0].startswith("urgent")
    assert [name.startswith("urgent") for name in order[:4]].count(True) == 2


def test_a_query_that_takes_too_long_is_ended_and_the_next_one_is_not(db):
    """The slow one counts for ever."""
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    )

    with pytest.raises(QueryTooSlow), db.read(within_s=0.2) as tx:
        tx.exec_driver_sql(endless)

    for _ in range(3):
        with db.read() as tx:
            assert tx.exec_driver_sql("SELECT 7").scalar() == 7
    with db.read(within_s=20) as tx:
        assert tx.exec_driver_sql("SELECT 7").scalar() == 7
