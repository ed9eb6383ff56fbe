"""Commands over stored data: subscribers, suppressions, the consent ledger, prices."""
