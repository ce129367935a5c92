# SPDX-License-Identifier: Apache-2.0
"""Members that come and go while there is something to do."""

import unittest

from transformd import Daemon, DaemonTest, guest, numbered


class Rebalance(DaemonTest):
    def wait_for_the_end(self, daemon):
        ends = self.end_offsets(self.input)
        daemon.wait_until(lambda: self.committed() == ends, "the position is at the end")

    def test_a_guest_that_fails_in_a_rebalance_does_not_hold_up_the_group(self):
        """The poison is among what a worker holds when another comes. Its records are the other's then."""
        for round in range(3):
            with self.subTest(round=round):
                self.setUp()
                self.topics(4)
                failing = self.write_file("rust_panic")
                sound = self.directory / "sound.yaml"
                sound.write_text(failing.read_text().replace(guest("rust_panic"), guest("rust_identity")))
                first = Daemon(self, failing)
                first.wait_assigned(self.name, 2, 2)
                self.produce(numbered(2000))
                first.wait_until(lambda: first.total(self.name, "records_in") > 0, "the first has begun")
                second = Daemon(self, sound)
                self.produce([(f"key-{i}", b"boom") for i in range(50)])
                self.produce(numbered(2000, first=2000))
                self.wait_for_the_end(second)
                first.wait_until(lambda: first.transform(self.name)["state"] == "failed", "the first has failed")
                self.assertIn("boom", first.transform(self.name)["error"])
                values = self.values()
                self.assertEqual([v for v in values if v != b"boom"], [f"{i:08}".encode() for i in range(4000)])
                self.assertEqual(values.count(b"boom"), 50)
                for daemon in (first, second):
                    self.assertEqual(daemon.stop(), 0, daemon.log)

    def test_a_backlog_does_not_wait_for_the_next_tick(self):
        """Two workers of one loop. If one slept after each poll, a second for a thousand records, it would commit often."""
        self.topics(2)
        count = 80_000
        self.produce(numbered(count, keys=500))
        daemon = Daemon(self, self.write_file(extra="commit-interval: 10s\nworkers: 2", client={"queue.buffering.max.messages": 1000000}),
                        threads=1)
        daemon.wait_assigned(self.name, 1, 1)
        self.wait_for_the_end(daemon)
        for worker in daemon.transform(self.name)["workers"]:
            self.assertLessEqual(worker["commits"], 3, worker)
            self.assertGreater(worker["records_in"], count / 4, worker)
        self.check_once_and_in_order(count, keys=500)

    def test_a_backlog_that_comes_with_partitions_of_another_is_done_at_once(self):
        self.topics(2)
        first = Daemon(self, self.write_file())
        first.wait_assigned(self.name, 1, 1)
        second = Daemon(self, self.write_file(extra="commit-interval: 10s\nworkers: 2"), threads=1)
        second.wait_until(lambda: second.request("GET", "/readyz")[0] == 200, "ready")
        first.request("POST", f"/transforms/{self.name}/pause")
        first.wait_until(lambda: all(w["state"] == "paused" for w in first.transform(self.name)["workers"]), "paused")
        count = 60_000
        self.produce(numbered(count, keys=500))
        done = first.total(self.name, "records_in")
        self.assertEqual(first.stop(), 0, first.log)
        second.wait_until(lambda: sum(self.committed().values()) == count, "the second does the rest")
        self.assertLessEqual(max(w["commits"] for w in second.transform(self.name)["workers"]), 4)
        self.assertEqual(done + second.total(self.name, "records_in"), count)
        self.check_once_and_in_order(count, keys=500)

    def test_latest_keeps_its_place_when_partitions_move(self):
        self.topics(4)
        self.produce([(f"key-{i % 50}", b"from before") for i in range(500)])
        path = self.write_file(extra="start: latest", client={"transaction.timeout.ms": 5000})
        first = Daemon(self, path)
        first.wait_assigned(self.name, 2, 2)
        self.produce(numbered(1000))
        second = Daemon(self, path)
        self.produce(numbered(1000, first=1000))
        second.wait_until(lambda: sum(len(w["partitions"]) for w in second.transform(self.name)["workers"]) > 0, "its part")
        self.produce(numbered(1000, first=2000))
        first.kill()
        self.produce(numbered(1000, first=3000))
        self.wait_for_the_end(second)
        self.check_once_and_in_order(4000)
        # All go, records come, and one is there again: it begins where the group was and not at the end.
        self.assertEqual(second.stop(), 0, second.log)
        self.produce(numbered(1000, first=4000))
        third = Daemon(self, path)
        self.wait_for_the_end(third)
        self.check_once_and_in_order(5000)


if __name__ == "__main__":
    unittest.main(verbosity=2)
