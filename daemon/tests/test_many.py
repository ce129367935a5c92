# SPDX-License-Identifier: Apache-2.0
"""A hundred transforms in one daemon."""

import unittest

from confluent_kafka import Consumer, TopicPartition

from transformd import Daemon, DaemonTest, numbered

TRANSFORMS = 100
INPUTS = 10


class Many(DaemonTest):
    def test_a_hundred_transforms_in_one_daemon(self):
        """Ten of them on each input topic. Threads and memory are counted and printed."""
        inputs = [f"{self.name}-in-{i}" for i in range(INPUTS)]
        names = [f"{self.name}-{i}" for i in range(TRANSFORMS)]
        outputs = [f"{name}-out" for name in names]
        for topic in (*inputs, *outputs):
            self.cluster.create_topic(topic, 1)
        # A member more than are needed would only be threads.
        files = [self.write_file(name=name, extra="workers: 1", topics=(inputs[i % INPUTS], outputs[i]),
                                 client={"session.timeout.ms": 30000})
                 for i, name in enumerate(names)]
        for topic in inputs:
            self.produce(numbered(200), topic=topic)
        daemon = Daemon(self, *files)
        done = lambda: {name: sum(w["records_in"] for w in t["workers"]) for t in
                        daemon.request("GET", "/transforms")[1]["transforms"] for name in [t["name"]]}
        daemon.wait_until(lambda: done() == dict.fromkeys(names, 200), "all transforms have done all records", seconds=120)
        self.assertEqual(daemon.request("GET", "/readyz"), (200, "ready\n"))
        threads, memory = daemon.status("Threads"), daemon.status("VmRSS") >> 10
        print(f"{TRANSFORMS} transforms: {threads} threads, {memory} MiB")
        self.assertLess(threads / TRANSFORMS, 20)
        self.assertLess(memory / TRANSFORMS, 12, "MiB for each")
        expected = [f"{i:08}".encode() for i in range(200)]
        for topic, values in self.read_all(outputs).items():
            self.assertEqual(values, expected, topic)
        self.assertEqual(daemon.stop(), 0, daemon.log[-3000:])

    def read_all(self, topics):
        """The values of each topic by one client: one for each would take a minute."""
        consumer = Consumer({"bootstrap.servers": self.cluster.bootstrap, "group.id": "nobody",
                             "isolation.level": "read_committed", "enable.partition.eof": True})
        try:
            consumer.assign([TopicPartition(topic, 0, 0) for topic in topics])
            found = {topic: [] for topic in topics}
            going = set(topics)
            while going:
                messages = consumer.consume(1000, 30)
                self.assertTrue(messages, f"nothing comes of {going}")
                for m in messages:
                    going.discard(m.topic()) if m.error() else found[m.topic()].append(m.value())
            return found
        finally:
            consumer.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
