"""Runs a program against a server behind TLS: `behind_tls.py URL COMMAND...`.

A proxy that ends TLS stands in front of the server at URL, as a self-hosted one has it. The command gets the proxy's
URL for each argument that is URL, on a machine that trusts the proxy's authority and no other. Exit code: that of the
command; 77, with the reason, where nothing can be mounted or there is no bundle of certificates.
"""

from __future__ import annotations

import http.client
import http.server
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from pathlib import Path
from typing import Any

import trustme

SKIPPED = 77
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
UNSHARE = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
OWN_HEADERS = {"connection", "keep-alive", "transfer-encoding", "upgrade", "date", "server"}
LIMIT = 200.0  # seconds for one request
PIECE = 1 << 16


class Handler(http.server.BaseHTTPRequestHandler):
    """Passes each request on."""

    protocol_version = "HTTP/1.1"
    target = ""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.forward
        raise AttributeError(name)

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = http.client.HTTPConnection(self.target, timeout=LIMIT)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in OWN_HEADERS:
                server.putheader(name, value)
        server.putheader("X-Forwarded-Proto", "https")
        server.endheaders(body)
        answer = server.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in OWN_HEADERS:
                self.send_header(name, value)
        bare = self.command == "HEAD" or answer.status in (204, 304)
        chunked = not bare and answer.getheader("Content-Length") is None
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while piece := answer.read1(PIECE):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        server.close()

    def log_message(self, *_: Any) -> None:
        pass


def main(url: str, command: list[str]) -> int:
    if not BUNDLE.is_file() or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode != 0:
        print(f"missing: a mount namespace, or {BUNDLE}", file=sys.stderr)
        return SKIPPED
    parts = urllib.parse.urlsplit(url)
    Handler.target = parts.netloc
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    front = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    front.daemon_threads = True
    front.socket = context.wrap_socket(front.socket, server_side=True)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    fronted = f"https://127.0.0.1:{front.server_port}{parts.path}"
    with tempfile.TemporaryDirectory() as folder:
        bundle = str(Path(folder) / "authority.pem")
        authority.cert_pem.write_to_path(bundle)
        trusting = f'mount --bind "{bundle}" {BUNDLE} && exec "$@"'
        arguments = [fronted if argument == url else argument for argument in command]
        # Python looks there, and what it is told does not reach the official client's uploads.
        env = {**os.environ, "SSL_CERT_FILE": bundle}
        return subprocess.run([*UNSHARE, "sh", "-c", trusting, "sh", *arguments], env=env).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2:]))
