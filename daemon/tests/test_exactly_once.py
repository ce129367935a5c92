# SPDX-License-Identifier: Apache-2.0
"""The guarantees of the default mode against a real broker."""

import signal
import time
import unittest

from transformd import Daemon, DaemonTest, numbered


class ExactlyOnce(DaemonTest):
    def test_records_come_out_with_keys_values_and_headers(self):
        self.topics(1)
        records = [(b"k", b"v", [("a", b"1"), ("a", b"2"), ("b", None), ("c", b"")]), (None, b"no key"), (b"tombstone", None),
                   (b"", b""), (b"k\xff", b"\x00" * 1000)]
        self.produce(records)
        daemon = Daemon(self, self.write_file())
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == len(records), "all records")
        found = self.read()[0]
        self.assertEqual([(m.key(), m.value()) for m in found], [r[:2] for r in records])
        self.assertEqual(found[0].headers(), [("a", b"1"), ("a", b"2"), ("b", None), ("c", b"")])
        self.assertEqual(daemon.stop(), 0, daemon.log)

    def test_a_killed_daemon_loses_and_repeats_nothing(self):
        self.topics(4)
        path = self.write_file(extra="commit-interval: 20ms", client={"transaction.timeout.ms": 5000})
        rounds, each = 3, 40_000
        for i in range(rounds):
            # More comes for each: one may have done everything before it is killed.
            self.produce(numbered(each, first=i * each))
            daemon = Daemon(self, path, arguments=("--instance", "fixed"))
            daemon.wait_until(lambda: daemon.total(self.name, "commits") >= 1, "a commit")
            time.sleep(0.03 * i)
            daemon.kill()
        count = rounds * each
        daemon = Daemon(self, path, arguments=("--instance", "fixed"))
        daemon.wait_until(lambda: sum(self.committed().values()) == count, "the position is at the end")
        self.check_once_and_in_order(count)
        self.assertEqual(daemon.stop(), 0, daemon.log)

    def test_two_daemons_share_the_partitions_and_one_takes_over(self):
        self.topics(4)
        path = self.write_file(client={"transaction.timeout.ms": 5000})
        first, second = Daemon(self, path), Daemon(self, path)
        for daemon in (first, second):
            daemon.wait_until(lambda d=daemon: sum(len(w["partitions"]) for w in d.transform(self.name)["workers"]) == 2,
                              "each has two partitions")
        self.produce(numbered(20_000))
        first.wait_until(lambda: first.total(self.name, "records_in") > 0, "the first has begun")
        first.process.send_signal(signal.SIGKILL)
        self.produce(numbered(20_000, first=20_000))
        second.wait_until(lambda: sum(self.committed().values()) == 40_000, "the second has done everything")
        self.check_once_and_in_order(40_000)
        self.assertEqual(second.stop(), 0, second.log)

    def test_sigterm_commits_and_leaves_the_group(self):
        self.topics(2)
        path = self.write_file(extra="commit-interval: 2m")
        daemon = Daemon(self, path)
        daemon.wait_until(lambda: [len(w["partitions"]) for w in daemon.transform(self.name)["workers"]] == [1, 1],
                          "each worker has a partition: a rebalance would commit")
        self.produce(numbered(500))
        daemon.wait_until(lambda: sum(self.end_offsets(self.output).values()) >= 500, "output is there")
        self.assertEqual(daemon.total(self.name, "commits"), 0)
        self.assertEqual(daemon.stop(), 0, daemon.log)
        self.check_once_and_in_order(500)
        self.assertEqual(sum(self.committed().values()), 500)
        # Nobody has to wait for a session to time out.
        begun = time.monotonic()
        again = Daemon(self, path)
        again.wait_until(lambda: sum(len(w["partitions"]) for w in again.transform(self.name)["workers"]) == 2, "joined")
        self.assertLess(time.monotonic() - begun, 5)

    def test_at_least_once_loses_nothing(self):
        self.topics(4)
        path = self.write_file(extra="guarantee: at-least-once")
        self.produce(numbered(20_000))
        daemon = Daemon(self, path)
        daemon.wait_until(lambda: daemon.total(self.name, "commits") >= 1, "a commit")
        daemon.kill()
        daemon = Daemon(self, path)
        daemon.wait_until(lambda: sum(self.committed().values()) == 20_000, "the position is at the end")
        self.assertEqual(sorted(set(self.values())), [f"{i:08}".encode() for i in range(20_000)])

    def test_a_poison_record_goes_to_the_dead_letters_in_the_same_transaction(self):
        self.topics(1)
        letters = f"{self.name}-letters"
        self.cluster.create_topic(letters)
        path = self.write_file("rust_panic", extra=f"on-error: {{dead-letter-topic: {letters}}}")
        self.produce([(b"a", b"good"), (b"b", b"boom"), (b"c", b"good too")])
        daemon = Daemon(self, path)
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 3, "all records")
        lost = [m for records in self.read(letters).values() for m in records]
        self.assertEqual(daemon.total(self.name, "dead_lettered"), len(lost))
        self.assertEqual([m.value() for m in lost], [b"boom"])
        self.assertEqual(self.values(), [b"good", b"good too"])
        names = {key for key, _ in lost[0].headers()}
        self.assertLessEqual({"wasm-transform", "wasm-offset", "wasm-error", "wasm-error-message"}, names)

    def test_a_guest_that_fails_stops_its_transform_and_not_the_daemon(self):
        self.topics(1)
        other_in, other_out = f"{self.name}-in2", f"{self.name}-out2"
        self.cluster.create_topic(other_in)
        self.cluster.create_topic(other_out)
        bad = self.write_file("rust_panic")
        good = self.directory / "good.yaml"
        good.write_text(bad.read_text().replace(f"name: {self.name}", f"name: {self.name}-good")
                        .replace(self.input, other_in).replace(self.output, other_out).replace("rust_panic", "c_identity"))
        daemon = Daemon(self, bad, good)
        self.produce([(b"a", b"good"), (b"a", b"boom")])
        daemon.wait_until(lambda: daemon.transform(self.name)["state"] == "failed", "failed")
        self.assertIn("boom", daemon.transform(self.name)["error"])
        self.produce([(b"a", b"x")], topic=other_in)
        daemon.wait_until(lambda: daemon.total(f"{self.name}-good", "records_out") == 1, "the other goes on")
        status, why = daemon.request("GET", "/readyz")
        self.assertEqual(status, 503)
        self.assertIn(self.name, why)
        self.assertEqual(self.values(), [])

    def test_pause_and_resume_fall_between_transactions(self):
        self.topics(2)
        daemon = Daemon(self, self.write_file())
        daemon.wait_ready()
        self.produce(numbered(100))
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 100, "the first hundred")
        self.assertEqual(daemon.request("POST", f"/transforms/{self.name}/pause")[0], 202)
        daemon.wait_until(lambda: all(w["state"] == "paused" for w in daemon.transform(self.name)["workers"]), "paused")
        self.produce(numbered(100, first=100))
        time.sleep(1)
        self.assertEqual(daemon.total(self.name, "records_in"), 100)
        self.assertEqual(daemon.request("POST", f"/transforms/{self.name}/resume")[0], 202)
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 200, "the second hundred")
        self.check_once_and_in_order(200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
