"""Many clients at once."""

import threading
import unittest

from broker import Case


class Load(Case):
    def test_publishers_at_once(self):
        lines = ("output o out/{2}", "queue_messages 100000")
        broker = self.broker(self.transform("c_tee", *lines), options="max_queued_messages 0").running()
        subscriber = self.client(broker, "out/#")
        count = 2000

        def publish(number, client):
            for i in range(count):
                client.publish(f"in/{number}", f"{i % 3} {i}", qos=number % 2)

        publishers = [self.client(broker) for _ in range(4)]
        threads = [threading.Thread(target=publish, args=pair) for pair in enumerate(publishers)]
        for thread in threads:
            thread.start()
        expected = [f"{i % 3} {i}" for i in range(count) for _ in range(i % 3)]
        seen = {f"out/{number}": [] for number in range(4)}
        for topic, text in subscriber.texts(4 * len(expected)):
            seen[topic].append(text)
        for thread in threads:
            thread.join()
        for number in range(4):
            self.assertEqual(seen[f"out/{number}"], expected, number)
        self.metric(broker, "messages/transformed", 4 * count)

    def test_busy_guests_beside_ordinary_ones(self):
        busy = self.transform("odd_busy", "queue_messages 100000", name="busy", filters=("busy/#",))
        broker = self.broker(busy + self.transform("c_identity"), options="max_queued_messages 0").running()
        busy_client, client = self.client(broker, "busy/#"), self.client(broker, "in/#")
        slow = [("busy/x", f"work {i % 10}") for i in range(100)]
        for topic, text in slow:
            busy_client.publish(topic, text, qos=1)
        quick = [("in/x", str(i)) for i in range(2000)]
        for topic, text in quick:
            client.publish(topic, text, qos=1)
        self.assertEqual(client.texts(len(quick)), quick)
        self.assertEqual(busy_client.texts(len(slow)), slow)


if __name__ == "__main__":
    unittest.main()
