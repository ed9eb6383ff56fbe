"""Batches ready to send."""

from app.sinch.schemas import OutgoingBatch, PreparedBatch, write_batch


def prepare(batch: OutgoingBatch) -> PreparedBatch:
    return PreparedBatch(
        client_reference=batch.client_reference,
        recipients=len(batch.recipients),
        body=write_batch(batch),
    )
