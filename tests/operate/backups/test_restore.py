"""Backups that are restored: the database comes back in restore mode, and never unnoticed."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from app.config.scopes import DEFAULT_SCOPES
from app.db.schema import WrongDatabase
from app.keys.store import KeyOptions, create_key, list_keys, revoke_key
from app.operate.backups.create import create_backup
from app.operate.backups.manifest import list_backups
from tests.factories import INSTANCE, many_numbers
from tests.migrations.old import make_old_database


@pytest.fixture
def empty_url(request, either_database, tmp_path):
    """The URL of a database of the same kind without tables."""
    if either_database.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'restored.db'}"
    return request.getfixturevalue("postgres").create_empty_database()


def test_a_restored_database_sends_nothing_before_sinch_was_asked(
    run, either_machine, empty_url, make_machine, folder
):
    either_machine.store(many_numbers(6), size=2)
    either_machine.submit()
    path, _ = create_backup(either_machine.ctx, folder)

    restored = run(empty_url, "backup", "restore", str(path))

    assert restored.output == (
        "Restored, in restore mode: 2 batches may have been sent since; Sinch is asked about each "
        "once the service runs.\n"
    )
    machine = make_machine(empty_url)
    machine.ctx.require_own_database()
    assert machine.gates().restoring
    assert machine.counts(1) == {"submitted": 2, "unconfirmed": 4}
    assert machine.violations() == []


def test_nothing_is_sent_from_a_database_whose_restore_failed(
    run, either_machine, empty_url, make_machine, folder
):
    either_machine.store(many_numbers(2))
    with either_machine.ctx.db.write() as tx:
        tx.exec_driver_sql("DROP TABLE half_sign_ins")
    path, _ = create_backup(either_machine.ctx, folder)

    failed = run(empty_url, "backup", "restore", str(path))

    assert failed.exit_code == 1
    with pytest.raises(WrongDatabase):
        make_machine(empty_url).ctx.require_own_database()


def test_nothing_of_a_restore_that_was_killed_gets_into_the_next(run, machine, folder, tmp_path):
    path, _ = create_backup(machine.ctx, folder)
    part = tmp_path / "restored.db.restoring"
    shutil.copy(path, part)
    with closing(sqlite3.connect(part)) as killed:
        killed.execute("PRAGMA journal_mode = wal")
        with killed:
            killed.execute("INSERT INTO metadata VALUES ('of the killed', '1')")
        shutil.copy(f"{part}-wal", tmp_path / "left")
    (tmp_path / "left").rename(f"{part}-wal")

    restored = run(f"sqlite:///{tmp_path / 'restored.db'}", "backup", "restore", str(path))

    assert restored.exit_code == 0
    with closing(sqlite3.connect(tmp_path / "restored.db")) as db:
        names = {name for (name,) in db.execute("SELECT name FROM metadata")}
    assert "of the killed" not in names


def test_a_database_in_use_is_not_overwritten(run, either_machine, folder):
    path, _ = create_backup(either_machine.ctx, folder)
    either_machine.store(many_numbers(2))

    refused = run(str(either_machine.ctx.db.engine.url), "backup", "restore", str(path))

    assert refused.exit_code == 1
    assert "move the old database away" in refused.output or "has tables" in refused.output
    assert either_machine.counts(1) == {"pending": 2}


def test_a_backup_put_in_place_by_hand_is_noticed(run, machine, folder, tmp_path):
    """An operator may copy the file and forget the rest."""
    path, _ = create_backup(machine.ctx, folder)
    url = f"sqlite:///{tmp_path / 'by-hand.db'}"
    shutil.copy(path, tmp_path / "by-hand.db")

    refused = run(url, "broadcasts", "list")
    restored = run(url, "db", "restored")
    listed = run(url, "broadcasts", "list")

    assert refused.exit_code == 1
    assert "the database is a backup of " in refused.output
    assert (restored.exit_code, listed.exit_code) == (0, 0)


@pytest.mark.parametrize("options", [[], ["--revoke-keys"]])
def test_keys_that_were_revoked_since_a_backup_are_named_or_end_again(
    run, either_machine, empty_url, make_machine, folder, options
):
    ctx = either_machine.ctx
    made = [
        create_key(ctx.db, ctx.clock, client, KeyOptions(DEFAULT_SCOPES), actor="tests")[0]
        for client in ("shop", "crm", "crm")
    ]
    revoke_key(ctx.db, ctx.clock, made[2].id, actor="tests")
    path, _ = create_backup(ctx, folder)
    revoke_key(ctx.db, ctx.clock, made[0].id, actor="tests")

    restored = run(empty_url, "backup", "restore", str(path), *options)

    words = (
        "These keys work again, even if they were revoked since the backup: 2 of crm, 1 of shop."
    )
    assert (words in restored.output) == (not options)
    live = [key.id for key in list_keys(make_machine(empty_url).ctx.db) if not key.revoked_at]
    assert live == ([] if options else [2, 1])


@pytest.mark.slow
def test_a_backup_of_an_earlier_version_is_migrated(request, run, tmp_path, folder):
    request.param = "sqlite"
    old = make_old_database(request, tmp_path, "0014")
    with old.write() as tx:
        tx.exec_driver_sql(f"INSERT INTO metadata VALUES ('instance_id', '{INSTANCE}')")
    old.close()
    run(f"sqlite:///{tmp_path / 'old.db'}", "db", "upgrade")
    (backup,) = list_backups(folder)

    restored = run(f"sqlite:///{tmp_path / 'back.db'}", "backup", "restore", str(backup))

    assert restored.exit_code == 0
    assert run(f"sqlite:///{tmp_path / 'back.db'}", "broadcasts", "list").exit_code == 0


def test_a_restore_that_fails_leaves_no_database(run, machine, folder, tmp_path):
    path, _ = create_backup(machine.ctx, folder)
    (tmp_path / "file").write_text("no folder")

    refused = run(f"sqlite:///{tmp_path / 'file' / 'clarion.db'}", "backup", "restore", str(path))

    assert refused.exit_code == 1
    assert "The backup was not restored: " in refused.output
