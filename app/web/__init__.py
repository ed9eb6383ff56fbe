"""Pages for people.  So far one: /docs, the API tried out in a browser."""
