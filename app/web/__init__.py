"""HTML pages: `/` with links, and `/docs`, Swagger UI for the API.

All assets come from this server: the page needs no other host.
"""
