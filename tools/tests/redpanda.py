# SPDX-License-Identifier: Apache-2.0
"""A server with the part of Redpanda's admin API that is about transforms, and of its HTTP Proxy that is about their logs.

Written from https://docs.redpanda.com/api/doc/admin and /api/doc/http-proxy, and from the description that the broker
itself serves (src/v/redpanda/admin/api-doc/transform.json in its repository)."""

import base64
import http.server
import json
import re
import threading
import urllib.parse

ALLOWED = {"name", "input_topic", "output_topics", "environment", "compression", "offset"}


class Redpanda(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.transforms = {}  # name: what was deployed, with "module" and "paused"
        self.requests = []    # method and path
        self.password = None  # of the user "admin"
        self.redirect = None  # another server, which is the leader
        self.list = None      # what it answers instead of the list of transforms
        self.logs = []        # per partition: (key, LogRecord)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=None, headers=()):
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def refuse(self, status, message):
        self.answer(status, {"message": message, "code": status})

    def begin(self):
        """The body, or None if the request has been answered."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path))
        if self.server.redirect and self.command != "GET":
            self.answer(307, headers=[("Location", self.server.redirect + self.path)])
            return None
        if self.server.password is not None:
            expected = "Basic " + base64.b64encode(f"admin:{self.server.password}".encode()).decode()
            if self.headers.get("Authorization") != expected:
                self.refuse(401, "Unauthorized")
                return None
        return body

    def named(self, pattern):
        found = re.fullmatch(pattern, self.path)
        return urllib.parse.unquote(found.group(1)) if found else None

    def do_POST(self):
        body = self.begin()
        if body is None:
            return
        if self.path != "/v1/transform/deploy":
            return self.refuse(404, "Not found")
        # JSON, and behind it, without anything between them, the module.
        about, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
        unknown = set(about) - ALLOWED
        if unknown or not {"name", "input_topic", "output_topics"} <= set(about):
            return self.refuse(400, f"invalid JSON request body: {unknown}")
        if "nothing" in about["output_topics"]:
            return self.refuse(400, "topic nothing does not exist")
        self.server.transforms[about["name"]] = about | {"module": body[end:], "paused": False}
        return self.answer(200)

    def do_GET(self):
        if self.begin() is None:
            return
        if self.path.rstrip("/") == "/v1/transform":
            self.answer(200, self.server.list or [self.report(one) for one in self.server.transforms.values()])
        elif self.path.startswith("/topics/"):
            self.get_records()
        else:
            self.refuse(404, "Not found")

    def report(self, one):
        state = "inactive" if one["paused"] else "running"
        shown = {key: value for key, value in one.items() if key not in ("module", "paused", "offset")}
        return shown | {"status": [{"node_id": 0, "partition": p, "status": state, "lag": 5 * p} for p in range(2)]}

    def get_records(self):
        url = urllib.parse.urlparse(self.path)
        found = re.fullmatch(r"/topics/_redpanda.transform_logs/partitions/(\d+)/records", url.path)
        query = {name: int(value) for name, value in urllib.parse.parse_qsl(url.query)}
        if not found or int(found.group(1)) >= len(self.server.logs):
            return self.answer(404, {"error_code": 40402, "message": "unknown_topic_or_partition"})
        assert {"offset", "timeout", "max_bytes"} == set(query), query
        assert self.headers["Accept"] == "application/vnd.kafka.binary.v2+json"
        partition = int(found.group(1))
        encode = lambda text: base64.b64encode(text.encode()).decode()
        records = [{"topic": "_redpanda.transform_logs", "key": encode(key), "value": encode(json.dumps(event)),
                    "partition": partition, "offset": offset}
                   for offset, (key, event) in enumerate(self.server.logs[partition])]
        return self.answer(200, records[query["offset"]:][:2])  # few, as if their sizes did not allow more

    def do_PUT(self):
        body = self.begin()
        if body is None:
            return
        name = self.named("/v1/transform/([^/]+)/meta")
        if name not in self.server.transforms:
            return self.refuse(404, f"transform {name} does not exist")
        about = json.loads(body)
        assert set(about) == {"is_paused"}, about
        self.server.transforms[name]["paused"] = about["is_paused"]
        return self.answer(200)

    def do_DELETE(self):
        if self.begin() is None:
            return
        name = self.named("/v1/transform/([^/]+)")
        if name not in self.server.transforms:
            return self.refuse(404, f"transform {name} does not exist")
        del self.server.transforms[name]
        return self.answer(200)
