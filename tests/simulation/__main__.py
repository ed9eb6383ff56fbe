"""`python -m tests.simulation FIRST COUNT` runs so many seeds; SEED=n runs one and shows it."""

import sys

from tests.simulation.seeds import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
