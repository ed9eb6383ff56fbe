"""Open hours for marketing by country, as data, each with its source.  Pure.

Few laws mention texts.  A law about calls applies to texts with its hours, but not with its
forbidden days.  Where sources differ, the hours are those that all of them allow.  No country's
hours begin before 08:00 or end after 21:00.  Holidays are not modelled.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time

# Begin and end by the local clock.  An end of 00:00 is midnight; equal times are the whole day.
# None: no marketing on that day.
Hours = tuple[time, time] | None
# Monday first.
Week = tuple[Hours, ...]

ANYWHERE = "*"
_CAREFUL = "08:00-20:00"
_NEVER = "never"
_READ = date(2026, 11, 27)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietRule:
    """The hours of a country.

    A rule is `confirmed` if its source was read on the date `read`, in a stored copy.  All others
    have the careful hours of everywhere.
    """

    country: str
    week: Week
    source: str
    url: str = ""
    read: date | None = None
    confirmed: bool = False


def _parse_hours(text: str) -> Hours:
    if text == _NEVER:
        return None
    opens, closes = text.split("-")
    return time.fromisoformat(opens), time.fromisoformat(closes)


def _careful(country: str, source: str) -> QuietRule:
    return QuietRule(country=country, week=(_parse_hours(_CAREFUL),) * 7, source=source)


def _rule(
    country: str,
    hours: str,
    source: str,
    url: str,
    *,
    saturday: str | None = None,
    sunday: str | None = None,
) -> QuietRule:
    weekdays, weekend = hours, (saturday or hours, sunday or hours)
    return QuietRule(
        country=country,
        week=tuple(_parse_hours(hours) for hours in (*[weekdays] * 5, *weekend)),
        source=source,
        url=url,
        read=_READ,
        confirmed=True,
    )


def _list_rules() -> Iterator[QuietRule]:
    yield _careful(ANYWHERE, "Our own careful choice.")
    yield _rule(
        "AE",
        "08:00-21:00",
        "TDRA: no marketing texts from 21:00 to 07:00.",
        "https://help.nexmo.com/hc/en-us/articles/204017363-UAE-SMS-Features-and-Restrictions",
    )
    yield _rule(
        "AU",
        "09:00-20:00",
        "Telemarketing and Research Calls Industry Standard 2017, of calls: 9 to 20 on weekdays, "
        "9 to 17 on Saturdays. On Sundays it forbids telemarketing calls; texts are not under it.",
        "https://www.donotcall.gov.au/consumers/consumer-overview/industry-standards/",
        saturday="09:00-17:00",
        sunday="09:00-17:00",
    )
    yield _rule(
        "BE",
        "09:00-20:00",
        "No law known; a provider's guide for its customers.",
        "https://support.ometria.com/hc/en-gb/articles/19820202385437-SMS-country-specific-marketing-compliance",
    )
    yield _careful("BR", "No law on texts confirmed; providers name 8 to 21.")
    yield _rule(
        "CA",
        "09:00-20:00",
        "CRTC, Unsolicited Telecommunications Rules, of calls: 9:00 to 21:30 on weekdays, 10 to 18 "
        "on weekends.",
        "https://www.northerntel.ca/eng/inside_ntl/donotcalllist/donotcalllist.htm",
        saturday="10:00-18:00",
        sunday="10:00-18:00",
    )
    yield _rule(
        "CO",
        "08:00-19:00",
        "Ley 2300 de 2023, articles 3 and 5, of texts: 7 to 19 on weekdays, 8 to 15 on Saturdays, "
        "not on Sundays and holidays.",
        "https://leyonline.co/laws/ley-2300-de-2023/articulo-5o",
        saturday="08:00-15:00",
        sunday=_NEVER,
    )
    for country in ("DE", "DK", "ES", "IT", "SE", "SG"):
        yield _careful(country, "No law on the hours of texts confirmed.")
    # The law of the republic holds in its overseas departments as well.
    for country in ("FR", "GF", "GP", "MQ", "RE", "YT"):
        yield _rule(
            country,
            "08:00-20:00",
            "af2m, charter of Business Messaging, binding on operators: working days, 8 to 22; "
            "providers name 8 to 20. Not on holidays either.",
            "https://af2m.org/la-charte-de-deontologie-applicable-aux-services-de-business-messaging-est-effective-depuis-le-1er-septembre-2024",
            sunday=_NEVER,
        )
    yield _rule(
        "GB",
        "09:00-20:00",
        "No law known; a provider's guide for its customers.",
        "https://support.ometria.com/hc/en-gb/articles/19820202385437-SMS-country-specific-marketing-compliance",
    )
    yield _rule(
        "IN",
        "10:00-21:00",
        "TRAI, TCCCPR 2018: promotional texts from 9 to 21; operators let them pass from 10.",
        "https://developer.exotel.com/docs/faqs/tcccpr-2018",
    )
    yield _rule(
        "KE",
        "08:00-19:00",
        "Communications Authority, draft guidelines: 7 to 19.",
        "https://nation.africa/kenya/news/no-annoying-promo-texts-past-7pm-as-ca-cracks-down-on-mobile-operators-3903208",
    )
    yield _rule(
        "KR",
        "08:00-21:00",
        "Network Act, article 50: from 21 to 8 only with a consent of its own.",
        "https://docs.dfinery.ai/user-guide/en/action/off-site-campaign/info-vs-ads",
    )
    yield _rule(
        "KZ",
        "09:00-20:00",
        "No law confirmed; a provider holds 22 to 9 back, and 20 to 8 everywhere.",
        "https://help.getvero.com/vero-2/articles/sms-quiet-hours-compliance",
    )
    yield _careful("MX", "Carriers keep hours of promotional messages; which, is not confirmed.")
    yield _rule(
        "NG",
        "08:00-20:00",
        "NCC: no promotional texts from 20 to 8.",
        "https://status.africastalking.com/incident/538/",
    )
    yield _rule(
        "NO",
        "09:00-20:00",
        "Markedsføringsloven § 14, of calls: 9 to 21, not on Saturdays and holidays.",
        "https://ndla.no/nn/subjects/subject:35/topic:1:193441/resource:1:127185",
    )
    yield _rule(
        "SA",
        "09:00-20:00",
        "CST: promotional texts from 9 to 22; others name 8 to 22 and 9 to 20.",
        "https://docs.unifonic.com/docs/compliance-sms",
    )
    yield _careful("TR", "No law on the hours of texts confirmed; providers name 8 to 21.")
    yield _rule(
        "US",
        "09:00-20:00",
        "47 CFR 64.1200(c)(1): 8 to 21. States are stricter: Florida, Maryland and Oklahoma 8 to "
        "20, Connecticut 9 to 20, Texas 9 to 21 and from noon on Sundays, texts named. Stricter "
        "still, of calls, and not kept, are among others: Kentucky from 10, Rhode Island 9 to 18, "
        "no Sundays in Alabama, Louisiana and Mississippi.",
        "https://support.referrizer.com/en/category/text-campaigns/article/tcpa-quiet-hours-and-state-specific-rules-for-text-campaigns",
        sunday="12:00-20:00",
    )
    yield _rule(
        "VN",
        "08:00-21:00",
        "Decree 91/2020/ND-CP: advertising texts from 7 to 22.",
        "https://www.dlapiperdataprotection.com/index.html?c=VN&t=electronic-marketing",
    )
    yield _rule(
        "ZA",
        "08:00-20:00",
        "Consumer Protection Act, 2008, R293: not from 20 to 8, on Saturdays not before 9 and "
        "after 13, not on Sundays and holidays.",
        "https://www.acts.co.za/consumer-protection-act-2008/r293_prohibited_time_for_contacting_consumers",
        saturday="09:00-13:00",
        sunday=_NEVER,
    )


RULES = {rule.country: rule for rule in _list_rules()}


def write_table() -> str:
    """Return all rules as a Markdown table, the one of everywhere first."""
    lines = [
        "| country | weekdays | Saturday | Sunday | source |",
        "|---|---|---|---|---|",
    ]
    for rule in sorted(RULES.values(), key=lambda rule: rule.country):
        days = " | ".join(_show_hours(rule.week[day]) for day in (0, 5, 6))
        lines.append(f"| `{rule.country}` | {days} | {_show_source(rule)} |")
    return "\n".join(lines) + "\n"


def _show_hours(hours: Hours) -> str:
    return _NEVER if hours is None else f"{hours[0]:%H:%M}-{hours[1]:%H:%M}"


def _show_source(rule: QuietRule) -> str:
    if rule.read is None:
        return rule.source
    return f"{rule.source} [Read {rule.read}]({rule.url})"
