"""Backups that are verified: whole ones are described, others are refused with the reason."""

import pytest

from app.operate.backups.create import create_backup
from tests.factories import many_numbers


@pytest.fixture
def backup(either_machine, folder):
    """A backup of six messages."""
    either_machine.store(many_numbers(6), size=2)
    return create_backup(either_machine.ctx, folder)[0]


def manifest_of(backup):
    return backup.with_name(f"{backup.name}.json")


def test_a_whole_backup_is_described_in_sentences(run, either_database, backup):
    verified = run(either_database, "backup", "verify", str(backup))

    assert verified.exit_code == 0
    assert verified.output.splitlines()[0] == (
        "The backup is whole: its SHA-256 is right, and all of it can be read."
    )
    assert "A restore brings back 1 broadcast, 6 messages, 0 texts from phones," in verified.output
    assert "Its counts add up. It is at migration " in verified.output


def cut(backup):
    backup.write_bytes(backup.read_bytes()[:-100])


def alter(backup):
    content = bytearray(backup.read_bytes())
    content[len(content) // 2] ^= 1
    backup.write_bytes(content)


def empty(backup):
    backup.write_bytes(b"")


def lose_the_manifest(backup):
    manifest_of(backup).unlink()


def spoil_the_manifest(backup):
    manifest_of(backup).write_text('{"made_at": 5}')


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut, "is cut or altered: it has "),
        (alter, "is altered: its SHA-256 is not that of its manifest"),
        (empty, "is cut or altered: it has 0 bytes"),
        (
            lose_the_manifest,
            "is missing: without its manifest nothing shows that a backup is whole",
        ),
        (spoil_the_manifest, "cannot be read as a manifest: "),
    ],
)
def test_a_spoilt_backup_is_refused_with_the_reason(run, either_database, backup, spoil, reason):
    spoil(backup)

    verified = run(either_database, "backup", "verify", str(backup))
    restored = run(either_database, "backup", "restore", str(backup))

    assert (verified.exit_code, restored.exit_code) == (1, 1)
    assert reason in verified.output
    assert reason in restored.output


def test_a_backup_of_another_instance_is_told_and_not_restored(run, either_database, backup):
    verified = run(either_database, "backup", "verify", str(backup), INSTANCE_ID="another")
    restored = run(either_database, "backup", "restore", str(backup), INSTANCE_ID="another")

    assert "It is another instance's: set INSTANCE_ID=tests to restore it." in verified.output
    assert "The backup belongs to another instance: set INSTANCE_ID=tests" in restored.output


def test_backups_are_listed(run, either_database, backup, folder):
    listed = run(either_database, "backup", "list")

    assert listed.output.splitlines()[1].endswith(str(backup))
    assert run(either_database, "backup", "list", str(folder / "none")).output == (
        f"No backups in {folder}/none.\n"
    )
