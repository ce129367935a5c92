# SPDX-License-Identifier: Apache-2.0
"""Where a transform begins and where it is sent."""

import time
import unittest

from confluent_kafka import Producer

from transformd import Daemon, DaemonTest


class Positions(DaemonTest):
    def produce_at(self, times):
        """A record with each time as its timestamp and its value, in partition 0."""
        producer = Producer({"bootstrap.servers": self.cluster.bootstrap})
        for at in times:
            producer.produce(self.input, value=str(at), timestamp=at, partition=0)
        self.assertEqual(producer.flush(30), 0)

    def run_from(self, start, expected):
        daemon = Daemon(self, self.write_file("c_identity", extra=f"start: {start}\nworkers: 1"))
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == len(expected), "the records")
        self.assertEqual(self.values(), expected)
        self.assertEqual(daemon.stop(), 0, daemon.log)

    def test_start_at_an_offset(self):
        self.topics(1)
        self.produce([(None, f"{i}") for i in range(5)])
        self.run_from("{offset: 3}", [b"3", b"4"])

    def test_start_at_a_time(self):
        self.topics(1)
        self.produce_at([1_700_000_000_000 + i * 1000 for i in range(5)])
        self.run_from('{timestamp: "2023-11-14T22:13:22.500Z"}', [b"1700000003000", b"1700000004000"])

    def test_start_at_a_time_behind_all_records_is_the_end(self):
        self.topics(1)
        self.produce_at([1_700_000_000_000])
        daemon = Daemon(self, self.write_file("c_identity", extra="start: {timestamp: 1800000000000}\nworkers: 1"))
        daemon.wait_until(lambda: [p["topic"] for w in daemon.transform(self.name)["workers"] for p in w["partitions"]],
                          "it has the partition")
        self.produce([(None, b"later")])
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 1, "the later record")
        self.assertEqual(self.values(), [b"later"])

    def test_the_groups_position_wins_over_the_start(self):
        self.topics(1)
        self.produce([(None, f"{i}") for i in range(4)])
        self.run_from("{offset: 2}", [b"2", b"3"])
        self.produce([(None, b"4")])
        daemon = Daemon(self, self.write_file("c_identity", extra="start: {offset: 0}\nworkers: 1"))
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 1, "the new record")
        self.assertEqual(self.values(), [b"2", b"3", b"4"])

    def seek(self, daemon, query):
        return daemon.request("POST", f"/transforms/{self.name}/seek?{query}")

    def test_seek(self):
        for guarantee in ("exactly-once", "at-least-once"):
            with self.subTest(guarantee):
                self.setUp()
                self.topics(1)
                self.produce_at([1_700_000_000_000 + i * 1000 for i in range(4)])
                path = self.write_file("c_identity", extra=f"workers: 1\nguarantee: {guarantee}")
                daemon = Daemon(self, path)
                done = lambda count: daemon.wait_until(lambda: daemon.total(self.name, "records_in") == count, f"{count} records")
                done(4)
                for query, count in [("to=earliest", 8), ("offset=2", 10), ("offset=3&partition=0", 11),
                                     ("timestamp=1700000001000", 14),
                                     ("timestamp=2023-11-14T22:13:23Z", 15)]:
                    status, answer = self.seek(daemon, query)
                    self.assertEqual(status, 202, answer)
                    done(count)
                self.assertEqual(self.seek(daemon, "offset=0&partition=7")[0], 202)  # another worker's, perhaps
                self.assertEqual(self.seek(daemon, "to=latest")[0], 202)
                self.produce([(None, b"last")])
                done(16)
                self.assertEqual(daemon.stop(), 0, daemon.log)
                values = self.values()
                self.assertEqual(len(values), 16)
                self.assertEqual(values.count(b"1700000003000"), 6)
                self.assertEqual(values.count(b"last"), 1)

    def test_a_seek_in_one_partition_loses_nothing_of_the_others(self):
        self.topics(2)
        count = 30_000
        self.produce([(f"k{i % 20}", f"{i:06}") for i in range(count)])
        daemon = Daemon(self, self.write_file("rust_identity", extra="workers: 1"))
        position = lambda: {p["partition"]: p["position"] for w in daemon.transform(self.name)["workers"] for p in w["partitions"]}
        daemon.wait_until(lambda: position()[0], "records of partition 0 are committed")
        for _ in range(20):
            self.assertEqual(self.seek(daemon, "to=earliest&partition=0")[0], 202)
        daemon.wait_until(lambda: daemon.log.count(f"{self.input}/0 goes on at 0") == 20, "all seeks")
        daemon.wait_until(lambda: [p["lag"] for w in daemon.transform(self.name)["workers"] for p in w["partitions"]] == [0, 0],
                          "everything is done")
        by_partition = self.read()
        self.assertEqual({m.value() for records in by_partition.values() for m in records},
                         {f"{i:06}".encode() for i in range(count)})
        self.assertGreater(len(by_partition[0]), len({m.value() for m in by_partition[0]}), "it was sought")
        # Nothing of the other partition came twice. Equal keys are in partitions of the same number.
        self.assertEqual(len(by_partition[1]), len({m.value() for m in by_partition[1]}))

    def test_an_offset_that_is_not_there_is_the_nearest_one(self):
        self.topics(1)
        self.produce([(None, f"{i}") for i in range(3)])
        daemon = Daemon(self, self.write_file("c_identity", extra="start: {offset: 100}\nworkers: 1"))
        daemon.wait_assigned(self.name, 1)
        self.produce([(None, b"3")])
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 1, "the new record")
        self.assertEqual(self.seek(daemon, "offset=1000")[0], 202)
        self.produce([(None, b"4")])
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 2, "the newer record")
        self.assertEqual(self.values(), [b"3", b"4"])

    def test_a_position_that_was_sought_is_the_groups(self):
        self.topics(1)
        self.produce([(None, f"{i}") for i in range(5)])
        path = self.write_file("c_identity", extra="workers: 1")
        daemon = Daemon(self, path)
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 5, "all records")
        daemon.request("POST", f"/transforms/{self.name}/pause")
        daemon.wait_until(lambda: daemon.transform(self.name)["state"] == "paused", "paused")
        self.assertEqual(self.seek(daemon, "offset=3")[0], 202)
        daemon.wait_until(lambda: [p["position"] for w in daemon.transform(self.name)["workers"] for p in w["partitions"]] == [3],
                          "the position")
        time.sleep(0.5)
        self.assertEqual(daemon.total(self.name, "records_in"), 5)
        daemon.kill()
        again = Daemon(self, path)
        again.wait_until(lambda: again.total(self.name, "records_in") == 2, "the last two", seconds=90)
        self.assertEqual(self.values(), [b"0", b"1", b"2", b"3", b"3", b"4", b"4"])

    def test_seeks_that_make_no_sense(self):
        self.topics(1)
        daemon = Daemon(self, self.write_file("c_identity", extra="workers: 1"))
        daemon.wait_ready()
        for query, word in [("", "one of"), ("to=middle", "earliest or latest"), ("offset=-1", "from 0"), ("offset=x", "from 0"), ("timestamp=now", "2026-01-01T00:00:00Z"),
                            ("offset=1&to=latest", "one of"), ("offset=1&partition=99999999999", "partition")]:
            status, answer = self.seek(daemon, query)
            self.assertEqual(status, 400, query)
            self.assertIn(word, answer["error"])
        daemon.request("POST", f"/transforms/{self.name}/stop")
        daemon.wait_until(lambda: daemon.transform(self.name)["state"] == "stopped", "stopped")
        self.assertEqual(self.seek(daemon, "offset=0")[0], 409)


if __name__ == "__main__":
    unittest.main(verbosity=2)
