"""The real state machine in a simulated world: one seed is one run, and every seed replays.

world     time, tasks that take turns at every border they cross, crashes, the trace
faults    which kinds of trouble a seed has, and how much of each
sinch     a stand-in for Sinch with a ledger of its own
database  a real SQLite file whose transactions may fail before, during or after their commit
glance    what there is to do, as the database tells it
audience  subscribers who agreed or not, where they live, and how they may be written to
phones    people who text STOP and START, told at once, late, twice, or only in a list
people    clients who order and ask again, operators who pause, cancel, decide and restore
caps      how many parts may go in an hour, of some runs
claims    what must hold of each claim and each request: nobody who stopped, nobody at night
oracle    what must hold after every commit, and at the end: nobody twice, nobody lost
running   one seed from its first step to its last check
variants  the same with a mistake built in, to see that the simulation finds it

`make simulate SEEDS=100000` runs that many seeds, `make simulate SEED=123` one, with its trace.
"""
