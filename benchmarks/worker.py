"""A contender in a process of its own, that syncs when told to: `python -m benchmarks.worker NAME`.

Reads one command a line and answers each with one line of JSON: the seconds that a sync took and the
most memory that the process had meanwhile, in bytes over what it had before.
"""

import gc
import importlib
import json
import sys
import time
from pathlib import Path


def main() -> None:
    sync = importlib.import_module(f"benchmarks.{sys.argv[1]}").prepare()
    print(json.dumps({}), flush=True)
    for _ in sys.stdin:
        gc.collect()
        _reset_peak()
        at_rest = _memory("VmRSS")
        began = time.perf_counter()
        sync()
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "peak": _memory("VmHWM") - at_rest}), flush=True)


def _memory(name: str) -> int:
    """Return a line of Linux's account of this process, in bytes; 0 elsewhere."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next(
        int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(name)
    )


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # the peak is then that since the process began


if __name__ == "__main__":
    main()
