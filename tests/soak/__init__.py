"""Hours of ordinary use, and what of it must not grow: `make soak MINUTES=30`.

traffic  what clients, people at the pages and phones do meanwhile
watch    memory, descriptors, threads and files of the service, and whether they grow
ledger   what Sinch has accepted, by broadcast, against the counts
"""
