# SPDX-License-Identifier: Apache-2.0
"""deploy, list, pause, resume, delete and logs, against a server that has Redpanda's admin API and HTTP Proxy."""

import json
import subprocess

from redpanda import Redpanda
from tool import GUESTS, MODULE_REFUSED, OTHER, USAGE, ToolTest, guest, main


class ClusterTest(ToolTest):
    def setUp(self):
        super().setUp()
        self.broker = Redpanda()
        self.addCleanup(self.broker.close)
        self.admin = ("--admin", self.broker.url + "/")

    def deploy(self, *rest, name="c_identity", **how):
        return self.tool("deploy", "--guest", guest(name), *self.admin, *rest, **how)


class Deploy(ClusterTest):
    def test_a_module_with_options(self):
        ended = self.deploy("--name", "copy", "--input-topic", "a", "--output-topic", "b", "--output-topic", "c", "--env", "X=1=2",
                            "--from", "+5")
        self.assertRegex(ended.stderr, r"^copy \(.*\), a -> b,c, is deployed\n$")
        deployed = self.broker.transforms["copy"]
        self.assertEqual(deployed.pop("module"), (GUESTS / "c_identity.wasm").read_bytes())
        self.assertEqual(deployed, {"name": "copy", "input_topic": "a", "output_topics": ["b", "c"], "paused": False,
                                    "environment": [{"key": "X", "value": "1=2"}], "offset": {"format": "from_start", "value": 5}})

    def test_what_the_project_says(self):
        self.write("transform.json", json.dumps({"name": "p", "language": "c", "input_topic": "in", "output_topics": ["out"],
                                                 "environment": {"A": "1", "B": "2"}}))
        (self.directory / "build").mkdir()
        self.write("build/p.wasm", (GUESTS / "c_identity.wasm").read_bytes())
        ended = self.tool("deploy", *self.admin, "--env", "B=3", "--json")
        self.assertEqual(json.loads(ended.bytes)["transform"]["environment"], [{"key": "A", "value": "1"}, {"key": "B", "value": "3"}])
        self.assertEqual(self.broker.transforms["p"]["input_topic"], "in")

    def test_where_it_begins(self):
        for text, sent in (("latest", {"format": "from_end", "value": 0}), ("earliest", {"format": "from_start", "value": 0}),
                           ("-7", {"format": "from_end", "value": 7}), ("@1700000000000", {"format": "timestamp", "value": 1700000000000})):
            self.deploy(f"--from={text}")
            self.assertEqual(self.broker.transforms["c_identity"]["offset"], sent)
        for text in ("5", "+", "+x", "@-1", "soon"):
            self.assertIn("neither latest, earliest", self.deploy(f"--from={text}", code=USAGE).stderr)

    def test_warnings_before_it_is_sent(self):
        self.assertNotIn("warning", self.deploy("--quiet").stderr)
        ended = self.deploy("--dry-run", name="go_identity")
        self.assertRegex(ended.stderr, r"warning: it does not start with the 2.0 MiB of memory that the broker gives, "
                                       r"unless the cluster's data_transforms_per_function_memory_limit is raised: .+\n")
        self.assertIn("would be deployed", ended.stderr)
        self.assertNotIn("go_identity", self.broker.transforms)
        self.assertNotIn("warning", self.deploy("--dry-run", "--broker-memory", "32MiB", name="go_identity").stderr)
        topics = [part for i in range(9) for part in ("--output-topic", f"t{i}")]
        variables = [part for i in range(129) for part in ("--env", f"V{i}=1")]
        ended = self.deploy("--dry-run", "--json", "--broker-module-size", "100", "--env", "REDPANDA_X=1", *topics, *variables)
        warnings = json.loads(ended.bytes)["warnings"]
        self.assertEqual(len(warnings), 4, warnings)
        self.assertIn("it has 9 output topics and the broker takes 1 to 8", warnings)
        self.assertIn("it has 130 variables and the broker takes 128", warnings)

    def test_what_is_not_sent(self):
        self.assertIn("module-no-start", self.deploy(name="wat_no_start", code=MODULE_REFUSED).stderr)
        self.assertIn("there is no project in", self.tool("deploy", *self.admin, code=USAGE).stderr)
        self.assertEqual(self.broker.requests, [])

    def test_what_no_broker_can_start(self):
        imports = lambda *more: "".join(f'(import "{m}" "{f}" (func{t}))' for m, f, t in more)
        body = '(memory (export "memory") 1) (func (export "_start") (loop (br 0)))'
        self.write("none.wat", f'(module {imports(("redpanda_transform", "read_batch_header", ""))} {body})')
        starts = (GUESTS / "wat_start_trap.wasm").read_bytes()
        self.write("start_trap.wasm", starts)
        abi = ("redpanda_transform", "check_abi_version_2", "")
        raised = ("wasi_snapshot_preview1", "proc_raise", " (param i32) (result i32)")
        rights = ("wasi_snapshot_preview1", "fd_fdstat_set_rights", " (param i32 i64 i64) (result i32)")
        self.write("imports.wat", f"(module {imports(abi, raised, rights)} {body.replace('(loop (br 0))', 'unreachable')})")
        self.write("unknown.wat", f'(module {imports(abi, ("env", "abort", ""))} {body})')
        for name in ("none", "imports", "unknown"):
            subprocess.run(["wat2wasm", f"{name}.wat"], cwd=self.directory, check=True)
        for module, *parts in (
            ("none", "module-no-abi: the module imports no redpanda_transform.check_abi_version_"),
            ("unknown", "module-unknown-import: the module imports what this host does not have: env.abort"),
            ("start_trap", "no broker can run it\n  it does not start: guest-"),
            ("imports", "it imports wasi_snapshot_preview1.proc_raise, which the broker does not have\n",
             "it imports wasi_snapshot_preview1.fd_fdstat_set_rights, which the broker does not have\n", "it does not start: guest-trap"),
        ):  # fmt: skip
            with self.subTest(module):
                for more in ([], ["--dry-run"], ["--json"]):
                    ended = self.tool("deploy", "--guest", f"{module}.wasm", *self.admin, *more, code=MODULE_REFUSED)
                    said = json.loads(ended.stderr)["error"] if more == ["--json"] else ended.stderr
                    for part in parts:
                        self.assertIn(f"{module}.wasm: " if part is parts[0] else "", said)
                        self.assertIn(part, said)
                    self.assertNotIn("warning", said)
        self.assertEqual(self.broker.requests, [])

    def test_a_start_that_may_need_a_schema_registry_is_a_warning(self):
        self.write("schemas.wat", """(module
          (import "redpanda_transform" "check_abi_version_2" (func))
          (import "redpanda_schema_registry" "check_abi_version_0" (func))
          (memory (export "memory") 1) (func (export "_start") unreachable))""")
        subprocess.run(["wat2wasm", "schemas.wat"], cwd=self.directory, check=True)
        ended = self.tool("deploy", "--guest", "schemas.wasm", *self.admin)
        self.assertIn("warning: it does not start here, where there is no schema registry: guest-trap", ended.stderr)

    def test_what_the_broker_refuses(self):
        ended = self.deploy("--output-topic", "nothing", code=OTHER)
        self.assertEqual(ended.stderr, "wasm-transform: c_identity was not deployed: the broker answered 400: topic nothing does not exist\n")
        ended = self.deploy("--output-topic", "nothing", "--json", code=OTHER)
        self.assertEqual(json.loads(ended.stderr)["exit_code"], OTHER)
        self.assertIn("no URL of http or https", self.tool("list", "--admin", "localhost", code=USAGE).stderr)
        self.assertIn("GET http://127.0.0.1:1/v1/transform: ", self.tool("list", "--admin", "http://127.0.0.1:1", code=OTHER).stderr)

    def test_the_leader_gets_the_module(self):
        leader = Redpanda()
        self.addCleanup(leader.close)
        self.broker.redirect = leader.url
        self.deploy()
        self.assertEqual(leader.transforms["c_identity"]["module"], (GUESTS / "c_identity.wasm").read_bytes())

    def test_passwords(self):
        self.broker.password = "s3cret"
        self.assertIn("answered 401: Unauthorized; see --user and --password-file", self.deploy(code=OTHER).stderr)
        self.write("password", "s3cret\n")
        self.deploy("--user", "admin", "--password-file", "password")
        self.deploy("--user", "admin", env={"WASM_TRANSFORM_PASSWORD": "s3cret"})


class Manage(ClusterTest):
    def test_from_list_to_delete(self):
        self.deploy("--name", "a b")
        rows = self.tool("list", *self.admin).lines
        self.assertRegex(rows[1], r"^a b +input +output +5  2 running$")
        self.assertIn("a b is paused", self.tool("pause", "a b", *self.admin).stderr)
        self.assertRegex(self.tool("list", *self.admin).lines[1], "2 inactive$")
        self.assertEqual(self.tool("resume", "a b", "--quiet", *self.admin).stderr, "")
        (listed,) = json.loads(self.tool("list", "--json", *self.admin).bytes)
        self.assertEqual((listed["name"], listed["status"][1]["lag"]), ("a b", 5))
        self.assertIn("a b is deleted", self.tool("delete", "a b", *self.admin).stderr)
        for command in ("pause", "resume", "delete"):
            ended = self.tool(command, "a b", *self.admin, code=OTHER)
            self.assertIn("the broker answered 404: transform a b does not exist", ended.stderr)
        self.assertIn(("PUT", "/v1/transform/a%20b/meta"), self.broker.requests)


    def test_an_answer_that_is_none(self):
        for answer in ([1], [{"name": 5}], [{"name": "a", "status": [1]}], [{"name": "a", "output_topics": [None]}], {"a": 1}):
            with self.subTest(answer):
                self.broker.list = answer
                ended = self.tool("list", *self.admin, code=OTHER)
                self.assertRegex(ended.stderr, "^wasm-transform: the broker's list of transforms is ")
                self.assertNotIn("json.exception", ended.stderr)
                self.assertEqual(ended.bytes, b"")

    def test_what_is_no_text(self):
        ended = self.deploy("--env", "X=\udcff", code=USAGE)
        self.assertEqual(ended.stderr, "wasm-transform: the variable X is not valid UTF-8\n")


class Logs(ClusterTest):
    def test_lines_of_one_transform(self):
        event = lambda text, severity, time: {"body": {"stringValue": text}, "severityNumber": severity, "timeUnixNano": time}
        self.broker.logs = [[("other", event("no", 9, 0))], [("mine", event(f"line {i}\n", 9 + 4 * (i % 2), i * 10**9)) for i in range(5)]]
        proxy = ("--proxy", self.broker.url)
        ended = self.tool("logs", "mine", *proxy)
        self.assertEqual(ended.lines, [f"1970-01-01T00:00:0{i}Z {('info', 'warn')[i % 2]} line {i}" for i in range(5)])
        self.assertEqual(len(self.tool("logs", "mine", "--tail", "2", *proxy).lines), 2)
        self.assertEqual(len(self.tool("logs", "mine", "--offset", "3", *proxy).lines), 2)
        self.assertEqual(json.loads(self.tool("logs", "mine", "--json", *proxy).lines[0]), event("line 0\n", 9, 0))
        self.assertEqual(self.tool("logs", "nobody", *proxy).lines, [])
        self.broker.logs = [[("mine", {"body": "text", "severityNumber": 9})]]
        ended = self.tool("logs", "mine", *proxy, code=OTHER)
        self.assertRegex(ended.stderr, "^wasm-transform: the records of the HTTP Proxy are JSON that is not as expected: ")
        self.broker.logs = []
        self.assertIn("there is no topic _redpanda.transform_logs", self.tool("logs", "mine", *proxy, code=OTHER).stderr)


if __name__ == "__main__":
    main()
