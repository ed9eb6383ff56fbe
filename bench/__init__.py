"""Each file measures one thing against its limit, in one run, and prints a ratio.

    make bench                          all of them
    python -m bench.bench_validation    one

Ratios can be compared between machines, absolute times cannot: both sides run in turn, in the same
minute, on one machine.  Each bench prints the median over the rounds, the lowest and the highest.
"""
