"""Backups that are made: what they contain, who may read them, what is left of a failure."""

import json
import os
import resource
import shutil
import stat
import sys
import time
from subprocess import run as run_process

import pytest
from sqlalchemy import insert

from app.operate.audit import AuditSeal
from app.operate.backups.create import create_backup
from app.operate.backups.manifest import BackupFailed, Manifest, list_backups
from app.operate.backups.verify import verify_backup
from app.sms.models.broadcast import Broadcast
from tests.commands import FLASK
from tests.environ import ROOT, clean_environ
from tests.factories import many_numbers, settings

TEXT = "Pickup moved to 08:30"


def files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_backup_is_whole_private_and_described(either_machine, folder):
    either_machine.store(many_numbers(6), size=2)
    either_machine.submit()

    path, manifest = create_backup(either_machine.ctx, folder)

    assert files(folder) == [path.name, f"{path.name}.json"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert verify_backup(path) == manifest == Manifest.read(path)
    assert (manifest.contents.rows["broadcasts"], manifest.contents.rows["messages"]) == (1, 6)
    assert manifest.contents.violations == []


def test_a_manifest_has_no_number_and_no_text(either_machine, folder):
    (number,) = many_numbers(1)
    either_machine.store([number], text=TEXT)

    path, _ = create_backup(either_machine.ctx, folder)

    manifest = (folder / f"{path.name}.json").read_text()
    assert number[1:] not in manifest
    assert TEXT not in manifest


def test_the_head_of_the_audit_log_is_in_each_manifest_also_in_that_before_a_migration(
    either_machine, folder
):
    ctx, head = either_machine.ctx, bytes(range(32))
    with ctx.db.write() as tx:
        seal = {"id": 1, "last_entry_id": 1, "entries": 1, "hash": head, "sealed_at": ctx.now()}
        tx.execute(insert(AuditSeal), seal)
    manifests = [create_backup(ctx, folder / "now")[1]]
    with ctx.db.write() as tx:
        tx.exec_driver_sql("UPDATE alembic_version SET version_num = '0021'")
    manifests.append(create_backup(ctx, folder / "before")[1])

    assert [manifest.contents.revision for manifest in manifests][1:] == ["0021"]
    assert [manifest.contents.audit_head for manifest in manifests] == [head.hex()] * 2


def test_counts_that_do_not_add_up_are_told_and_the_backup_is_kept(run, either_machine, folder):
    broadcast = either_machine.store(many_numbers(2))
    either_machine.corrupt(Broadcast, Broadcast.id == broadcast, recipients=3, invalid=0)

    made = run(str(either_machine.ctx.db.engine.url), "backup", "create")

    assert made.exit_code == 0
    assert "Its counts do not add up: broadcast " in made.output
    assert len(list(list_backups(folder))) == 1
    either_machine.corrupt(Broadcast, Broadcast.id == broadcast, recipients=2, invalid=0)


def test_the_oldest_backups_are_deleted_and_no_other_file(machine, folder):
    made = []
    for kept in (0, 0, 2):
        machine.clock.advance(60)
        made.append(create_backup(machine.ctx, folder, kept=kept)[0])
        (folder / "notes.txt").write_text("mine")

    assert list(list_backups(folder)) == made[1:]
    assert (folder / "notes.txt").exists()


def test_what_a_killed_process_left_is_deleted_after_a_day(machine, folder):
    folder.mkdir(parents=True)
    old, new = folder / "clarion-1.db.part", folder / "clarion-2.db.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)

    create_backup(machine.ctx, folder)

    assert (old.exists(), new.exists()) == (False, True)


def test_a_folder_that_cannot_be_written_is_named(run, either_database, tmp_path):
    (tmp_path / "file").write_text("no folder")

    refused = run(either_database, "backup", "create", str(tmp_path / "file" / "backups"))

    assert refused.exit_code == 1
    assert f"No backup was made in {tmp_path}/file/backups: " in refused.output
    assert "Not a directory" in refused.output


def test_a_full_disk_leaves_no_half_backup(either_machine, folder):
    """The limit on a file's size is that of a disk which has no room left.

    It holds for the bytecode of our modules too, which Python would leave cut off.
    """
    either_machine.store(many_numbers(3_000))
    url = str(either_machine.ctx.db.engine.url)
    environ = settings(DATABASE_URL=url, BACKUP_DIR=str(folder), PYTHONDONTWRITEBYTECODE="1")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    ended = run_process(
        [*FLASK, "backup", "create"],
        cwd=ROOT,
        env=clean_environ(environ),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert f"Error: No backup was made in {folder}: " in ended.stderr
    assert files(folder) == []


def test_the_password_is_not_on_the_command_line(run, monkeypatch, folder, tmp_path, postgres):
    """Every user of a machine may list the arguments of its processes."""
    url = postgres.lend_database().replace("clarion@", "clarion:s3cr3t@")
    seen = tmp_path / "seen"
    (tmp_path / "pg_dump").write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"json.dump([sys.argv, os.environ['PGPASSWORD']], open({str(seen)!r}, 'w'))\n"
        "sys.exit('pg_dump: error: no room\\nDETAIL: Key (phone)=(+46701234567)')\n"
    )
    (tmp_path / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    refused = run(url, "backup", "create")

    arguments, password = json.loads(seen.read_text())
    assert password == "s3cr3t"
    assert not [argument for argument in arguments if "s3cr3t" in argument]
    assert refused.output == (
        f"Error: No backup was made in {folder}: pg_dump failed: error: no room\n"
    )
    assert files(folder) == []


def test_a_missing_pg_dump_is_named(run, postgres, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    refused = run(postgres.lend_database(), "backup", "create")

    assert refused.exit_code == 1
    assert "pg_dump is not installed: install PostgreSQL's client programs" in refused.output


def test_a_damaged_database_makes_no_backup(machine, folder):
    """Half of the file is lost, as on a failing disk."""
    machine.store(many_numbers(3_000))
    path = machine.ctx.db.engine.url.database
    with machine.ctx.db.read() as tx:
        tx.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    machine.ctx.db.close()
    shutil.copy(path, f"{path}.good")
    with open(path, "r+b") as file:
        size = os.path.getsize(path)
        file.seek(size // 4)
        file.write(b"\xff" * (size // 2))

    with pytest.raises(BackupFailed) as refused:
        create_backup(machine.ctx, folder)

    machine.ctx.db.close()
    shutil.move(f"{path}.good", path)
    assert "malformed" in refused.value.sentence
    assert files(folder) == []
