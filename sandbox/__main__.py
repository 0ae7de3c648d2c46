"""Run the sandbox as a command: `python -m sandbox`."""

import argparse
import errno
import shlex
import signal
import sys
from collections.abc import Sequence

from sandbox.faults import FAULTS
from sandbox.server import API_KEY, Sandbox


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Run a fake Ultravox API, with made-up voices.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=8765, help="0 picks a free port (default: %(default)s)")
    add("--key", action="append", help=f"API key to accept; can be repeated (default: {API_KEY})")
    add("--voices", type=int, default=300, metavar="N", help="number of voices (%(default)s)")
    add("--latency", type=int, default=0, metavar="MS", help="delay of pages and previews")
    add("--fault", choices=FAULTS, metavar="NAME", help="how to misbehave; see --list-faults")
    add("--list-faults", action="store_true", help="list the faults and exit")
    return parser.parse_args(arguments)


def _describe(sandbox: Sandbox, keys: list[str], voices: int) -> None:
    print(f"Sandbox of the Ultravox voices API with {voices:,} made-up voices")
    print(f"  URL    {sandbox.url}")
    print(f"  key    {', '.join(keys)}")
    if sandbox.fault:
        print(f"  fault  {sandbox.fault.does}")
    header = shlex.quote(f"X-API-Key: {keys[0]}")
    print(f"  try    curl -H {header} '{sandbox.url}/api/voices?pageSize=3'")
    print("Press Ctrl-C to stop.", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM. Return the exit status."""
    options = _parse(arguments)
    if options.list_faults:
        for name, fault in FAULTS.items():
            print(f"{name:<18} {fault.does}")
        return 0
    keys: list[str] = options.key or [API_KEY]
    # Threads inherit the blocked signals, so only sigwait() receives them.
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with Sandbox(
            host=options.host,
            port=options.port,
            keys=keys,
            count=options.voices,
            latency=options.latency / 1000,
            fault=options.fault,
        ) as sandbox:
            _describe(sandbox, keys, options.voices)
            signal.sigwait(ends)
    except OSError as error:
        where = f"{options.host}:{options.port}"
        message = f"cannot listen on {where}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            message = f"{where} is in use. Choose another port with --port."
        print(f"python -m sandbox: {message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
