"""Alembic's entry: migrates the database of the connection it is given."""

from alembic import context

from app.accounts import models as account_models
from app.db.audit import AuditEntry
from app.db.base import Base
from app.keys.models import ApiKey
from app.operate.audit import AuditSeal
from app.sms.models import broadcast, cap, daily, delivery, draft, erasure, price, reports, template
from app.subscribers import models as people_models
from app.subscribers.imports import models as import_models
from app.webhooks.outgoing import models as webhook_models

_TABLES = (
    ApiKey,
    AuditEntry,
    AuditSeal,
    account_models.User,
    broadcast.Broadcast,
    cap.Cap,
    reports.Event,
    daily.DailyCount,
    delivery.CountryCount,
    draft.ResendApproval,
    draft.StoredDraft,
    erasure.Erasure,
    import_models.Import,
    people_models.Subscriber,
    price.Price,
    template.StoredTemplate,
    webhook_models.Endpoint,
)
assert all(table.metadata is Base.metadata for table in _TABLES)  # all are known
# Over expressions, which SQLite's schema does not show: no model has them.
_EXPRESSIONS = ("ix_subscribers_first_name", "ix_subscribers_last_name")


def migrate() -> None:
    """Run the migrations asked for, each in a transaction of its own."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        render_as_batch=connection.dialect.name == "sqlite",
        include_object=lambda _, name, kind, *__: kind != "index" or name not in _EXPRESSIONS,
    )
    with context.begin_transaction():
        context.run_migrations()


migrate()
