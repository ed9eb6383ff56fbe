"""Pages of what people write to us.

inbox.py      threads by person, an answer, the judgement of a text that may mean "stop"
masking.py    names and numbers as a role may see them
"""
