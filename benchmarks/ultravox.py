"""The sandbox in a process of its own, for measuring: `python -m benchmarks.ultravox VOICES`.

Prints its URL once all pages are made ahead, and ends with its standard input.
"""

import gc
import sys

from sandbox import Sandbox


def main() -> None:
    with Sandbox(count=int(sys.argv[1]), record=False) as sandbox:
        sandbox.warm_up()
        gc.collect()
        gc.freeze()
        print(sandbox.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
