"""Which column is for what, by the titles that people give them."""

import pytest

from app.subscribers.lists.columns import FIELDS, UnusableHeaders, find_phone_column, map_columns
from app.subscribers.lists.reader import Heading


def fields_of(*headers, columns=None, ignore=()):
    heading = Heading(list(headers), delimiter=",", line=1, first_line=2)
    column_mapping = map_columns(heading, columns=columns or {}, ignore=ignore)
    return list(column_mapping.fields)


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        (
            "Phone Number,First Name,Last Name,Language,Time Zone,Tags",
            "phone,first_name,last_name,language,time_zone,tags",
        ),
        ("Handynummer,Vorname,Name,Sprache", "phone,first_name,last_name,language"),
        ("Mobilnummer,Förnamn,Namn,Språk", "phone,first_name,last_name,language"),
        ("Mobil,Zeitzone,Aktiv", "phone,time_zone,active"),
        ("Mobil,Tidszon,Taggar", "phone,time_zone,tags"),
        ("Téléphone,Prénom,Nom,Langue,Étiquettes", "phone,first_name,last_name,language,tags"),
        ("Teléfono móvil,Nombre,Apellidos,Idioma", "phone,first_name,last_name,language"),
        ("MSISDN,name,lang", "phone,name,language"),
        ("mobile,fullName,timeZone", "phone,name,time_zone"),
        ("PHONE,FIRST_NAME,tz", "phone,first_name,time_zone"),
        (
            "phone,consent text,consent source,consent date",
            "phone,consent_wording,consent_source,consent_at",
        ),
        (
            "Mobil,Einwilligungstext,Quelle der Einwilligung,Einwilligung am",
            "phone,consent_wording,consent_source,consent_at",
        ),
        ("Phone 1 (private),Name", "phone,name"),
        ("Nome,Cognome,Cellulare", "first_name,last_name,phone"),
        ("Voornaam,Naam,Mobiel nummer", "first_name,last_name,phone"),
        ("Telemóvel,Nome,Apelido", "phone,first_name,last_name"),
        ("Nr telefonu,Imię,Nazwisko", "phone,first_name,last_name"),
        ("Mobilnummer,Fornavn,Efternavn", "phone,first_name,last_name"),
        ("Matkapuhelin,Etunimi,Sukunimi,Kieli", "phone,first_name,last_name,language"),
        ("Mobilní telefon,Jméno,Příjmení", "phone,first_name,last_name"),
        ("Номер телефона,Имя,Фамилия", "phone,first_name,last_name"),
        ("Telefon numarası,Ad Soyad", "phone,name"),
        ("手机号,姓名", "phone,name"),
        ("携帯電話番号,氏名", "phone,name"),
        ("휴대폰,이름", "phone,first_name"),
        ("رقم الهاتف,الاسم", "phone,name"),
        ("FIRSTNAME,LASTNAME,SMS", "first_name,last_name,phone"),
        ("Contact No.,Customer Name", "phone,name"),
    ],
)  # fmt: skip
def test_columns_are_found_in_many_languages(headers, fields):
    assert fields_of(*headers.split(",")) == fields.split(",")


def test_every_field_is_found_by_its_own_name():
    headers = [field for field in FIELDS if field != "name"]

    assert fields_of(*headers) == headers


def test_of_two_telephones_the_mobile_one_is_taken_and_the_other_is_an_attribute():
    assert fields_of("Telefon", "Mobil") == ["attributes.Telefon", "phone"]
    assert fields_of("Mobile", "Phone number") == ["phone", "attributes.phone_number"]
    assert fields_of("Phone", "Cell") == ["attributes.Phone", "phone"]


def test_what_is_for_nothing_else_is_an_attribute_named_by_its_title():
    found = fields_of("phone", "City", "Shoe size", "Größe (cm)", "attributes.phone", "a.b-c")

    assert found[1:] == [
        "attributes.City", "attributes.shoe_size", "attributes.grosse_cm", "attributes.phone",
        "attributes.a.b-c",
    ]  # fmt: skip


def test_a_whole_name_beside_its_parts_and_a_column_without_a_title_are_for_nothing():
    assert fields_of("phone", "Full name", "first name", "last name", " ") == [
        "phone", None, "first_name", "last_name", None,
    ]  # fmt: skip


def test_our_own_columns_of_an_export_are_for_nothing():
    assert fields_of("id", "phone", "consented_at", "subscribed_at", "updated_at") == [
        None, "phone", None, None, None,
    ]  # fmt: skip


def test_columns_may_be_named_and_left_out():
    found = fields_of(
        "Telefon", "Kontakt", "Ort", "Notiz",
        columns={"phone": "kontakt", "attributes.city": "Ort"}, ignore=["NOTIZ", "no such"],
    )  # fmt: skip

    assert found == ["attributes.Telefon", "phone", "attributes.city", None]


@pytest.mark.parametrize(
    ("headers", "columns", "reason"),
    [
        ("Name,City", {}, "no column is known to hold phone numbers.*'Name', 'City'"),
        ("phone,x", {"phone": "Mobil"}, "'Mobil' is not in the file"),
        ("phone,City,City", {"attributes.city": "City"}, "'City' names more than one column"),
        ("phone,City,City", {}, "more than one column is attributes.City"),
        ("phone,x", {"phone": "x", "first_name": "x"}, "'x' is given for two fields"),
        ("phone,???", {}, "makes no name of an attribute"),
        ("phone," + ",".join(f"a{place}" for place in range(51)), {}, "more than 50 columns"),
    ],
)
def test_titles_that_do_not_say_enough_are_refused(headers, columns, reason):
    with pytest.raises(UnusableHeaders, match=reason):
        fields_of(*headers.split(","), columns=columns)


ANN, BOB = "+46701234567", "+46701234568"


@pytest.mark.parametrize(
    ("first_row", "column", "found"),
    [
        (["Name", "Mobile (private)"], None, (1, True)),
        (["phone", "phone type"], None, (0, True)),
        (["to", "text"], None, (0, True)),
        (["Wer", "Wo"], "wo", (1, True)),
        (["a", "A"], "a ", (0, True)),
        ([ANN], None, (0, False)),
        (["46701234567"], None, (0, False)),
        (["Ann", ANN, "12345"], None, (1, False)),
        (["to Ann", "070-123 45 67"], None, (1, False)),
    ],
)
def test_the_column_of_a_list_of_numbers_is_found_with_or_without_headers(first_row, column, found):
    assert find_phone_column(first_row, column) == found


@pytest.mark.parametrize(
    ("first_row", "column", "reason"),
    [
        (["who"], None, "which column holds the phone numbers.* column: who"),
        (["phone", "mobile"], None, "column: phone | mobile"),
        ([ANN, BOB], None, "which column"),
        (["0701234567", "0701234568"], None, "which column"),
        (["phone"], "mail", "no column 'mail'"),
        (["A", "A"], "a", "more than one column 'a'"),
    ],
)
def test_of_two_columns_of_a_list_of_numbers_none_is_guessed(first_row, column, reason):
    with pytest.raises(UnusableHeaders, match=reason):
        find_phone_column(first_row, column)
