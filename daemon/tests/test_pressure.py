# SPDX-License-Identifier: Apache-2.0
"""What the daemon does while something that it writes to takes nothing: the cluster, or its own log."""

import os
import signal
import time
import unittest

from transformd import Daemon, DaemonTest, numbered


class SlowCluster(DaemonTest):
    def tearDown(self):
        self.cluster.nodes[0].kill(signal.SIGCONT)

    def test_a_slow_cluster_keeps_memory_bounded_and_the_member_in_its_group(self):
        self.topics(2)
        size, count = 4000, 50_000  # 200 MB, which must not all be in the daemon
        small = {"queued.max.messages.kbytes": 2048, "queue.buffering.max.kbytes": 2048, "fetch.message.max.bytes": 262144,
                 "session.timeout.ms": 30000, "max.poll.interval.ms": 30000, "transaction.timeout.ms": 120000}
        path = self.write_file(extra="commit-interval: 1m", client=small)
        daemon = Daemon(self, path)
        daemon.wait_assigned(self.name, 1, 1)
        self.produce([(f"key-{i % 50}", f"{i:08}".ljust(size)) for i in range(2000)])
        daemon.wait_until(lambda: sum(self.end_offsets(self.output).values()) >= 2000, "it is warm")
        rebalances = daemon.total(self.name, "rebalances")
        before = highest = daemon.status("VmRSS")
        daemon.request("POST", f"/transforms/{self.name}/pause")
        daemon.wait_until(lambda: all(w["state"] == "paused" for w in daemon.transform(self.name)["workers"]), "paused")
        self.produce([(f"key-{i % 50}", f"{i:08}".ljust(size)) for i in range(2000, count)])
        daemon.request("POST", f"/transforms/{self.name}/resume")
        broker = self.cluster.nodes[0]
        for _ in range(4):
            broker.kill(signal.SIGSTOP)
            for _ in range(15):
                time.sleep(0.2)
                highest = max(highest, daemon.status("VmRSS"))
            self.assertEqual(daemon.request("GET", "/healthz")[0], 200)
            broker.kill(signal.SIGCONT)
            time.sleep(0.3)
        daemon.wait_until(lambda: sum(self.end_offsets(self.output).values()) >= count, "all output is there")
        daemon.request("POST", f"/transforms/{self.name}/pause")  # which commits
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == count, "the position is at the end")
        self.assertLess(highest - before, 80 << 10, "KiB")
        self.assertEqual(daemon.total(self.name, "rebalances"), rebalances, daemon.log)
        self.assertEqual(daemon.total(self.name, "aborts"), 0, daemon.log)
        self.assertEqual([value.strip() for value in self.values()], [f"{i:08}".encode() for i in range(count)])

    def test_a_full_output_queue_loses_nothing(self):
        """Less room than one poll's output: the guest waits in the middle of it again and again."""
        self.topics(2)
        path = self.write_file(client={"queue.buffering.max.messages": 50})
        daemon = Daemon(self, path)
        self.produce(numbered(5000))
        daemon.wait_until(lambda: sum(self.committed().values()) == 5000, "the position is at the end")
        self.check_once_and_in_order(5000)


class Away(DaemonTest):
    """The cluster is gone for good."""

    def test_sigterm_ends_it_all_the_same(self):
        self.topics(2)
        daemon = Daemon(self, self.write_file(extra="commit-interval: 2m"))
        daemon.wait_assigned(self.name, 1, 1)
        self.produce(numbered(500))
        daemon.wait_until(lambda: sum(self.end_offsets(self.output).values()) >= 500, "output is there")
        self.cluster.nodes[0].kill()
        daemon.process.terminate()
        begun = time.monotonic()
        code = daemon.process.wait(300)
        print(f"the end took {time.monotonic() - begun:.0f} s")
        self.assertEqual(code, 0, daemon.log)


class FullLog(DaemonTest):
    """The daemon's own log has no room."""

    def check_works(self, daemon):
        daemon.wait_until(lambda: daemon.request("GET", "/readyz")[0] == 200, "ready")
        # Each line of the guest is one of the log: 1 MB, which no pipe holds.
        self.produce([(f"key-{i % 50}", f"{i:08}".ljust(500)) for i in range(2000)])
        daemon.wait_until(lambda: sum(self.committed().values()) == 2000, "the position is at the end")
        self.assertEqual(len(self.values()), 2000)
        lines = daemon.request("GET", f"/transforms/{self.name}/logs")[1]["lines"]
        self.assertTrue(any(line["source"] == "guest" for line in lines))
        self.assertEqual(daemon.stop(), 0)

    def start(self, stderr):
        self.topics(2)
        return Daemon(self, self.write_file("c_logger"), arguments=("--verbose",), stderr=stderr)

    def test_a_full_disk(self):
        with open("/dev/full", "wb") as full:
            self.check_works(self.start(full))

    def test_a_pipe_that_nobody_reads(self):
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        daemon = self.start(writing)
        os.close(writing)
        self.check_works(daemon)

    def test_a_pipe_whose_reader_has_gone(self):
        reading, writing = os.pipe()
        daemon = self.start(writing)
        os.close(writing)
        os.close(reading)
        self.check_works(daemon)


if __name__ == "__main__":
    unittest.main(verbosity=2)
