"""A server that answers as the Hub does, for one repository, and misbehaves as it is told to."""

import hashlib
import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c" * 40
NAME = "owner/model"


@dataclass
class Misbehaviour:
    """What goes wrong, with which paths, and how often before all is well.

    ``kind``: a status code, "half" (the connection ends in the middle), "slow" (no answer in time)
    or "other" (as many bytes, but others).
    """

    kind: str
    part: str
    times: int
    asked: dict[str, int] = field(default_factory=dict[str, int])

    def now(self, path: str) -> str | None:
        """What is to go wrong with this request, counting it."""
        self.asked[path] = self.asked.get(path, 0) + 1
        wrong = self.part in path and self.times > 0
        self.times -= wrong
        return self.kind if wrong else None


@contextmanager
def serving(folder: Path, wrong: Misbehaviour) -> Generator[str]:
    """Serve a folder as the repository; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format, *given):
            pass

        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, *, with_body):
            path = self.path.partition("?")[0]
            kind = wrong.now(f"{self.command} {path}")
            if kind is not None and kind.isdigit():
                return self.reply(int(kind), b"no", with_body=with_body)
            if kind == "slow":
                time.sleep(3)
            if path.startswith("/api/"):
                told = tree(folder) if "/tree/" in path else listing(folder)
                return self.reply(200, told, with_body=with_body)
            file = folder / path.partition(f"/resolve/{COMMIT}/")[2]
            if not file.is_file():
                return self.reply(404, b"", with_body=with_body)
            content = file.read_bytes()
            tag = hashlib.sha256(content).hexdigest()
            start = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
            if kind == "other":
                content = bytes(byte ^ 1 for byte in content)
            headers = {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.reply(
                206 if start else 200,
                content[start:],
                headers,
                with_body=with_body,
                half=kind == "half",
            )

        def reply(self, code, content, headers=None, *, with_body, half=False):
            self.send_response(code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if with_body:
                self.wfile.write(content[: len(content) // 2] if half else content)
            if half:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def tree(folder: Path) -> bytes:
    """What the Hub says of a repository's files when it is asked for them alone."""
    told = json.loads(listing(folder))["siblings"]
    return json.dumps(
        [
            {
                "type": "file",
                "path": each["rfilename"],
                "size": each["size"],
                "oid": each["blobId"],
                **({"lfs": {**each["lfs"], "oid": each["lfs"]["sha256"]}} if "lfs" in each else {}),
            }
            for each in told
        ]
    ).encode()


def listing(folder: Path) -> bytes:
    """What the Hub says of a repository."""
    siblings = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        told: dict[str, Any] = {
            "rfilename": path.relative_to(folder).as_posix(),
            "size": path.stat().st_size,
        }
        if path.suffix == ".safetensors":
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            told["lfs"] = {"sha256": digest, "size": told["size"], "pointerSize": 134}
        siblings.append({**told, "blobId": "b" * 40})
    content = {
        "id": NAME,
        "modelId": NAME,
        "sha": COMMIT,
        "private": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "cardData": {"license": "openrail++"},
        "siblings": siblings,
    }
    return json.dumps(content).encode()
