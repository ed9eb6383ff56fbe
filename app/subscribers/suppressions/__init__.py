"""Suppressions: the opt-out list of numbers that are not written to.

store         find, suppress and release numbers; the lock that every claim takes; the key of
              phone hashes, and its change
manage        list, add, confirm and release by hand, with consent events
forget        erase a person: only the hash of the number stays suppressed
csv_files     lists of numbers in and out
respell       suppressions of an earlier version, under the one spelling of their number
hashed_lists  lists of hashes in and out, for a restore from a backup
"""
