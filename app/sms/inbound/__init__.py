"""Texts from phones: opt-out, opt-in, the double opt-in question and automatic replies.

inbound: a text from a phone to us, from a callback or from Sinch's list.
intent: STOP, START, HELP or YES, by app.keywords.
reply: the one text that answers an inbound, a broadcast of the client `clarion`.

    receive.py          store each inbound once, read Sinch's list
    intent.py           the intent of an inbound
    opt_out.py          apply the intent: suppressions, consent, tags, the reply
    auto_reply.py       store a reply, within its limits
    double_opt_in.py    send the double opt-in question
    reply_texts.py      texts of replies and of the question, by language
    threads.py          texts with one number, both ways, and the list of them
    answer.py           an answer that a user writes
    list.py             list inbounds; routes, schemas, serialize: over HTTP
"""
