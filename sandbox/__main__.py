"""Run the sandbox as a command: `python -m sandbox`."""

import argparse
import errno
import gc
import itertools
import shlex
import signal
import sys
from collections.abc import Sequence

from sandbox.faults import FAULTS
from sandbox.server import API_KEY, Sandbox


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise ValueError(text)
    return value


def _milliseconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 3_600_000:
        raise ValueError(text)
    return value


def _fault(text: str) -> str:
    if text not in FAULTS:
        raise argparse.ArgumentTypeError(f"there is no {text!r}; see --list-faults")
    return text


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Answer as the Ultravox voices API does, with a catalogue of made-up voices.",
    )
    # argparse names the type in its messages.
    _count.__name__, _port.__name__, _milliseconds.__name__ = "number", "port", "milliseconds"
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=8765, help="%(default)s; 0 is any free one")
    parser.add_argument(
        "--key",
        action="append",
        metavar="KEY",
        help=f"an API key to accept; may be repeated ({API_KEY})",
    )
    parser.add_argument(
        "--voices",
        type=_count,
        default=300,
        metavar="N",
        help="size of the catalogue (%(default)s)",
    )
    parser.add_argument(
        "--latency",
        type=_milliseconds,
        default=0.0,
        metavar="MS",
        help="milliseconds to wait before each page (%(default)s)",
    )
    parser.add_argument("--fault", type=_fault, metavar="NAME", help="misbehave; see --list-faults")
    parser.add_argument("--list-faults", action="store_true", help="list the faults and end")
    return parser.parse_args(arguments)


def _list_faults() -> None:
    if hasattr(signal, "SIGPIPE"):  # `| head` is no error.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    width = max(map(len, FAULTS))
    for group, faults in itertools.groupby(FAULTS.values(), key=lambda fault: fault.group):
        print(f"\n{group}")
        for fault in faults:
            print(f"  {fault.name:<{width}}  {fault.does}")


def _describe(sandbox: Sandbox, keys: list[str], fault: str | None) -> None:
    print(f"Sandbox of the Ultravox voices API, {len(sandbox.voices):,} made-up voices")
    print(f"  URL    {sandbox.url}")
    print(f"  key    {', '.join(keys)}")
    if fault:
        print(f"  fault  {fault}: {FAULTS[fault].does}")
    header = shlex.quote(f"X-API-Key: {keys[0]}")
    print(f"  try    curl -H {header} '{sandbox.url}/api/voices?pageSize=3'")
    print("Ctrl-C ends it.", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status."""
    options = _parse(arguments)
    if options.list_faults:
        _list_faults()
        return 0
    keys: list[str] = options.key or [API_KEY]
    # Blocked in the threads too, which inherit it: only sigwait() takes them.
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    sandbox = Sandbox(
        host=options.host,
        port=options.port,
        count=options.voices,
        keys=keys,
        latency=options.latency / 1000,
        record=False,
    )
    try:
        sandbox.start()
    except OSError as error:
        where = f"{options.host}:{options.port}"
        if error.errno == errno.EADDRINUSE:
            message = f"{where} is taken: choose another with --port"
        else:
            message = f"cannot listen on {where}: {error.strerror or error}"
        print(f"python -m sandbox: {message}", file=sys.stderr)
        return 1
    try:
        if options.fault:
            sandbox.fault = options.fault
        _describe(sandbox, keys, options.fault)
        sandbox.warm_up()
        gc.freeze()
        signal.sigwait(ends)
    finally:
        sandbox.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
