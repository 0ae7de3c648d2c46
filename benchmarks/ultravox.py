"""The tests' Ultravox in a process of its own, to measure against: `python -m benchmarks.ultravox VOICES`.

Prints its URL once all pages are made ahead. A line of its standard input is the latency of each page
from then on, in milliseconds, and is answered by how many requests have come; it ends with its standard
input.
"""

import gc
import sys

from tests.ultravox import Ultravox


def main() -> None:
    with Ultravox(count=int(sys.argv[1]), record=False) as ultravox:
        ultravox.warm_up()
        gc.collect()
        gc.freeze()
        print(ultravox.url, flush=True)
        for line in sys.stdin:
            ultravox.latency = float(line) / 1000
            print(ultravox.request_count, flush=True)


if __name__ == "__main__":
    main()
