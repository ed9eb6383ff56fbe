"""The table of prices: contractual, so none come with us."""

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class Price(Base):
    """What one part to a country costs; `*` stands for every country without a row of its own."""

    __tablename__ = "prices"

    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    # Of ISO 4217, the same in every row.
    currency: Mapped[str] = mapped_column(String(3))
    # Millionths of the currency's unit.
    micros: Mapped[int] = mapped_column(BigInteger)
