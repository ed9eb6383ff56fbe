"""Clarion: a self-hosted bulk-SMS broadcast service over the Sinch SMS API."""
