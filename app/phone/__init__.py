"""Phone numbers: reading, checking and masking them, their countries, and pseudonyms.

E.164: the international form, `+` and 2 to 15 digits.
sender: E.164, a short code of 3 to 8 digits, or an alphanumeric name.
pseudonym: `-` and digits, in place of the number of an erased person.

    e164.py         the E.164 rule, the one spelling of a number, libphonenumber's facts about it
    reader.py       numbers as spreadsheets and people write them, to E.164
    mentions.py     a number in a text, however it is written there
    characters.py   invisible characters, and digits of all scripts
    country.py      the country of a number, fast
    country_names.py  names and time zones of countries
    allowed.py      countries and kinds of numbers that may be texted
    pseudonym.py    pseudonyms of erased numbers
"""
