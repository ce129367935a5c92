# SPDX-License-Identifier: Apache-2.0
"""A schema registry on the loopback interface, written from Confluent's API reference, that can also misbehave."""

import base64
import http.server
import json
import ssl
import threading
import urllib.parse

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


class RegistryError(Exception):
    """An answer {error_code, message}; the HTTP status is the code's first three digits."""

    def __init__(self, error_code, message):
        super().__init__(message)
        self.error_code = error_code


class Registry:
    """Runs until the test ends. `requests` has all of them, as (method, path, parsed body)."""

    def __init__(self, test, user=None, misbehave=None, tls=None):
        self.user = user
        self.misbehave = misbehave  # called with the request handler, instead of answering
        self.requests = []
        self.clients = set()  # an address each
        self.problems = []  # what a client should not have done
        self.schemas = []  # (type, text, references); the id is the index + 1
        self.subjects = {}  # ids in the order of versions
        self._lock = threading.Lock()
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self):
                registry.handle(self)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:  # files of a certificate and its key
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.stopping = threading.Event()
        self._server.daemon_threads = True
        self._server.block_on_close = False
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()

        def stop():
            self._server.stopping.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()
            test.assertEqual(self.problems, [])

        test.addCleanup(stop)

    @property
    def address(self):
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self):
        return f"http://{self.address}"

    def paths(self, method="GET"):
        return [path for m, path, _ in self.requests if m == method]

    def handle(self, handler):
        size = int(handler.headers.get("Content-Length", 0))
        body = json.loads(handler.rfile.read(size)) if size else None
        with self._lock:
            self.requests.append((handler.command, handler.path, body))
            self.clients.add(handler.client_address)
        if self.misbehave:
            try:
                self.misbehave(handler)
            except OSError:
                pass  # the client has had enough
            handler.close_connection = True
            return
        try:
            with self._lock:
                self._check_headers(handler)
                status, answer = 200, self._answer(handler.command, handler.path, body)
        except RegistryError as e:
            status, answer = int(str(e.error_code)[:3]), {"error_code": e.error_code, "message": str(e)}
        send(handler, status, json.dumps(answer).encode())

    def _check_headers(self, handler):
        if MEDIA_TYPE not in handler.headers.get("Accept", ""):
            self.problems.append(f"{handler.path}: Accept: {handler.headers.get('Accept')}")
        if handler.command == "POST" and handler.headers.get("Content-Type") != MEDIA_TYPE:
            self.problems.append(f"{handler.path}: Content-Type: {handler.headers.get('Content-Type')}")
        wanted = self.user and "Basic " + base64.b64encode(self.user.encode()).decode()
        if wanted and handler.headers.get("Authorization") != wanted:
            raise RegistryError(401, "Unauthorized")

    def _answer(self, method, path, body):
        parts = [urllib.parse.unquote(part) for part in path.split("/")[1:]]
        match method, parts:
            case "GET", ["schemas", "ids", number]:
                return self._describe(self._by_id(number))
            case "GET", ["subjects", subject, "versions", version]:
                number, schema_id = self._by_version(subject, version)
                found = {"subject": subject, "id": schema_id, "version": number}
                return found | self._describe(self.schemas[schema_id - 1])
            case "POST", ["subjects", subject, "versions"]:
                return {"id": self.register(subject, **body)}
        raise RegistryError(404, "HTTP 404 Not Found")

    def _by_id(self, number):
        if not number.isdigit() or not 1 <= int(number) <= len(self.schemas):
            raise RegistryError(40403, f"Schema {number} not found")
        return self.schemas[int(number) - 1]

    def _by_version(self, subject, version):
        ids = self.subjects.get(subject)
        if ids is None:
            raise RegistryError(40401, f"Subject '{subject}' not found.")
        if version in ("latest", "-1"):
            return len(ids), ids[-1]
        if not version.isdigit() or int(version) < 1:
            raise RegistryError(42202, f"The specified version '{version}' is not a valid version id.")
        if int(version) > len(ids):
            raise RegistryError(40402, f"Version {version} not found.")
        return int(version), ids[int(version) - 1]

    @staticmethod
    def _describe(schema):
        kind, text, references = schema
        found = {"schema": text}
        if kind != "AVRO":
            found["schemaType"] = kind
        if references:
            found["references"] = references
        return found

    def register(self, subject, schema, schemaType="AVRO", references=()):  # noqa: N803, the API's name
        """Registers a schema, or finds it; returns its id."""
        for r in references:
            self._by_version(r["subject"], str(r["version"]))
        if schemaType == "AVRO":
            self._check_avro(subject, schema)
        new = (schemaType, schema, list(references))
        if new not in self.schemas:
            self.schemas.append(new)
        schema_id = self.schemas.index(new) + 1
        ids = self.subjects.setdefault(subject, [])
        if schema_id not in ids:
            ids.append(schema_id)
        return schema_id

    @staticmethod
    def _fields(text):
        parsed = json.loads(text)
        return {f["name"]: f for f in parsed["fields"]} if isinstance(parsed, dict) else {}

    def _check_avro(self, subject, text):
        """Of compatibility, only that new fields have defaults."""
        try:
            fields = self._fields(text)
        except (ValueError, KeyError) as e:
            raise RegistryError(42201, f"Invalid schema {text}") from e
        if subject in self.subjects:
            known = self._fields(self.schemas[self.subjects[subject][-1] - 1][1])
            if any(name not in known and "default" not in field for name, field in fields.items()):
                raise RegistryError(
                    409, f'Schema being registered is incompatible with an earlier schema for subject "{subject}"'
                )


def send(handler, status, body, **headers):
    handler.send_response(status)
    handler.send_header("Content-Type", MEDIA_TYPE)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


# Ways to misbehave.


def answers(status, body, **headers):
    return lambda handler: send(handler, status, body, **headers)


def drips(handler):
    """An answer that never ends, byte by byte."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not handler.server.stopping.wait(0.05):
        handler.wfile.write(b" ")


def floods(handler):
    """An answer that never ends, as fast as it goes."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not handler.server.stopping.is_set():
        handler.wfile.write(b"[" * 65536)


def floods_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.server.stopping.is_set():
        handler.wfile.write(b"X-Flood: 1\r\n" * 5000)


def hangs(handler):
    handler.server.stopping.wait(30)


def talks_nonsense(handler):
    handler.wfile.write(bytes(range(256)) * 4)


def hangs_up(handler):
    handler.close_connection = True
