"""`flask prices`: import and export the prices of message parts by country."""

import csv
import io
from pathlib import Path

import click

from app.cli.command import (
    EXISTING_FILE,
    ServiceGroup,
    audit_export,
    count_of,
    csv_options,
    name_operator,
    verified_context,
)
from app.csv_cells import format_lines, write_lines
from app.sms.caps.prices import (
    check_country,
    check_currency,
    format_price,
    parse_price,
    read_prices,
    replace_prices,
)

prices = ServiceGroup("prices")

_COLUMNS = ("country", "currency", "price")


@prices.command("import")
@click.argument("file", type=EXISTING_FILE)
def import_prices(file: Path) -> None:
    """Replace all prices by those of a CSV file.

    Its columns are country, currency and price.
    """
    try:
        currency, micros = _read_file(file)
    except (UnicodeDecodeError, csv.Error) as e:
        raise click.ClickException(f"{file.name} is not a CSV file in UTF-8") from e
    table = replace_prices(verified_context(), currency, micros, actor=name_operator())
    click.echo(f"{count_of(len(table.micros), 'price')} in {currency}.")


@prices.command("export")
@csv_options
def export_prices(delimiter: str, spreadsheet: bool) -> None:
    """Print the prices as CSV that `import` can read."""
    audit_export("prices")
    with verified_context().db.read() as tx:
        table = read_prices(tx)
    rows = [
        (country, table.currency, format_price(price)) for country, price in table.micros.items()
    ]
    lines = [write_lines([_COLUMNS, *rows])]
    for piece in format_lines(lines, delimiter=delimiter, spreadsheet=spreadsheet):
        click.echo(piece, nl=False)


def _read_file(file: Path) -> tuple[str, dict[str, int]]:
    """Return the currency and the prices of a file.  Raises ClickException for a bad line."""
    text = file.read_bytes().decode("utf-8-sig")
    head = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
    if not set(_COLUMNS) <= set(rows.fieldnames):
        raise click.ClickException("the first line must name the columns country, currency, price")
    currency, micros = "", dict[str, int]()
    for row in rows:
        country, own, price = ((row[name] or "").strip() for name in _COLUMNS)
        try:
            check_country(country)
            check_currency(own)
            if own != (currency or own):
                raise ValueError(f"{own}, but {currency} above: all prices are in one currency")
            if country in micros:
                raise ValueError(f"{country} has a price above")
            currency, micros[country] = own, parse_price(price)
        except ValueError as e:
            raise click.ClickException(f"line {rows.line_num}: {e}") from e
    if not micros:
        raise click.ClickException("the file holds no price")
    return currency, micros
