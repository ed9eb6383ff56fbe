"""`flask prices`: what parts cost, in and out of a file."""

import pytest

EUROS = "country,currency,price\r\n*,EUR,0.08\r\nSE,EUR,0.045\r\n"


@pytest.fixture
def run(service):
    def run(*arguments):
        return service.test_cli_runner().invoke(args=["prices", *arguments])

    return run


@pytest.fixture
def write(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "prices.csv"
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


def test_prices_come_out_of_the_file_that_they_went_into(run, write):
    done = run("import", write(EUROS))

    assert (done.exit_code, done.output) == (0, "2 prices in EUR.\n")
    assert run("export").stdout_bytes.decode() == EUROS


def test_a_file_of_a_spreadsheet_is_taken(run, write):
    text = "Price;Country;Currency;Note\r\n0.045; SE ;EUR;old\r\n\r\n1;*;EUR\r\n"

    assert run("import", write(text, "utf-8-sig")).exit_code == 0

    assert run("export").output.split()[1:] == ["*,EUR,1", "SE,EUR,0.045"]


FAULTY = [
    ("country,price\nSE,1\n", "the first line must name the columns"),
    ("", "the first line must name the columns"),
    ("country,currency,price\n", "holds no price"),
    ("country,currency,price\nSE,EUR,0.1\nSE,EUR,0.2\n", "line 3: SE has a price above"),
    ("country,currency,price\nSE,EUR,0.1\nNO,USD,0.2\n", "line 3: USD, but EUR above"),
    ("country,currency,price\nUK,EUR,0.1\n", "line 2: not a country's code"),
    ("country,currency,price\nSE,kr,0.1\n", "line 2: not a currency's code"),
    ("country,currency,price\nSE,EUR\n", "line 2: not a decimal"),
    ("country;currency;price\nSE;EUR;0,1\n", "line 2: not a decimal"),
]


def test_a_faulty_file_changes_nothing_and_the_line_is_named(run, write):
    run("import", write(EUROS))

    found = [run("import", write(text)) for text, _ in FAULTY]

    assert {each.exit_code for each in found} == {1}
    assert [
        said for (_, said), each in zip(FAULTY, found, strict=True) if said not in each.output
    ] == []
    assert run("export").stdout_bytes.decode() == EUROS


def test_a_file_that_is_not_text_is_refused(run, tmp_path):
    path = tmp_path / "prices.xlsx"
    path.write_bytes(b"PK\x03\x04\xff\xfe")

    done = run("import", str(path))

    assert (done.exit_code, done.output) == (
        1,
        "Error: prices.xlsx is not a CSV file in UTF-8\n",
    )
