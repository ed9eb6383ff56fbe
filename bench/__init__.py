"""Each file measures one thing against its limit, in one run, and prints a ratio.

    make bench                          all of them
    python -m bench.bench_validation    one

Ratios hold where absolute times do not: both sides run in turn, in the same minute, on the same
machine.  The median over the rounds is printed, with the lowest and the highest.
"""
