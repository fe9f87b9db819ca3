"""A small S3 server on loopback, as far as pyarrow's client needs one: objects in memory, ranges, lists, parts."""

from __future__ import annotations

import contextlib
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest

BUCKET = "corpora"
_HEADER = '<?xml version="1.0" encoding="UTF-8"?>'


class ObjectStore(ThreadingHTTPServer):
    """objects : key to content, of the one bucket there is; refused : keys that nobody may read."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.refused: set[str] = set()
        self.uploads: dict[str, dict[int, bytes]] = {}


@contextlib.contextmanager
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A running server that pyarrow finds by the environment."""
    server = ObjectStore()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: ObjectStore

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Silent."""

    def handle_expect_100(self) -> bool:
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def _parse(self) -> tuple[str, str, dict[str, str]]:
        url = urllib.parse.urlsplit(self.path)
        bucket, _, key = urllib.parse.unquote(url.path).lstrip("/").partition("/")
        return bucket, key, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _xml(self, text: str) -> None:
        self._answer(200, (_HEADER + text).encode(), Content_Type="application/xml")

    def _error(self, status: int, code: str) -> None:
        body = f"{_HEADER}<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self._answer(status, body.encode(), Content_Type="application/xml")

    def _refused(self, bucket: str, key: str) -> bool:
        if bucket != BUCKET:
            self._error(404, "NoSuchBucket")
        elif key in self.server.refused:
            self._error(403, "AccessDenied")
        else:
            return False
        return True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "x-amz-decoded-content-length" not in self.headers:
            return body
        content, position = b"", 0
        while position < len(body):  # aws-chunked: "SIZE;signature CRLF data CRLF" ..., then checksums
            end = body.index(b"\r\n", position)
            size = int(body[position:end].partition(b";")[0], 16)
            if not size:
                break
            content += body[end + 2 : end + 2 + size]
            position = end + 4 + size
        return content

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_HEAD(self) -> None:
        bucket, key, _ = self._parse()
        if self._refused(bucket, key):
            return
        if key and key not in self.server.objects:
            self._error(404, "NoSuchKey")
        else:
            size = len(self.server.objects.get(key, b""))
            self._answer(200, Content_Length=str(size), Last_Modified="Sun, 22 Nov 2026 12:00:00 GMT", ETag='"1"')

    def do_GET(self) -> None:
        bucket, key, query = self._parse()
        if self._refused(bucket, key):
            return
        if not key:
            self._list(query)
        elif key not in self.server.objects:
            self._error(404, "NoSuchKey")
        else:
            content = self.server.objects[key]
            start, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            self._answer(206, content[int(start) : int(last or len(content)) + 1], ETag='"1"')

    def _list(self, query: dict[str, str]) -> None:
        """Three keys a page, so that pages are asked for."""
        prefix, delimiter, after = query.get("prefix", ""), query.get("delimiter"), query.get("continuation-token", "")
        keys = sorted(key for key in self.server.objects if key.startswith(prefix) and key > after)
        folders = {prefix + key[len(prefix) :].split("/")[0] + "/" for key in keys if "/" in key[len(prefix) :]}
        if delimiter:
            keys = [key for key in keys if "/" not in key[len(prefix) :]]
        shown, more = keys[:3], len(keys) > 3
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[key])}</Size>"
            "<LastModified>2026-11-22T12:00:00.000Z</LastModified></Contents>"
            for key in shown
        )
        entries += "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders) if delimiter
        )
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        count = len(shown) + (len(folders) if delimiter else 0)
        self._xml(
            f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{count}</KeyCount>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        )

    def do_PUT(self) -> None:
        bucket, key, query = self._parse()
        body = self._body()
        if self._refused(bucket, key):
            return
        if "partNumber" in query:
            self.server.uploads[query["uploadId"]][int(query["partNumber"])] = body
        else:
            self.server.objects[key] = body
        self._answer(200, ETag='"1"')

    def do_POST(self) -> None:
        bucket, key, query = self._parse()
        body = self._body()
        if self._refused(bucket, key):
            return
        if "delete" in query:
            for found in ElementTree.fromstring(body).iter():  # noqa: S314 (the client's own, in a test)
                if found.tag.endswith("Key"):
                    self.server.objects.pop(found.text or "", None)
            self._xml("<DeleteResult/>")
        elif "uploads" in query:
            upload = f"upload-{len(self.server.uploads)}"
            self.server.uploads[upload] = {}
            self._xml(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        else:
            parts = self.server.uploads[query["uploadId"]]
            self.server.objects[key] = b"".join(parts[number] for number in sorted(parts))
            self._xml(f"<CompleteMultipartUploadResult><Key>{escape(key)}</Key></CompleteMultipartUploadResult>")

    def do_DELETE(self) -> None:
        _, key, _ = self._parse()
        self.server.objects.pop(key, None)
        self._answer(204)
