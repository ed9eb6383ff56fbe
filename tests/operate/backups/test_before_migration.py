"""A backup before a migration: without one, no table changes."""

import pytest
from sqlalchemy import inspect, text

from app.db.schema import list_revisions, read_revision
from app.operate.audit import list_entries
from app.operate.backups.manifest import list_backups
from app.operate.backups.verify import verify_backup
from tests import fork_server
from tests.commands import FLASK
from tests.environ import clean_environ
from tests.factories import INSTANCE, settings
from tests.migrations.old import make_old_database

OLD = "0014"


@pytest.fixture(params=["sqlite", "postgres"])
def old(request, tmp_path):
    """A database in use, of an earlier version."""
    db = make_old_database(request, tmp_path, OLD)
    with db.write() as tx:
        tx.execute(text("INSERT INTO metadata VALUES ('instance_id', :id)"), {"id": INSTANCE})
    yield db
    db.close()


def url_of(db):
    return db.engine.url.render_as_string(hide_password=False)


def look(db):
    with db.read() as tx:
        return read_revision(tx), sorted(inspect(tx).get_table_names())


def test_a_migration_makes_a_backup_of_the_tables_as_they_were(old, run, folder):
    upgraded = run(url_of(old), "db", "upgrade")

    (backup,) = list_backups(folder)
    assert upgraded.output.splitlines()[0] == f"Backup before the migration: {backup}"
    assert look(old)[0] == list_revisions()[-1]
    contents = verify_backup(backup).contents
    assert (contents.revision, contents.violations) == (OLD, None)
    verified = run(url_of(old), "backup", "verify", str(backup)).output
    assert "Its counts were not checked: its tables are of an older version." in verified
    assert f"It is at migration {OLD}: a restore migrates it to " in verified
    (entry,) = list_entries(old, only={"action": "migrate"}).rows
    assert entry.facts == {"from": OLD, "to": list_revisions()[-1]}


def test_without_a_backup_nothing_is_migrated(old, run, tmp_path):
    before = look(old)
    (tmp_path / "file").write_text("no folder")

    refused = run(url_of(old), "db", "upgrade", BACKUP_DIR=str(tmp_path / "file" / "backups"))

    assert refused.exit_code == 1
    assert "Not a directory" in refused.output
    assert "Nothing was migrated: the database is as it was." in refused.output
    assert look(old) == before


def test_a_host_without_a_disk_that_stays_may_do_without(old, run, folder):
    upgraded = run(url_of(old), "db", "upgrade", BACKUP_BEFORE_MIGRATION="off")

    assert upgraded.output.splitlines()[0] == "No backup is made: BACKUP_BEFORE_MIGRATION=off."
    assert look(old)[0] == list_revisions()[-1]
    assert not folder.exists()


@pytest.mark.slow
def test_machines_that_start_at_once_migrate_one_after_the_other(postgres, tmp_path):
    environ = clean_environ(settings(DATABASE_URL=postgres.create_empty_database()))
    outputs = [tmp_path / f"output-{number}" for number in range(3)]

    started = [fork_server.start([*FLASK, "db", "upgrade"], environ, path) for path in outputs]

    codes = [process.wait(60) for process in started]
    assert codes == [0, 0, 0], "".join(path.read_text() for path in outputs)


def test_a_new_database_and_one_that_is_up_to_date_need_none(run, tmp_path, folder):
    new = f"sqlite:///{tmp_path / 'new.db'}"

    outputs = [run(new, "db", "upgrade").output for _ in range(2)]

    assert outputs == ["The database is up to date.\n"] * 2
    assert not folder.exists()
