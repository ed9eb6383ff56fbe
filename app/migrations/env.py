"""Alembic's entry: migrates the database of the connection it is given."""

from alembic import context

from app.db.audit import AuditEntry
from app.db.base import Base
from app.sms import (
    analytics_models,
    erase_models,
    models,
    price_models,
    report_models,
    template_models,
)
from app.subscribers import import_models
from app.subscribers import models as people_models
from app.webhooks import models as webhook_models

_TABLES = (
    AuditEntry,
    models.Broadcast,
    report_models.Event,
    analytics_models.DailyCount,
    erase_models.Erasure,
    import_models.Import,
    people_models.Subscriber,
    price_models.Price,
    template_models.StoredTemplate,
    webhook_models.Endpoint,
)
assert all(table.metadata is Base.metadata for table in _TABLES)  # all are known


def migrate() -> None:
    """Run the migrations asked for, each in a transaction of its own."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


migrate()
