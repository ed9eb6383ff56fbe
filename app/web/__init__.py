"""Pages for people: sign in, overview, broadcasts, decisions; and the API's documentation.

    session -> guard.py (user, role, CSRF, policy) -> a view -> functions of app.sms -> template

guard.py        what every page has: session, role, CSRF token, security policy, frame
errors.py       errors as pages
overview.py     needs attention, under way, scheduled, the last 30 days; why a number got no text
glossary.py     what every word means
words.py        numbers and times
polling.py      how soon a region is read again
broadcasts/     the list, one broadcast, its people; an operator's decisions
admin/          keys, caps and the audit log, for administrators
new/            a broadcast in steps, as a draft until it is sent
conversations/  inbox: threads by person, and answers; templates; tags
accounts/       sign in, the own account, users
subscribers/    people: search, one person, stop and allow texts
routes.py       `/`, `/docs`

All assets come from this server: the pages need no other host, and work without JavaScript.
"""
