"""Table of prices.  Prices are contractual: the operator enters them."""

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class Price(Base):
    """Price of one message part to a country; `*` is the default for all other countries."""

    __tablename__ = "prices"

    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    # ISO 4217; equal in every row.
    currency: Mapped[str] = mapped_column(String(3))
    # Millionths of the currency's unit.
    micros: Mapped[int] = mapped_column(BigInteger)
