"""A fast Ultravox to measure against: `python -m benchmarks.ultravox VOICES MILLISECONDS`.

All pages are rendered in advance, and each one takes the given time. Prints its URL when it is ready.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.floor import PAGES
from sandbox.catalogue import make_voices

PAGE_SIZE = 100  # voices
VOICES, LATENCY = int(sys.argv[1]), float(sys.argv[2]) / 1000

responses: dict[str, bytes] = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open

    def do_GET(self) -> None:
        time.sleep(LATENCY)
        self.wfile.write(responses[self.path])

    def log_message(self, *args: Any) -> None:
        pass


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    voices = make_voices(VOICES, base_url=url)
    targets = [PAGES, *(f"{PAGES}&cursor={n}" for n in range(PAGE_SIZE, VOICES, PAGE_SIZE))]
    for number, target in enumerate(targets):
        results = voices[number * PAGE_SIZE :][:PAGE_SIZE]
        following = url + targets[number + 1] if number + 1 < len(targets) else None
        page = {"next": following, "previous": None, "total": VOICES, "results": results}
        body = json.dumps(page, ensure_ascii=False, separators=(",", ":")).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
        responses[target] = head.encode() + body
    print(url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
