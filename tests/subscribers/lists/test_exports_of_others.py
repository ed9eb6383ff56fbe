"""Lists as shops, address books and other services export them, over HTTP."""

import pytest
from flask import Flask

from app.phone.reader import LOST_PLUS, TWO_NUMBERS
from app.subscribers.lists.permissions import REASONS, Permission
from app.worker.jobs import import_next
from tests.background import context_of
from tests.callers import Caller
from tests.factories import AUTH

CONSENT = {"at": "2026-01-01T00:00:00+00:00", "source": "shop", "wording": "Yes, text me offers."}
MARKETING = {"purpose": "marketing", "consent": CONSENT}
LEFT = REASONS[Permission.LEFT]
ANN, BO, CY = "+46701740601", "+46701740602", "+46701740603"


@pytest.fixture
def service(make_service) -> Flask:
    return make_service()


class Lists:
    """A client that imports subscribers and opt-outs."""

    def __init__(self, service: Flask) -> None:
        self._service, self._caller = service, Caller(service)

    def put(self, file, *, mimetype="text/csv", **options):
        """The answer to the upload of a file of subscribers."""
        self.url = self._caller.post("/api/subscribers/imports", options).get_json()["url"]
        raw = file if isinstance(file, bytes) else file.encode()
        headers = AUTH | {"Content-Type": mimetype}
        return self._service.test_client().put(f"{self.url}/file", data=raw, headers=headers)

    def read(self, file, **options):
        """The numbers that a file makes subscribers of, and the reasons of refused cells."""
        answer = self.put(file, **options)
        assert answer.status_code == 202, answer.text
        while import_next(context_of(self._service)):
            pass
        assert self._caller.get(self.url).get_json()["status"] == "complete"
        refused = self._caller.get(f"{self.url}/refused.csv").text.splitlines()[1:]
        reasons = [line.split(",", 3) for line in refused]
        return sorted(self.people()), [(int(each[0]), each[3].strip('"')) for each in reasons]

    def people(self):
        found = self._caller.get("/api/subscribers").get_json()["subscribers"]
        return {person["phone"]: person for person in found}

    def object(self, file, *, mimetype="text/csv", **query):
        """The answer to an import of opt-outs."""
        raw = file if isinstance(file, bytes) else file.encode()
        path = "/api/suppressions/import"
        headers = AUTH | {"Content-Type": mimetype}
        return self._service.test_client().post(path, data=raw, query_string=query, headers=headers)

    def suppressed(self):
        found = self._caller.get("/api/suppressions").get_json()["suppressions"]
        return sorted(each["phone"] for each in found)


@pytest.fixture
def lists(service) -> Lists:
    return Lists(service)


def test_german_mobiles_that_lost_their_plus_are_not_guessed(lists):
    file = "Vorname;Handy\nAnna;491713920012\nCem;49 152 28817386\nDora;0171 3920013\n"

    assert lists.read(file, country="DE") == (
        ["+491713920013"],
        [(2, LOST_PLUS), (3, LOST_PLUS)],
    )


@pytest.mark.parametrize(
    "headers",
    [
        "Name,Phone,Mobile",
        "Name,Phone Number,Cell",
        "Name,Telefon,Handy",
        "Name,phone,SMS number",
        "Name,phone,phone_mobile",
        "Name,Phone,Phone (Mobile)",
        "Name,Phone - Work,Phone - Mobile",
        "Name,Tel,Mobile 1",
        "Name,Telefon,Handy privat",
        "Name,Telephone1,MobilePhone",
        "Name,Telefono,Cellulare",
    ],
)
def test_of_phone_and_mobile_the_mobile_is_taken(lists, headers):
    assert lists.read(f"{headers}\nAnn Lee,+46 8 465 004 10,+46 70 174 06 01\n") == ([ANN], [])


def test_an_address_book_loses_nobody_for_its_groups(lists):
    file = (
        "First Name,Labels,Phone 1 - Value,Phone 2 - Value\n"
        f"Ann,* myContacts,{ANN},\n"
        f"Bo,* myContacts ::: Friends,{BO} ::: {CY},+46 8 465 004 12\n"
    )

    read = lists.read(file, columns={"phone": "Phone 1 - Value"})

    assert read == ([ANN], [(3, TWO_NUMBERS)])
    assert lists.people()[ANN]["tags"] == ["mycontacts"]


def test_lead_ads_with_their_mark_in_utf_16_with_tabs(lists):
    file = f"id\tphone_number\r\nl:1\tp:{ANN}\r\nl:2\tp:0701740602\r\n".encode("utf-16")

    assert lists.read(file, country="SE") == ([ANN, BO], [])


def test_tags_of_a_shop_may_have_any_characters(lists):
    lists.read(f'phone,tags\n{ANN},"B2B/Wholesale, Newsletter & SMS, ⭐"\n')

    assert lists.people()[ANN]["tags"] == ["b2b wholesale", "newsletter sms"]


NOES = [
    ("Preferred channel", "Email"),
    ("Preferred Contact Method", "WhatsApp"),
    ("Communication preferences", "Post or call"),
    ("Bevorzugter Kontaktweg", "E-Mail"),
    ("Canal préféré", "courriel"),
    ("Canal de contacto preferido", "correo"),
    ("Preferred messaging channel", "none"),
    ("Accepts SMS Marketing", "no"),
    ("SMS Consent", "FALSE"),
    ("consent", "0"),
    ("Opt-in", "nein"),
    ("SMS opt in", "N"),
    ("Einwilligung", "Nein"),
    ("Samtycke", "nej"),
    ("Consentement", "non"),
    ("opted_in", ""),
    ("Accepts Marketing", "maybe"),
    ("subscription status", "pending"),
    ("SMS", "no"),
    ("OK to text?", "No"),
    ("Can we text you", "n"),
    ("Receives texts", "0"),
    ("SMS-Werbung erlaubt", "nein"),
    ("Accepte les SMS", "non"),
    ("Acepta recibir SMS", "no"),
    ("Consenso SMS", "no"),
    ("Toestemming", "nee"),
    ("Aceita SMS", "não"),
    ("Samtykke", "nei"),
    ("Zgoda na SMS", "nie"),
    ("Suostumus", "ei"),
    ("Souhlas", "ne"),
    ("SMS izni", "hayır"),
    ("Would you like to receive texts?", "No thanks"),
    ("I agree to receive SMS", "No"),
    ("Mobile Messaging Consent", "declined"),
    ("Text me offers", "✗"),
    ("SMS newsletter", "FALSCH"),
    ("Jag vill ha sms", "Nej tack"),
    ("J'accepte de recevoir des SMS", "Non merci"),
    ("SMS consent", "FAŁSZ"),
    ("SMS consent", "❌"),
    ("TCPA", "0.0"),
    ("I agree", "no"),
    ("SMS同意", "否"),
    ("May we send you SMS?", "Nope"),
    ("sms_opt_status", "OUT"),
    ("SMS consent", "not granted"),
    ("SMS-utskick", "av"),
    ("是否同意", "否"),
    ("短信订阅", "否"),
    ("是否接受短信", "否"),
    ("СМС-рассылка", "нет"),
    ("SMSFlag", "N"),
    ("配信希望", "希望しない"),
    ("수신 동의", "거절"),
    ("Marketing permissions", "none"),
    ("Zustimmung zu SMS", "keine"),
    ("Slažem se", "ne"),
    ("Would you like offers by text?", "Not now"),
]


@pytest.mark.parametrize(("header", "cell"), NOES)
def test_a_no_is_never_made_a_consent(lists, header, cell):
    file = f"phone,{header}\n{ANN},yes\n{BO},{cell}\n"

    taken, reasons = lists.read(file, **MARKETING)
    assert (taken, [line for line, _ in reasons]) == ([ANN], [3])

    assert lists.read(file, consent=CONSENT) == ([ANN, BO], [])
    assert lists.people()[ANN]["consented_at"]
    assert lists.people()[BO]["consented_at"] is None


GONE = [
    ("Preferred contact", "no sms"),
    ("status", "blocklisted"),
    ("Status", "Unsubscribed"),
    ("subscriber status", "opted out"),
    ("SMS consent", "unsubscribed"),
    ("Unsubscribed", "yes"),
    ("Unsubscribed at", "2025-01-01"),
    ("opt_out", "TRUE"),
    ("Opted out", "1"),
    ("Do not contact", "x"),
    ("Abgemeldet", "ja"),
    ("Avregistrerad", "2025-01-01"),
    ("Désinscrit", "oui"),
    ("Fecha de baja", "01.02.2025"),
    ("Removed at", "2025-01-01"),
    ("Complained", "yes"),
    ("Replied STOP", "1"),
    ("No texts", "x"),
    ("Opt-out reason", "too many"),
    ("List", "Unsubscribed"),
    ("Tags", "vip|Unsubscribed"),
    ("Gruppen", "abgemeldet"),
    ("Werbesperre", "ja"),
    ("Keine SMS", "x"),
    ("Ne pas contacter", "oui"),
    ("No contactar", "sí"),
    ("Kontakta ej", "ja"),
    ("Disiscritto", "sì"),
    ("Uitgeschreven", "ja"),
    ("Não contactar", "sim"),
    ("Afmeldt", "2025-01-01"),
    ("Wypisany", "tak"),
    ("Markkinointikielto", "kyllä"),
    ("Opted out", "✓"),
    ("Unsubscribed", "✔️"),
    ("Opt-out SMS", "PRAWDA"),
    ("Do not call", "yes"),
    ("Abbestellt am", "01.02.2025"),
    ("SMS配信停止", "1"),
    ("Excluded", "x"),
    ("Robinsonliste", "ja"),
    ("Sperrvermerk", "X"),
    ("NIX", "ja"),
    ("NIX18", "yes"),
    ("Telefonspärr", "ja"),
    ("TPS registered", "Y"),
    ("Liste noire", "oui"),
    ("Suoramarkkinointikielto", "X"),
    ("Reklamebeskyttet", "ja"),
    ("Last reply", "STOP"),
    ("Grupp", "Avregistrerade"),
    ("List", "Unsubscribed contacts"),
    ("Estado", "baja"),
    ("SMS STOP", "2025-03-01"),
    ("Lists", "Unsubscribed SMS"),
    ("退订日期", "2025/03/01"),
    ("수신거부일", "2025-03-01"),
    ("配信停止", "○"),
    ("Дата отписки", "01.03.2025"),
    ("Verstorben", "ja"),
]


@pytest.mark.parametrize(("header", "cell"), GONE)
def test_whoever_the_file_says_has_left_does_not_become_a_subscriber(lists, header, cell):
    file = f"phone,{header}\n{ANN},\n{BO},{cell}\n"

    assert lists.read(file) == ([ANN], [(3, LEFT)])
    assert lists.read(file, ignore=[header]) == ([ANN, BO], [])


@pytest.mark.parametrize(
    ("header", "cell"),
    [
        ("status", "enabled"),
        ("status", "received"),
        ("Unsubscribed", "no"),
        ("Unsubscribed at", "0000-00-00 00:00:00"),
        ("Unsubscribe link", "https://shop.example/u/1"),
        ("Accepts Email Marketing", "no"),
        ("Email opt out", "yes"),
        ("order status", "cancelled"),
        ("State", "NO"),
        ("Days left", "3"),
        ("Orders cancelled", "2"),
        ("Bounce rate", "0.3"),
        ("Contact", "no"),
        ("Country", "NO"),
        ("Opt-out link", "https://shop.example/u/1"),
        ("Email status", "unsubscribed"),
        ("Text", "hello"),
        ("SMS plan", "no-limit"),
        ("SMS sent", "0"),
        ("Total messages", "0"),
        ("Would you like to receive texts?", "Yes please"),
        ("Opted out", "☐"),
        ("Opted out", "FAŁSZ"),
        ("Do not call email", "no"),
        ("Estado", "Baja California"),
        ("短信数", "0"),
        ("SMS consent", '"Ja, gerne"'),
        ("SMS同意", "○"),
        ("Preferred channel", "SMS"),
        ("Contact preference", "Email and text"),
        ("Preferred contact method", "Any"),
        ("Preferred language", "Email"),
        ("Acquisition channel", "Email"),
    ],
)
def test_other_columns_say_nothing_of_texts(lists, header, cell):
    assert lists.read(f"phone,{header}\n{ANN},{cell}\n", **MARKETING) == ([ANN], [])
    assert lists.people()[ANN]["consented_at"]


@pytest.mark.parametrize(
    "rows",
    [
        (f"{ANN},yes", f"{ANN},no"),
        (f"{ANN},no", f"{ANN},yes"),
        (f"{ANN},yes", "070 174 06 01,opted out"),
    ],
)
def test_of_two_rows_of_a_person_the_no_counts(lists, rows):
    file = "\n".join(["phone,SMS consent", *rows, f"{BO},yes", ""])

    taken, reasons = lists.read(file, country="SE", **MARKETING)

    assert (taken, sorted(line for line, _ in reasons)) == ([BO], [2, 3])


def test_of_two_rows_of_a_person_the_no_takes_the_consent_of_a_purpose_without_it(lists):
    file = f"phone,SMS consent\n{ANN},yes\n{ANN},no\n{BO},yes\n"

    assert lists.read(file, consent=CONSENT) == ([ANN, BO], [])
    assert lists.people()[ANN]["consented_at"] is None
    assert lists.people()[BO]["consented_at"]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (f"Export\n\nName,Phone\nAnn,{ANN}\n", "its headers seem to be in line 3"),
        (f"{ANN},Ann\n{BO},Bo\n", "its first row is no row of headers"),
        (f"- phone: {ANN}\n- phone: {BO}\n", "its first row is no row of headers"),
        (f"INSERT INTO people (phone) VALUES ('{ANN}');\n", "no column is known"),
        (f"phone,phone\n{ANN},{BO}\n", "two columns of phone numbers have one header"),
        (f"Name,Phone 1,Phone 2\nAnn,{ANN},{BO}\n", "more than one column may hold"),
    ],
)
def test_a_file_without_its_headers_on_top_is_refused_with_what_to_do(lists, file, reason):
    answer = lists.put(file)

    assert answer.status_code == 400
    assert reason in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (f"Export\n\nName,Phone\nAnn,{ANN}\n", "its headers seem to be in line 3"),
        (f"phone,phone\n{ANN},{BO}\n", "two columns of phone numbers have one header"),
        (f"Phone 1,Phone 2\n{ANN},{BO}\n", "which column holds the phone numbers?"),
        (f"phone,phone2\n{ANN},{BO}\n", "which column holds the phone numbers?"),
        (f"Mobile,Other mobile\n{ANN},{BO}\n", "which column holds the phone numbers?"),
        (f"Log of {ANN} and so on\nphone\n{BO}\n", "its headers seem to be in line 2"),
    ],
)
def test_a_list_of_opt_outs_says_what_to_do_about_its_headers(lists, file, reason):
    answer = lists.object(file)

    assert answer.status_code == 400
    assert reason in answer.get_json()["error"]
    assert lists.suppressed() == []


@pytest.mark.parametrize(
    ("encoding", "header", "name"),
    [
        ("windows-1250", "Jméno", "Řehoř"),
        ("windows-1251", "Имя", "Юлия"),
        ("windows-1253", "Όνομα", "Ρέα"),
        ("windows-1254", "vorname", "Şule"),
        ("windows-1257", "vorname", "Ūla"),
        ("macintosh", "prenom", "Zoë"),
    ],
)
def test_files_of_old_programs_are_read_in_the_encoding_that_is_named(
    lists, encoding, header, name
):
    file = f"phone;{header}\n{ANN};{name}\n"

    assert lists.read(file.encode(encoding), encoding=encoding) == ([ANN], [])
    assert lists.people()[ANN]["first_name"] == name
    wrong = lists.put(file, encoding=encoding)
    assert wrong.status_code == 400
    assert f"it is in utf-8 instead of {encoding}" in wrong.get_json()["error"]


def test_unseen_characters_around_a_number_are_taken_away(lists):
    cells = [
        "\u2068(+46 70 174 06 01\u2069)", "\u202a+46701740602\u202c", "+46\ufe0f701740603",
        "\u180e+46701740604", "+46701740605\u3164", "\ufeff+46701740606",
        "’\t+46 (0)701740607\u00a0",
    ]  # fmt: skip

    numbers, reasons = lists.read("name,phone\n" + "".join(f"a,{cell}\n" for cell in cells))

    assert (numbers, reasons) == ([f"+4670174060{number}" for number in range(1, 8)], [])


@pytest.mark.parametrize(
    ("cell", "at"),
    [
        ("2026-03-01 08:30:00 UTC", "2026-03-01T08:30:00+00:00"),
        ("2026-03-01 08:30:00 +0100", "2026-03-01T07:30:00+00:00"),
        ("2026-03-01 08:30:00+01", "2026-03-01T07:30:00+00:00"),
        ("2026-03-01T08:30:00.123456Z", "2026-03-01T08:30:00.123456+00:00"),
        ("2026/03/01 08:30", "2026-03-01T08:30:00+00:00"),
        ("2026-03-01t08:30:00z", "2026-03-01T08:30:00+00:00"),
        ("2026-03-01 08:30 PM", "2026-03-01T20:30:00+00:00"),
        ('"Sun, 01 Mar 2026 08:30:00 GMT"', "2026-03-01T08:30:00+00:00"),
        ("Sun Mar 01 2026 08:30:00 GMT+0100 (CET)", "2026-03-01T07:30:00+00:00"),
        ('"March 1, 2026 12:30 AM"', "2026-03-01T00:30:00+00:00"),
        ("1-Mar-2026", "2026-03-01T00:00:00+00:00"),
        ("2026-03-01\u202f8:30 PM", "2026-03-01T20:30:00+00:00"),
        ("２０２６-０３-０１", "2026-03-01T00:00:00+00:00"),
        ("2026-03-01 08:30:00 CET", None),
        ("2026-03-01 08:30:00 (CET)", None),
        ("2026-03-01 13:30 PM", None),
        ("2026-03-01 12:00 +14:60", None),
        ("2026-03-01 12:00 -15:00", None),
        ("Mon 01 Mar 2026 08:30:00 GMT", None),
        ("Foo Mar 01 2026", None),
        ("1-Mai-2026", None),
        ("20260301T083000", None),
        ("1712051212345", None),
        ("1712051234", None),
        ("20260301", None),
        ("45352.35", None),
        ("1712-05-12", None),
        ("03/01/2026", None),
    ],
)
def test_times_are_read_as_databases_write_them_and_digits_alone_are_none(lists, cell, at):
    file = f"phone,consent_wording,consent_source,consent_at\n{ANN},Yes,shop,{cell}\n"

    numbers, reasons = lists.read(file, purpose="marketing")

    if at is None:
        assert (numbers, [line for line, _ in reasons]) == ([], [2])
        assert reasons[0][1].startswith("Not a time")
    else:
        assert lists.people()[ANN]["consented_at"] == at


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", "~", ":"])
def test_columns_may_be_divided_by_bars_too(lists, delimiter):
    file = f"phone{delimiter}name\n{ANN}{delimiter}Ann\n{BO}{delimiter}Bo\n"

    assert lists.read(file) == ([ANN, BO], [])


@pytest.mark.parametrize(
    "file",
    [
        "<!doctype html><title>Log in by phone</title><form><input name=phone></form>\n",
        '\n  <html lang="en"><body>phone</body></html>\n',
        '<?xml version="1.0"?><phone/>\n',
        '{"phone": "+46701740601"}\n',
        '[{"phone": "+46701740601"}]\n',
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 phone",
        b"%PDF-1.7 phone\n",
        b"\x1f\x8b\x08 phone",
        "BEGIN:VCARD\nTEL:+46701740601\n",
        "begin:vcard\ntel;phone:+46701740601\n",
        b"BZh91AY phone\n",
        b"7z\xbc\xaf\x27\x1c phone\n",
        b"\x89PNG\r\n\x1a\n phone",
        b"SQLite format 3\0 phone",
    ],
)
def test_what_is_no_list_is_refused_as_that(lists, file):
    for answer in (lists.put(file), lists.object(file)):
        assert answer.status_code == 400
        assert "this is " in answer.get_json()["error"]
    assert (lists.people(), lists.suppressed()) == ({}, [])


def test_old_numbers_of_a_country_become_new_ones_and_those_keep_their_digits(lists):
    file = "phone,name\n+22997123456,Ayo\n+2290197123457,Bisi\n0197123458,Cele\n"

    numbers = [f"+229019712345{digit}" for digit in range(6, 9)]
    assert lists.read(file, country="BJ") == (numbers, [])


@pytest.mark.parametrize("cell", ["<{}>", "{},", "{};", "{{{}}}", "'{}'", "tel:{}", "“{}”"])
def test_what_surrounds_a_number_is_taken_away(lists, cell):
    assert lists.read(f'name,phone\nAnn,"{cell.format(ANN)}"\n') == ([ANN], [])


@pytest.mark.parametrize(
    "word",
    [
        "NULL",
        "\\N",
        "None",
        "nan",
        "#N/A",
        "undefined",
        "(null)",
        "N/A",
        "—",
        "#WERT!",
        "#NV",
        "{{first_name}}",
        "*|FNAME|*",
        "${name}",
        "%%First Name%%",
        "[First Name]",
        "[object Object]",
    ],
)
def test_no_person_is_called_what_a_program_writes_for_no_value(lists, word):
    file = f"phone,first name,last name,city\n{ANN},{word},Lee,{word}\n{BO},Bo,Null,Null\n"

    assert lists.read(file) == ([ANN, BO], [])
    ann, bo = lists.people()[ANN], lists.people()[BO]
    assert (ann["first_name"], ann["last_name"], ann["attributes"]) == (None, "Lee", {})
    assert (bo["last_name"], bo["attributes"]) == ("Null", {"city": "Null"})


def test_what_other_programs_put_before_a_number_is_taken_away_or_named(lists):
    cells = ["tel:+46-70-174-06-01", f"TEL:{BO}", f"Tel: {CY}", f"whatsapp:{ANN}", f"sms:{ANN}"]
    others = [f"Tel.: {ANN}", f"Mobile: {BO}", f"📞 {CY}"]

    numbers, reasons = lists.read("phone,name\n" + "".join(f"{cell},a\n" for cell in cells))

    assert numbers == [ANN, BO, CY]
    assert lists.read("phone\n" + "\n".join(others)) == ([ANN, BO, CY], [])
    assert [reason.split(":")[0] for _, reason in reasons] == [
        "Begins with 'whatsapp", "Begins with 'sms",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "mimetype",
    ["text/csv; charset=utf-8", "application/vnd.ms-excel", "application/csv", "text/plain",
     "text/tab-separated-values", "application/octet-stream"],
)  # fmt: skip
def test_a_list_may_come_under_the_types_that_systems_give_it(lists, mimetype):
    assert lists.put(f"phone\n{ANN}\n", mimetype=mimetype).status_code == 202
    assert lists.object(f"phone\n{ANN}\n", mimetype=mimetype).status_code == 200


@pytest.mark.parametrize(
    "header",
    ["Mobiltel.", "Privatmobil", "06-nummer", "Mobilné číslo", "Mobiiltelefon", "جوال", "行動電話",
     "聯絡電話", "Тел.", "Tfn", "Phone1", "Telefona numurs"],
)  # fmt: skip
def test_a_header_of_phone_numbers_is_known_in_other_languages(lists, header):
    assert lists.read(f"name;{header}\nAnn;{ANN}\n") == ([ANN], [])


@pytest.mark.parametrize(
    "header",
    ["Emergency contact phone", "Agent phone", "Sales rep mobile", "Store telephone", "Our phone",
     "Referred by (phone)", "Support tel", "Notfall Telefon", "Säljarens mobil",
     "Téléphone du magasin", "Teléfono de emergencia", "Телефон менеджера",
     "Phone id", "Old phone"],
)  # fmt: skip
def test_a_phone_of_somebody_else_is_taken_only_if_it_is_named(lists, header):
    alone, beside = f"name,{header}\nAnn,{ANN}\n", f"{header},Phone\n{ANN},{BO}\n"

    assert lists.object(alone).status_code == lists.put(alone).status_code == 400
    assert lists.object(beside).status_code == 200
    assert lists.suppressed() == [BO]
    assert lists.read(beside)[0] == [BO]
    assert lists.object(alone, column=header).status_code == 200
    assert lists.suppressed() == [ANN, BO]


def test_headers_of_more_languages_are_known(lists):
    for header in (
        "Broj telefona", "Број телефона", "Моб. тел.", "شماره موبایل", "மொபைல்", "ফোন নম্বর",
        "휴대폰 번호", "联系电话", "Namba ya simu", "Farsími", "Tālrunis", "Numri i telefonit",
        "Selfoonnommer", "Сотовый", "移动电话", "ケータイ", "핸드폰 번호", "מספר נייד", "Puh.nro",
    ):  # fmt: skip
        answer = lists.object(f"Date,{header},Id\n2026-11-01,{ANN},46701740699\n")
        assert (answer.status_code, lists.suppressed()) == (200, [ANN]), header


@pytest.mark.parametrize(
    "cell",
    ["{}-12", "{} (12)", "{} / 02", "{}\u201302", "{} 5", "{} - 0123", "0701740601 / 02"],
)
def test_more_digits_behind_a_whole_number_make_no_other_number(lists, cell):
    file = f"phone\n{cell.format(ANN)}\n{BO}\n"

    answer = lists.object(file, country="SE")

    assert lists.suppressed() == [BO]
    assert answer.get_json()["refused"]
    assert lists.read(file, country="SE") == (
        [BO], [(2, "A number with an extension gets no texts.")],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("charset", "encoding", "status"),
    [("windows-1251", "utf-8", 415), ("iso-2022-jp", "utf-8", 415), ("utf-7", "utf-8", 415),
     ("utf-8", "windows-1252", 415), ("no-such", "utf-8", 415),
     ("iso-8859-1", "windows-1252", 200), ("us-ascii", "utf-8", 200), ("utf-16", "utf-8", 200)],
)  # fmt: skip
def test_a_list_is_not_read_in_another_charset_than_it_declares(lists, charset, encoding, status):
    declared = {"mimetype": f"text/csv; charset={charset}"}

    answer = lists.object(f"phone\n{ANN}\n", encoding=encoding, **declared)
    imported = lists.put(f"phone\n{ANN}\n", encoding=encoding, **declared)

    assert answer.status_code == status
    assert imported.status_code == (202 if status == 200 else status)
    if status == 415:
        assert f"charset '{charset}'" in answer.get_json()["error"]


def test_a_log_of_texts_suppresses_neither_end_unasked(lists):
    file = f"From,To,Body\n{ANN},+12025550199,STOP\n{BO},+12025550199,Stop\n"

    answer = lists.object(file)

    assert answer.status_code == 400
    assert "column" in answer.get_json()["error"]
    assert lists.suppressed() == []
    assert lists.object(file, column="From").status_code == 200
    assert lists.suppressed() == [ANN, BO]
    assert lists.put(file).status_code == 400


@pytest.mark.parametrize(
    "cell",
    ["+46 070 174 06 01", "+460701740601", "(+46) (0)70 174 06 01", "+46 (0)70 174 06 01",
     "0046 070 174 06 01"],
)  # fmt: skip
def test_a_needless_zero_suppresses_the_person_all_the_same(lists, cell):
    assert lists.object(f"phone\n{cell}\n").status_code == 200
    assert lists.suppressed() == [ANN]


@pytest.mark.parametrize(
    ("file", "numbers"),
    [
        (f"sep=;\r\nphone;note\r\n{ANN};x\r\n", [ANN]),
        (f"\r\nphone;note\r\n{ANN};x\r\n", [ANN]),
        (f"{ANN};;\r\n{BO};;\r\n", [ANN, BO]),
        (f"phone\tnote\r\n{ANN}\tx\r\n".encode("utf-16"), [ANN]),
        (f"\ufeff{ANN}\n", [ANN]),
        (f"phone|note\n{ANN}|x\n", [ANN]),
    ],
)
def test_lists_of_opt_outs_are_read_as_those_of_subscribers(lists, file, numbers):
    assert lists.object(file).get_json()["refused"] == 0
    assert lists.suppressed() == numbers


@pytest.mark.parametrize(
    "start",
    [
        "sep=;\n",
        "SEP=;\n",
        '"sep=;"\n',
        "sep=;\n\n",
        "sep=;\n;;\n",
        "\n\n",
        ";;\n",
        '"";"";""\n',
        " ; \n\n",
    ],
)
def test_empty_rows_and_the_sign_between_cells_may_come_first(lists, start):
    file = f"{start}phone;name\n{ANN};Ann\n;\n\n"

    assert lists.read(file) == ([ANN], [])
    lists.object(file)
    assert lists.suppressed() == [ANN]


def test_a_line_above_the_headers_is_no_number_for_its_date(lists):
    answer = lists.object(f"Opt-outs until 2026-11-01\nphone,date\n{ANN},2026-01-01\n")

    assert answer.status_code == 400
    assert "its headers seem to be in line 2" in answer.get_json()["error"]


def test_a_list_of_opt_outs_may_name_its_encoding(lists):
    file = f"Größe;Telefon\n1;{ANN}\n".encode("windows-1252")

    assert lists.object(file).status_code == 400
    assert lists.object(file, encoding="windows-1252").status_code == 200
    assert lists.suppressed() == [ANN]


@pytest.mark.parametrize(
    ("header", "stays", "leaves"),
    [
        ("Unsubscribed", "no", "yes"),
        ("Unsubscribed at", "", "2026-01-01"),
        ("status", "subscribed", "unsubscribed"),
        ("Accepts SMS Marketing", "yes", "no"),
        ("Consenso SMS", "sì", "no"),
        ("Uitgeschreven", "nee", "ja"),
        ("Согласие на рассылку", "да", "нет"),
        ("Отписан", "нет", "да"),
        ("退订", "否", "是"),
        ("Opted out", "FAŁSZ", "PRAWDA"),
        ("Opted out", "EPÄTOSI", "TOSI"),
        ("Opted out", "☐", "✓"),
        ("수신거부", "아니오", "예"),
    ],
)
def test_of_an_export_with_all_people_only_those_who_left_are_suppressed(
    lists, header, stays, leaves
):
    answer = lists.object(f"phone,{header}\n{ANN},{stays}\n{BO},{leaves}\n").get_json()

    assert lists.suppressed() == [BO]
    assert (answer["refused"], answer["refusals"][0]["line"]) == (1, 2)


@pytest.mark.parametrize(
    ("header", "cell"),
    [
        ("Deleted at", ""),
        ("Opt-out reason", ""),
        ("Active", "yes"),
        ("Active", "no"),
        ("SMS", "yes"),
    ],
)
def test_a_list_of_opt_outs_loses_nobody_for_a_column_beside_it(lists, header, cell):
    answer = lists.object(f"phone,{header}\n{ANN},{cell}\n").get_json()

    assert (lists.suppressed(), answer["refused"]) == ([ANN], 0)


def test_an_opt_out_that_lost_its_plus_suppresses_nobody_else(lists):
    answer = lists.object("phone\n491732345678\n", country="DE").get_json()

    assert (answer["numbers"], answer["refused"]) == (0, 1)
    assert lists.suppressed() == []


@pytest.mark.parametrize("cell", ["046701740601", "070 174 06 0", "1740601", "019 46701740601"])
def test_an_opt_out_of_digits_that_no_number_has_is_refused_not_guessed(lists, cell):
    answer = lists.object(f"phone\n{cell}\n", country="SE").get_json()

    assert (answer["numbers"], answer["refused"]) == (0, 1)
    assert lists.suppressed() == []


@pytest.mark.parametrize("delimiter", [",", ";", "tab"])
def test_our_files_for_spreadsheets_are_lists_again(lists, service, delimiter):
    lists.read(f"phone,first name,attributes.other\n{ANN},Göran,{BO}\n")
    query = {"spreadsheet": "true", "delimiter": delimiter}
    paths = ("/api/subscribers.csv", "/api/suppressions.csv", f"{lists.url}/refused.csv")

    files = [
        service.test_client().get(path, headers=AUTH, query_string=query).data for path in paths
    ]

    assert all(file.startswith(b"\xef\xbb\xbf") for file in files)
    assert f'"=""{ANN}"""'.encode() in files[0]
    assert lists.read(files[0]) == ([ANN], [])
    assert lists.people()[ANN]["attributes"] == {"other": BO}
    assert lists.object(files[0]).status_code == 200
    assert lists.suppressed() == [ANN]
    wrong = service.test_client().get(paths[0], headers=AUTH, query_string={"delimiter": "x"})
    assert wrong.status_code == 400
