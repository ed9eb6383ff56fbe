"""Table of prices.  Prices are contractual: the operator enters them."""

from sqlalchemy import BigInteger, ColumnClause, String

from app.db.base import Base, column


class Price(Base):
    """Price of one message part to a country; `*` is the default for all other countries."""

    __tablename__ = "prices"

    country: ColumnClause[str] = column(String(2), primary_key=True)
    # ISO 4217; equal in every row.
    currency: ColumnClause[str] = column(String(3))
    # Millionths of the currency's unit.
    micros: ColumnClause[int] = column(BigInteger)
