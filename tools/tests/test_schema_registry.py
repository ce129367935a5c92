# SPDX-License-Identifier: Apache-2.0
"""Schema registries: in memory, and over HTTP, also when they fail."""

import collections
import json
import os
import signal
import socket
import struct
import subprocess
import time

from registry import (
    Registry,
    answers,
    drips,
    floods,
    floods_headers,
    hangs,
    hangs_up,
    send,
    talks_nonsense,
)
from tool import GUEST_FAILED, TOOL, USAGE, ToolTest, guest, main

os.environ["no_proxy"] = "127.0.0.1"


def varint(number):
    number = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes(encoded) + bytes([number])


def text(content):
    return varint(len(content.encode())) + content.encode()


def reading(sensor, celsius, note=None):
    """An Avro body in the guest's own schema."""
    return text(sensor) + struct.pack("<d", celsius) + (varint(0) if note is None else varint(1) + text(note))


def record(schema_id, body, **rest):
    return {"value": (struct.pack(">bi", 0, schema_id) + body).hex(), **rest}


class AvroTest(ToolTest):
    def decode(self, records, registry, *arguments, **rest):
        """What the guest makes of the records, and how the tool ended."""
        ended = self.run_records(
            "rust_avro", records, "--schema-registry", registry, "--encoding", "hex", *arguments, **rest
        )
        return [json.loads(bytes.fromhex(r["value"])) for r in ended.records], ended

    readings = ("--env", "SUBJECT=readings-value")


class Avro(AvroTest):
    def test_in_memory(self):
        values, ended = self.decode([record(1, reading("a", 1.5))], "memory:", *self.readings)
        self.assertEqual(values, [{"sensor": "a", "celsius": 1.5, "note": None}])
        self.assertIn(
            'info: avro: registered schema 1 under "readings-value", where version 1 is the latest, with schema 1\n',
            ended.stderr,
        )

    def test_registers_looks_up_and_decodes(self):
        registry = Registry(self)
        other = {"type": "record", "name": "Other", "fields": [{"name": "n", "type": "long"}]}
        self.assertEqual(registry.register("other", json.dumps(other)), 1)
        bodies = [record(2, reading(f"s{i}", i, "ü")) if i % 2 else record(1, varint(-i)) for i in range(500)]
        values, ended = self.decode(bodies, registry.url, *self.readings, "--batch-size", "7")
        self.assertEqual(
            values, [{"sensor": f"s{i}", "celsius": i, "note": "ü"} if i % 2 else {"n": -i} for i in range(500)]
        )
        self.assertIn("registered schema 2 under", ended.stderr)
        # The guest keeps what it has looked up, and the client its connection.
        self.assertEqual(
            [(method, path) for method, path, _ in registry.requests],
            [
                ("POST", "/subjects/readings-value/versions"),
                ("GET", "/subjects/readings-value/versions/latest"),
                ("GET", "/schemas/ids/1"),
                ("GET", "/schemas/ids/2"),
            ],
        )
        self.assertEqual(len(registry.clients), 1)
        body = registry.requests[0][2]
        self.assertEqual(list(body), ["schema"], "no schemaType is Avro, no references are none")
        self.assertEqual(json.loads(body["schema"])["name"], "Reading")

    def test_several_threads(self):
        registry = Registry(self)
        records = [record(1, reading(str(i), i), partition=i % 16) for i in range(4000)]
        values, _ = self.decode(records, registry.url + "/", *self.readings, "--threads", "4")
        self.assertEqual(sorted(int(v["sensor"]) for v in values), list(range(4000)))
        counts = collections.Counter(path for _, path, _ in registry.requests)
        self.assertEqual(len(counts), 3)
        for path, count in counts.items():
            self.assertLessEqual(count, 4, path)

    def test_references(self):
        registry = Registry(self)
        address = {"type": "record", "name": "acme.Address", "fields": [{"name": "city", "type": "string"}]}
        registry.register("addresses", json.dumps(address))
        fields = [{"name": "home", "type": "acme.Address"}, {"name": "work", "type": ["null", "acme.Address"]}]
        person = json.dumps({"type": "record", "name": "acme.Person", "fields": fields})
        arguments = ("--env", "SUBJECT=people", "--env", f"SCHEMA={person}")
        references = ("--env", "REFERENCES=acme.Address=addresses:1")
        values, _ = self.decode(
            [record(2, text("Ulm") + varint(1) + text("Bonn"))], registry.url, *arguments, *references
        )
        self.assertEqual(values, [{"home": {"city": "Ulm"}, "work": {"city": "Bonn"}}])
        wanted = {"schema": person, "references": [{"name": "acme.Address", "subject": "addresses", "version": 1}]}
        self.assertEqual(registry.requests[0][2], wanted)
        self.assertIn("/subjects/addresses/versions/1", registry.paths())
        # Known again, from the other side.
        values, _ = self.decode([record(2, text("Rom") + varint(0))], registry.url)
        self.assertEqual(values, [{"home": {"city": "Rom"}, "work": None}])

    def test_subjects_are_escaped(self):
        for subject, path in (
            ("a/b?c#d e", "a%2Fb%3Fc%23d%20e"),
            (":.context:topic-value", "%3A.context%3Atopic-value"),
            ("grün%", "gr%C3%BCn%25"),
            ("..", "%2E%2E"),
        ):
            with self.subTest(subject):
                registry = Registry(self)
                self.decode([record(1, reading("a", 1))], registry.url, "--env", f"SUBJECT={subject}")
                self.assertEqual(registry.paths("POST"), [f"/subjects/{path}/versions"])
                self.assertEqual(list(registry.subjects), [subject])

    def test_values_that_do_not_fit(self):
        records = [{"value": "41"}, {"value": None}, record(1, b"\x02"), record(1, reading("a", 1) + b"\0"),
                   record(1, reading("b", 2))]  # fmt: skip
        ended = self.run_records(
            "rust_avro", records, "--schema-registry", "memory:", "--encoding", "hex", *self.readings
        )
        self.assertEqual(len(ended.records), 2)
        self.assertIsNone(ended.records[0]["value"])
        self.assertIn("dropped a record that does not begin with the id of a schema\n", ended.stderr)
        self.assertIn("dropped a record that does not fit schema 1: 1 bytes are left over\n", ended.stderr)

    def refuse(self, registry, *arguments):
        """The guest cannot register its schema; the log."""
        _, ended = self.decode([record(1, reading("a", 1))], registry.url, *arguments, code=GUEST_FAILED)
        self.assertIn("errno: -2\n", ended.stderr)
        self.assertIn("standard input:1: the guest failed at this record", ended.stderr)
        return ended.stderr

    def test_incompatible(self):
        registry = Registry(self)
        registry.register("readings-value", '{"type": "record", "name": "Reading", "fields": []}')
        self.assertIn(
            f"schema registry: POST {registry.url}/subjects/readings-value/versions: HTTP status 409, error 409: "
            'Schema being registered is incompatible with an earlier schema for subject "readings-value"\n',
            self.refuse(registry, *self.readings),
        )

    def test_invalid(self):
        self.assertIn(
            "/subjects/s/versions: HTTP status 422, error 42201: Invalid schema {nope\n",
            self.refuse(Registry(self), "--env", "SUBJECT=s", "--env", "SCHEMA={nope"),
        )

    def test_a_reference_to_nothing(self):
        registry = Registry(self)
        self.assertIn(
            "HTTP status 404, error 40401: Subject 'none' not found.\n",
            self.refuse(registry, *self.readings, "--env", "REFERENCES=x=none:1"),
        )
        registry.register("one", '"string"')
        self.assertIn(
            "HTTP status 404, error 40402: Version 2 not found.\n",
            self.refuse(registry, *self.readings, "--env", "REFERENCES=x=one:2"),
        )

    def test_a_promise_of_an_id_needs_one(self):
        for body, why in ((b"{}", 'no integer "id"'), (b'{"id": 2147483648}', '"id" in the response is out of range')):
            with self.subTest(body):
                self.assertIn(why, self.refuse(Registry(self, misbehave=answers(200, body)), *self.readings))


SCHEMA = b'{"schema": "\\"string\\""}'
FOUND = 'schema 1: Schema { schema: "\\"string\\"", format: Avro, references: [] }'
FAILED = "schema 1: error: writing record failed with errno: -2"


class ClientTest(ToolTest):
    """With a guest that looks up schema 1 for each record `sr`, and keeps nothing when that fails."""

    def look_up(self, url, *arguments, records=1):
        retry = [] if "--schema-registry-retry" in arguments else ["--schema-registry-retry", "0s"]
        ended = self.run_guest("rust_sr_unused", "--schema-registry", url, *retry, *arguments, stdin="sr\n" * records)
        self.assertEqual(len(ended.lines), records)
        return ended

    def finds(self, misbehave, *arguments, expected=FOUND):
        registry = Registry(self, misbehave=misbehave)
        self.assertEqual(self.look_up(registry.url, *arguments).lines, [expected])
        return registry

    def fails(self, misbehave, why, *arguments):
        registry = Registry(self, misbehave=misbehave)
        ended = self.look_up(registry.url, *arguments)
        self.assertEqual(ended.lines, [FAILED])
        self.assertIn(f"schema registry: GET {registry.url}/schemas/ids/1", ended.stderr)
        self.assertIn(why, ended.stderr)
        self.assertLess(len(ended.stderr), 3000)
        return ended.stderr


class Client(ClientTest):
    def test_none(self):
        ended = self.run_guest("rust_sr_unused", stdin="sr\n")
        self.assertEqual(ended.lines, ["schema 1: error: writing record failed with errno: -1"])

    def test_other_types(self):
        registry = Registry(self)
        registry.register("common", "message", "PROTOBUF")
        proto = 'syntax = "proto3";'
        registry.schemas.insert(0, ("PROTOBUF", proto, [{"name": "a.proto", "subject": "common", "version": 1}]))
        (line,) = self.look_up(registry.url).lines
        self.assertIn('format: Protobuf, references: [Reference { name: "a.proto", subject: "common", version', line)
        registry.schemas.insert(0, ("JSON", '{"type": "object"}', []))
        (line,) = self.look_up(registry.url).lines
        self.assertIn("format: Json, references: []", line)

    def test_status(self):
        for status, body, why in (
            (404, b'{"error_code": 40403, "message": "Schema 1 not found"}',
             "ids/1: HTTP status 404, error 40403: Schema 1 not found\n"),
            (500, b'{"error_code": 50001, "message": "Error in the backend data store"}',
             "HTTP status 500, error 50001: Error in the backend data store\n"),
            (502, b"<html>\n<h1>Bad Gateway</h1>", "HTTP status 502: <html> <h1>Bad Gateway</h1>\n"),
            (503, b"", "HTTP status 503\n"),
            (500, b'{"error_code": "x", "message": 7}', 'HTTP status 500: {"error_code": "x", "message": 7}\n'),
            (500, b'{"error_code": 5, "message": "\\u001b[31m\\nfake"}', "HTTP status 500, error 5: \\x1b[31m fake\n"),
            (500, b'{"error_code": 5, "message": "' + b"x" * 100_000 + b'"}', "xxx …\n"),
        ):  # fmt: skip
            with self.subTest(status=status, body=body[:50]):
                self.fails(answers(status, body), why)

    def test_garbage(self):
        for body, why in (
            (b"", "HTTP status 200, but the response is not from a schema registry: it is empty\n"),
            (b"hello", "the response is not from a schema registry: hello\n"),
            (b"\xff\0", "the response is not from a schema registry: \\xff\\x00\n"),
            (b"[" * 1_000_000, "the response is not from a schema registry: [["),
            (b"[1]", "the response is not from a schema registry: [1]\n"),
            (b"{}", 'the response has no text "schema"\n'),
            (b'{"schema": 1}', 'the response has no text "schema"\n'),
            (b'{"schema": "x", "schemaType": "XML"}', "the schema is of an unknown type: XML\n"),
            (b'{"schema": "x", "references": {}}', '"references" in the response is not an array\n'),
            (b'{"schema": "x", "references": [1]}', 'the response has no text "name"\n'),
            (b'{"schema": "x", "references": [{"name": "n", "subject": "s", "version": 1e3}]}',
             'the response has no integer "version"\n'),
            (b'{"schema": "x", "references": [{"name": "n", "subject": "s", "version": -2147483649}]}',
             '"version" in the response is out of range: -2147483649\n'),
        ):  # fmt: skip
            with self.subTest(body[:80]):
                self.fails(answers(200, body), why)
        self.fails(talks_nonsense, "the response is not HTTP; is it https there?\n")
        self.fails(hangs_up, "Empty reply from server\n")

    def test_absent_and_null_are_the_same(self):
        self.finds(answers(200, b'{"schema": "\\"string\\"", "schemaType": null, "references": null, "maxId": 9}'))

    def test_refused_connection(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            ended = self.look_up(url, records=3)
        self.assertEqual(ended.lines, [FAILED] * 3)
        self.assertIn(f"schema registry: GET {url}/schemas/ids/1: Failed to connect to 127.0.0.1", ended.stderr)

    def test_credentials(self):
        registry = Registry(self, user="me:p@ss/wörd")
        registry.register("s", '"string"')
        url = f"http://me:p%40ss%2Fw%C3%B6rd@{registry.address}"
        self.assertEqual(self.look_up(url).lines, [FOUND])
        ended = self.look_up(registry.url)
        self.assertEqual(ended.lines, [FAILED])
        self.assertIn(
            "HTTP status 401 (credentials: --schema-registry-user, --schema-registry-token-file, or in the URL: "
            "--schema-registry http://USER:PASSWORD@HOST), error 401: Unauthorized\n", ended.stderr,
        )  # fmt: skip
        ended = self.look_up(f"http://me:secret@{registry.address}")
        self.assertIn("HTTP status 401 (user or password is wrong), error 401: Unauthorized\n", ended.stderr)
        self.assertNotIn("secret", ended.stderr)

    def test_time(self):
        for misbehave, why in ((hangs, "no response within 300ms"), (drips, "no complete response within 300ms")):
            with self.subTest(why):
                begin = time.monotonic()
                self.fails(misbehave, why + " (--schema-registry-timeout)\n", "--schema-registry-timeout", "300ms")
                self.assertLess(time.monotonic() - begin, 20)

    def test_waiting_is_not_the_guests_time(self):
        def slow(handler):
            time.sleep(0.6)
            send(handler, 200, SCHEMA)

        self.finds(slow, "--record-timeout", "100ms")

    def test_endless(self):
        self.fails(floods, "the response is longer than 16 MiB\n", "--schema-registry-timeout", "60s")
        self.fails(floods_headers, "Too large response headers", "--schema-registry-timeout", "60s")

    def test_redirects(self):
        def once(handler):
            if handler.path == "/moved":
                send(handler, 200, SCHEMA)
            else:
                send(handler, 301, b"", Location="/moved")

        self.finds(once)
        self.fails(answers(302, b"", Location="/again"), "/again: Maximum (5) redirects followed\n")
        self.fails(answers(302, b"", Location="file:///etc/passwd"), 'Protocol "file" ')

    def test_a_path_before_the_registrys(self):
        registry = Registry(self, misbehave=answers(200, SCHEMA))
        self.assertEqual(self.look_up(registry.url + "/my/registry//").lines, [FOUND])
        self.assertEqual(registry.paths(), ["/my/registry/schemas/ids/1"])

    def test_it_recovers(self):
        replies = [answers(500, b""), hangs_up, answers(200, SCHEMA)]
        registry = Registry(self, misbehave=lambda handler: replies.pop(0)(handler))
        self.assertEqual(self.look_up(registry.url, records=4).lines, [FAILED, FAILED, FOUND, FOUND])

    def test_an_interrupt_does_not_wait(self):
        registry = Registry(self, misbehave=hangs)
        with subprocess.Popen(
            [TOOL, "run", guest("rust_sr_unused"), "--schema-registry", registry.url], stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as running:  # fmt: skip
            running.stdin.write(b"sr\n")
            running.stdin.flush()
            deadline = time.monotonic() + 60
            while not registry.requests and time.monotonic() < deadline:
                time.sleep(0.01)
            running.send_signal(signal.SIGTERM)
            self.assertEqual(running.wait(timeout=4), -signal.SIGTERM)


class Retries(ClientTest):
    """A registry that is down is tried again before the guest is told."""

    LONG = ["--schema-registry-retry", "60s"]

    def test_until_it_is_up(self):
        replies = [answers(503, b""), hangs_up, answers(429, b""), answers(502, b"x"), answers(504, b""), answers(200, SCHEMA)]
        registry = Registry(self, misbehave=lambda handler: replies.pop(0)(handler))
        ended = self.look_up(registry.url, *self.LONG)
        self.assertEqual(ended.lines, [FOUND])
        self.assertEqual(len(registry.requests), 6)
        self.assertNotIn("schema registry", ended.stderr)

    def test_a_registry_that_starts_later(self):
        with socket.socket() as reserved:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
            with subprocess.Popen(
                [TOOL, "run", guest("rust_sr_unused"), "--schema-registry", f"http://127.0.0.1:{port}",
                 "--schema-registry-retry", "60s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            ) as running:  # fmt: skip
                running.stdin.write(b"sr\n")
                running.stdin.close()
                time.sleep(1)
                reserved.listen()
                for _ in range(20):
                    connection, _ = reserved.accept()
                    with connection:
                        if connection.recv(65536):
                            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(SCHEMA)}\r\nConnection: close\r\n\r\n"
                            connection.sendall(head.encode() + SCHEMA)
                            break
                self.assertEqual(running.stdout.read().decode().splitlines(), [FOUND])
                self.assertEqual(running.wait(timeout=60), 0)

    def test_not_what_it_refuses(self):
        for status in (400, 401, 404, 409, 422, 500):
            registry = Registry(self, misbehave=answers(status, b""))
            self.assertEqual(self.look_up(registry.url, *self.LONG).lines, [FAILED])
            self.assertEqual(len(registry.requests), 1, status)

    def test_not_for_ever(self):
        registry = Registry(self, misbehave=answers(503, b""))
        ended = self.look_up(registry.url, "--schema-registry-retry", "500ms")
        self.assertEqual(ended.lines, [FAILED])
        self.assertRegex(ended.stderr, r"HTTP status 503, after \d+ attempts")
        self.assertGreater(len(registry.requests), 1)

    def test_an_interrupt_does_not_wait(self):
        registry = Registry(self, misbehave=answers(503, b""))
        with subprocess.Popen(
            [TOOL, "run", guest("rust_sr_unused"), "--schema-registry", registry.url, "--schema-registry-retry", "1m"],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as running:  # fmt: skip
            running.stdin.write(b"sr\n")
            running.stdin.flush()
            deadline = time.monotonic() + 60
            while not registry.requests and time.monotonic() < deadline:
                time.sleep(0.01)
            running.send_signal(signal.SIGTERM)
            self.assertEqual(running.wait(timeout=20), -signal.SIGTERM)


class Secrets(ToolTest):
    def look_up(self, url, *arguments, environment=None, code=0):
        ended = subprocess.run(
            [TOOL, "run", guest("rust_sr_unused"), "--schema-registry", url, "--schema-registry-retry", "0s", *map(str, arguments)],
            input=b"sr\n", capture_output=True, env={**os.environ, **(environment or {})}, timeout=60, check=False,
        )  # fmt: skip
        self.assertEqual(ended.returncode, code, ended.stderr)
        return ended.stdout.decode().splitlines(), ended.stderr.decode()

    def test_a_password_from_a_file_or_the_environment(self):
        registry = Registry(self, user="me:geheim")
        registry.register("s", '"string"')
        path = self.write("password", "geheim\n")
        user = ["--schema-registry-user", "me"]
        self.assertEqual(self.look_up(registry.url, *user, "--schema-registry-password-file", path)[0], [FOUND])
        self.assertEqual(
            self.look_up(registry.url, *user, environment={"SCHEMA_REGISTRY_PASSWORD": "geheim"})[0], [FOUND]
        )
        self.assertEqual(
            self.look_up(f"http://me@{registry.address}", "--schema-registry-password-file", path)[0], [FOUND]
        )
        lines, shown = self.look_up(registry.url, *user, environment={"SCHEMA_REGISTRY_PASSWORD": "falsch"})
        self.assertEqual(lines, [FAILED])
        self.assertNotIn("falsch", shown)
        for wrong in (["--schema-registry-password-file", path], [*user, "--schema-registry-token-file", path]):
            self.look_up(registry.url, *wrong, code=USAGE)
        self.look_up(f"http://me:x@{registry.address}", *user, code=USAGE)

    def test_a_token(self):
        def needs_token(handler):
            good = handler.headers.get("Authorization") == "Bearer geheim"
            send(handler, 200 if good else 401, SCHEMA if good else b"")

        registry = Registry(self, misbehave=needs_token)
        path = self.write("token", "geheim\n")
        self.assertEqual(self.look_up(registry.url, "--schema-registry-token-file", path)[0], [FOUND])
        self.assertEqual(self.look_up(registry.url, environment={"SCHEMA_REGISTRY_TOKEN": "geheim"})[0], [FOUND])
        lines, shown = self.look_up(registry.url, environment={"SCHEMA_REGISTRY_TOKEN": "falsch"})
        self.assertEqual(lines, [FAILED])
        self.assertIn("HTTP status 401 (the token is wrong)", shown)
        self.assertNotIn("falsch", shown)

    def test_an_authority(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key",
             "-out", "ca", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"],
            cwd=self.directory, capture_output=True, check=True,
        )  # fmt: skip
        registry = Registry(self, misbehave=answers(200, SCHEMA), tls=(self.directory / "ca", self.directory / "key"))
        url = f"https://{registry.address}"
        lines, shown = self.look_up(url)
        self.assertEqual(lines, [FAILED])
        self.assertIn("certificate", shown)
        self.assertEqual(self.look_up(url, "--schema-registry-ca", self.directory / "ca")[0], [FOUND])


class Usage(ToolTest):
    def test_wrong_usage(self):
        for arguments, message in (
            (["--schema-registry", ""], "--schema-registry"),
            (["--schema-registry", "localhost:8081"], "--schema-registry: "),
            (["--schema-registry", "memory"], "--schema-registry: the URL has no scheme"),
            (["--schema-registry", "ftp://me:secret@host"], "--schema-registry: ftp is neither http nor https;"),
            (["--schema-registry", "http://"], "--schema-registry: "),
            (["--schema-registry", "http://me:secret@host:99999"], "--schema-registry: "),
            (["--schema-registry", "http://me:secret@host/?x=1"], "the URL has a query or a fragment"),
            (["--schema-registry-timeout", "1s"], "--schema-registry-timeout requires --schema-registry"),
            (["--schema-registry", "memory:", "--schema-registry-timeout", "1"], "--schema-registry-timeout"),
            (["--schema-registry", "memory:", "--schema-registry-timeout", "0s"], "must be from 1ms to an hour"),
        ):
            with self.subTest(arguments):
                ended = self.run_guest("c_identity", *arguments, code=USAGE)
                self.assertIn(message, ended.stderr)
                self.assertNotIn("secret", ended.stderr)


if __name__ == "__main__":
    main()
