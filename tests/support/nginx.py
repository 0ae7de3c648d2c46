"""A real nginx with deploy/nginx.conf, on free ports of this machine."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tests.support.project import ROOT, free_port, wait_for
from tests.support.tools import find

CONFIGURATION = (ROOT / "deploy" / "nginx.conf").read_text()
CREATE_CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=nginx"
    " -addext subjectAltName=IP:127.0.0.1 -keyout certificate.pem -out certificate.pem"
)


class Nginx:
    """nginx in front of the servers at `upstreams`, with its own `url` and `https_url`."""

    def __init__(
        self, upstreams: Sequence[str], folder: Path, changes: Mapping[str, str] | None = None
    ) -> None:
        nginx = find("nginx", "nginx-light")
        self.folder = folder / "nginx"
        self.folder.mkdir()
        self.certificate = self.folder / "certificate.pem"
        command = CREATE_CERTIFICATE.split()
        subprocess.run(command, cwd=self.folder, capture_output=True, check=True)
        http, https = free_port(), free_port()
        self.url, self.https_url = f"http://127.0.0.1:{http}", f"https://127.0.0.1:{https}"
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {kind};" for kind in kinds)
        servers = " ".join(f"server {urlsplit(upstream).netloc};" for upstream in upstreams)
        text = CONFIGURATION
        for old, new in {
            "user www-data;": "" if os.geteuid() else "user root;",
            "/run/": "",
            "/var/log/nginx/error.log": "error.log",
            "/var/log/nginx/access.log": "access.log",
            "/etc/nginx/tls/certificate.pem": "certificate.pem",
            "/etc/nginx/tls/key.pem": "certificate.pem",
            "http {": f"http {{ {temporary}",
            "server 127.0.0.1:8000;": servers,
            "listen 80 ": f"listen 127.0.0.1:{http} ",
            "listen 443 ": f"listen 127.0.0.1:{https} ",
            **(changes or {}),
        }.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (self.folder / "nginx.conf").write_text(text)
        options = ("-e", "start.log", "-g", "daemon off;")
        self.command = [nginx, "-p", str(self.folder), "-c", "nginx.conf", *options]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self.command)
        pid = self.folder / "nginx.pid"
        wait_for(lambda: pid.exists() or self.process.poll() is not None, what="nginx")
        assert self.process.poll() is None, self.logs()
        return self

    def __exit__(self, *error: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)

    def logs(self) -> str:
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))
