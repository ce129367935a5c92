# SPDX-License-Identifier: Apache-2.0
"""What topics have and what becomes of them: gaps, aborted transactions, new partitions, deletion, large records."""

import time
import unittest

from confluent_kafka import Producer

from transformd import Daemon, DaemonTest, numbered

# So that a client sees in a second what became of a topic.
QUICK = {"topic.metadata.refresh.interval.ms": 500, "topic.metadata.propagation.max.ms": 1000}


class Topics(DaemonTest):
    def start(self, *paths, **arguments):
        daemon = Daemon(self, *(paths or [self.write_file(client=QUICK)]), **arguments)
        daemon.wait_ready()
        return daemon

    def wait_for_the_end(self, daemon, count=None):
        """The group's positions are at the input's end."""
        ends = self.end_offsets(self.input)
        if count is not None:
            self.assertEqual(sum(ends.values()), count)
        daemon.wait_until(lambda: self.committed() == ends, "the position is at the end")

    def test_a_compacted_topic_has_gaps(self):
        self.cluster.create_topic(self.input, 1, cleanup_policy="compact", segment_ms=200, min_cleanable_dirty_ratio=0.01,
                                  min_compaction_lag_ms=0, segment_bytes=1048576)
        self.cluster.create_topic(self.output, 1)
        for round in range(5):
            self.produce([(f"key-{i % 7}", f"{round}-{i:04}") for i in range(200)])
            time.sleep(0.3)  # a segment is closed by the next record after its time
        self.produce([("last", "last")])
        deadline = time.monotonic() + 60
        while len(left := self.read(self.input)[0]) > 500:
            self.assertLess(time.monotonic(), deadline, f"the cluster compacts nothing: {len(left)} records")
            time.sleep(0.5)
        daemon = self.start()
        self.wait_for_the_end(daemon, 1001)
        kept = [(m.key(), m.value()) for m in self.read()[0]]
        # The cluster may have compacted more of it before the daemon read it, but never what is the last of its key.
        self.assertEqual([r for r in ((m.key(), m.value()) for m in left) if r in set(kept)], kept)
        self.assertEqual(dict(kept), {m.key(): m.value() for m in left})

    def transaction(self, records, commit):
        producer = Producer({"bootstrap.servers": self.cluster.bootstrap, "transactional.id": f"{self.name}-upstream",
                             "partitioner": "murmur2_random"})
        producer.init_transactions(30)
        producer.begin_transaction()
        for key, value in records:
            producer.produce(self.input, key=key, value=value)
        producer.flush(30)
        producer.commit_transaction(30) if commit else producer.abort_transaction(30)

    def test_what_others_have_aborted_is_not_transformed(self):
        self.topics(2)
        daemon = self.start()
        self.transaction(numbered(300), commit=True)
        self.transaction([(f"key-{i % 50}", b"aborted") for i in range(300)], commit=False)
        self.transaction(numbered(300, first=300), commit=True)
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 600, "the committed records")
        self.check_once_and_in_order(600)
        # Aborted at the end: nothing comes any more, and a new member does not stumble over it.
        self.transaction([(f"key-{i % 50}", b"aborted") for i in range(300)], commit=False)
        self.assertEqual(daemon.stop(), 0, daemon.log)
        daemon = self.start()
        self.produce(numbered(100, first=600))
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 100, "the new records")
        self.check_once_and_in_order(700)

    def test_empty_partitions_hold_up_nothing(self):
        self.topics(6)
        daemon = self.start()
        self.produce(numbered(500, keys=1))
        self.wait_for_the_end(daemon, 500)
        self.check_once_and_in_order(500)
        self.assertEqual(sorted(map(len, self.read().values())), [0, 0, 0, 0, 0, 500])

    def test_an_empty_topic_is_ready_and_stops(self):
        self.topics(1)
        daemon = self.start()
        self.assertEqual(daemon.stop(), 0, daemon.log)
        self.assertEqual(self.end_offsets(self.output), {0: 0})

    def test_new_partitions_are_taken_while_it_runs(self):
        self.topics(1)
        daemon = self.start()
        self.produce(numbered(200))
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 200, "the first partition")
        self.cluster.add_partitions(self.input, 4)
        # The producer is a new one, which knows all partitions.
        self.produce([(f"new-{i % 50}", f"{i:08}") for i in range(200, 600)])
        daemon.wait_until(lambda: sum(len(w["partitions"]) for w in daemon.transform(self.name)["workers"]) == 4,
                          "all partitions are somebody's")
        self.wait_for_the_end(daemon, 600)
        self.check_once_and_in_order(600, keys=100)
        self.assertEqual(daemon.total(self.name, "aborts"), 0)

    def test_a_deleted_topic_is_told_and_the_others_go_on(self):
        self.topics(2)
        other = f"{self.name}-other"
        source, target = f"{other}-in", f"{other}-out"
        for topic in (source, target):
            self.cluster.create_topic(topic, 1)
        daemon = self.start(self.write_file(client=QUICK),
                            self.write_file(name=other, client=QUICK, topics=(source, target)))
        self.produce(numbered(200))
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 200, "the records before")
        self.cluster.delete_topic(self.input)
        daemon.wait_until(lambda: any(self.input in w.get("error", "") for w in daemon.transform(self.name)["workers"]),
                          "the state names the topic")
        self.assertIn(self.input, daemon.request("GET", "/readyz")[1])
        self.produce([("k", "v")], topic=source)
        daemon.wait_until(lambda: daemon.total(other, "records_out") == 1, "the other transform goes on")
        # A topic of the same name begins at 0 again.
        self.cluster.create_topic(self.input, 2)
        self.produce(numbered(300, first=200))
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 500, "the records of the new topic",
                          seconds=120)
        self.check_once_and_in_order(500)
        daemon.wait_until(lambda: daemon.request("GET", "/readyz")[0] == 200, "ready again")
        self.assertEqual(daemon.stop(), 0, daemon.log)

    def test_a_deleted_output_is_told_and_nothing_is_lost_when_it_is_back(self):
        self.topics(1)
        daemon = self.start(self.write_file(client={**QUICK, "message.timeout.ms": 3000}))
        self.produce(numbered(100))
        daemon.wait_until(lambda: daemon.total(self.name, "records_in") == 100, "the records before")
        self.cluster.delete_topic(self.output)
        self.produce(numbered(100, first=100))
        daemon.wait_until(lambda: any(w.get("error") for w in daemon.transform(self.name)["workers"]), "the state says why")
        self.cluster.create_topic(self.output, 1)
        daemon.wait_until(lambda: sum(self.committed().values()) == 200, "the position is at the end", seconds=120)
        self.assertEqual(self.values(), [f"{i:08}".encode() for i in range(100, 200)])

    def test_a_record_of_a_mebibyte(self):
        large = 2 << 20
        for topic in (self.input, self.output):
            self.cluster.create_topic(topic, 1, max_message_bytes=large)
        daemon = self.start(self.write_file(extra="limits: {output: 2MiB}", client={"message.max.bytes": large}))
        values = [bytes([i]) * (1 << 20) for i in range(1, 6)]
        self.produce([(f"k{i}", value) for i, value in enumerate(values)], **{"message.max.bytes": large})
        self.wait_for_the_end(daemon, 5)
        self.assertEqual([m.value() for m in self.read()[0]], values)


if __name__ == "__main__":
    unittest.main(verbosity=2)
