"""A process that syncs for each line of its input: `python -m benchmarks.worker CONTENDER`.

Prints an empty line when it is ready, and the seconds of each sync.
"""

import gc
import importlib
import sys

from benchmarks.services import seconds_of

if __name__ == "__main__":
    sync = importlib.import_module(f"benchmarks.{sys.argv[1]}").prepare()
    print(flush=True)
    for _ in sys.stdin:
        gc.collect()
        print(seconds_of(sync), flush=True)
