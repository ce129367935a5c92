"""Alert rules and dashboard of docs/monitoring/: every metric that they name is exported, and every query runs.

    LIBRARY=… GUESTS=… python3 -B -m unittest test_monitoring
"""

import http.server
import json
import re
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from docs_support import GUESTS, ROOT, compile_c

MONITORING = ROOT / "docs" / "monitoring"
NAME = re.compile(r"\bwasm_\w+")
ALERT = re.compile(r"^ *- alert: (\w+)$", re.MULTILINE)
# What Grafana puts in for its variables.
VARIABLES = {"$__rate_interval": "5s", "$instance": ".*", "$transform": ".*"}


def queries():
    """Title and query of each target of the dashboard."""
    for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


class Host:
    """A host that is compiled once and transforms a batch for each scrape."""

    def __init__(self, directory):
        program = compile_c("metrics_host.c", directory)
        self._process = subprocess.Popen(
            [program, GUESTS / "wat_traps.wasm"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lock = threading.Lock()

    def scrape(self):
        with self._lock:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            return "".join(iter(self._process.stdout.readline, "# end\n"))

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        return self._process.wait(timeout=60)


class Monitoring(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.directory = Path(directory.name)
        cls.host = Host(cls.directory)
        cls.text = cls.host.scrape()
        cls.exported = {re.match(r"\w+", line)[0] for line in cls.text.splitlines() if not line.startswith("#")}

    @classmethod
    def tearDownClass(cls):
        assert cls.host.close() == 0

    def test_the_host_exports_all_metrics_that_are_documented(self):
        documented = set(re.findall(r"^\| `(wasm_\w+)` \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
        histogram = {f"wasm_record_latency_seconds{end}" for end in ("_bucket", "_sum", "_count")}
        self.assertEqual(self.exported, documented - {"wasm_record_latency_seconds"} | histogram)

    def test_rules_name_exported_metrics_only(self):
        expressions = re.sub(r"summary:.*", "", (MONITORING / "alerts.yml").read_text())
        self.assertEqual(set(NAME.findall(expressions)) - self.exported, set())

    def test_the_dashboard_names_exported_metrics_only_and_all_of_them(self):
        named = {name for _, query in queries() for name in NAME.findall(query)}
        self.assertEqual(named - self.exported, set())
        self.assertEqual(self.exported - named, set(), "metrics that no panel shows")

    def test_promtool_accepts_the_rules_and_their_tests(self):
        subprocess.run(["promtool", "check", "rules", "alerts.yml"], cwd=MONITORING, check=True, capture_output=True)
        done = subprocess.run(["promtool", "test", "rules", "alerts_test.yml"], cwd=MONITORING, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_alert_is_tested_and_described(self):
        alerts = ALERT.findall((MONITORING / "alerts.yml").read_text())
        tests = (MONITORING / "alerts_test.yml").read_text()
        page = re.findall(r"^\| `(Wasm\w+)` \|", (ROOT / "docs" / "monitoring.md").read_text(), re.MULTILINE)
        self.assertEqual(alerts, page)
        for alert in alerts:
            self.assertIn(f"alertname: {alert}, exp_alerts: []", tests)
            self.assertIn(f"alertname: {alert}\n        exp_alerts:\n", tests)

    def test_panels_do_not_overlap(self):
        taken = set()
        for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(taken & cells, panel["title"])
            taken |= cells

    def test_queries_and_rules_run_on_a_prometheus_that_scrapes_the_library(self):
        with Prometheus(self.host, self.directory) as prometheus:
            missing = list(queries())
            end = time.monotonic() + 60
            while missing and time.monotonic() < end:
                time.sleep(0.5)
                missing = [(title, query) for title, query in missing if not prometheus.result(query)]
            self.assertEqual(missing, [], "no data")
            for rule in prometheus.get("rules")["groups"][0]["rules"]:
                self.assertEqual((rule["lastError"] if "lastError" in rule else "", rule["health"]), ("", "ok"))


class Prometheus:
    """A Prometheus that scrapes a host twice a second, with the alert rules."""

    def __init__(self, host, directory):
        class Metrics(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = host.scrape().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
        threading.Thread(target=self._server.serve_forever).start()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        config = directory / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\n"
            f"rule_files: ['{MONITORING / 'alerts.yml'}']\n"
            "scrape_configs:\n  - job_name: host\n"
            f"    static_configs: [{{targets: ['127.0.0.1:{self._server.server_port}']}}]\n"
        )
        storage = directory / "prometheus"
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={storage}"]
        command += [f"--web.listen-address={self._address}", "--log.level=error"]
        self._process = subprocess.Popen(command)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(timeout=60)
        self._server.shutdown()
        self._server.server_close()

    def get(self, what, **parameters):
        url = f"http://{self._address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def result(self, query):
        """Samples of a query of the dashboard. Numbers only: a ratio of nothing is none."""
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)
        try:
            return [sample for sample in self.get("query", query=query)["result"] if sample["value"][1] != "NaN"]
        except urllib.error.URLError:  # it is still starting
            return []


if __name__ == "__main__":
    unittest.main()
