"""Pages of what people write to us, and of the texts that we keep to write to them.

inbox.py      threads by person, an answer, the judgement of a text that may mean "stop"
templates.py  texts in several languages with all their versions
tags.py       tags with their numbers of people
"""
