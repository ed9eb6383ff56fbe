"""The consent ledger: an append-only hash chain of opt-ins and opt-outs.

ledger      append entries, read a number's links, erase a person's data
hash_chain  what is hashed, byte by byte; pure
verify      verify the whole chain; make the evidence document of one number

link: a row of consent_events; head: the last link's number and hash;
commitment: the hash of a link's content, which stays when the content is erased
"""
