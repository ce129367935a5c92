# SPDX-License-Identifier: Apache-2.0
"""deploy, list, pause, resume, delete and logs, against a server that has Redpanda's admin API and HTTP Proxy."""

import json

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
        self.broker.logs = []
        self.assertIn("there is no topic _redpanda.transform_logs", self.tool("logs", "mine", *proxy, code=OTHER).stderr)


if __name__ == "__main__":
    main()
