"""The broker's end while guests are at work."""

import signal
import time
import unittest

from broker import Case


class Shutdown(Case):
    def test_messages_that_wait_are_counted_in_the_log(self):
        broker = self.broker(self.transform("odd_busy", "record_time_ms 60000")).running()
        client = self.client(broker, "#")
        for _ in range(10):
            client.acknowledged("in/x", b"spin")
        for number in (signal.SIGHUP, signal.SIGTERM):
            broker.process.send_signal(number)
        began = time.monotonic()
        self.assertEqual(broker.ended(), 0)
        # Not the ten minutes that the guests would take.
        self.assertLess(time.monotonic() - began, 10)
        self.assertIn("transform t: 10 messages waited when the broker ended and are lost", broker.log())

    def test_while_a_version_is_compiled(self):
        broker = self.broker(self.transform("c_identity")).running()
        broker.reload(self.transform("cpp_filter"))
        broker.process.terminate()
        self.assertEqual(broker.ended(), 0)

    def test_it_starts_again_and_again(self):
        for _ in range(3):
            broker = self.broker(self.transform("c_tee")).running()
            client = self.client(broker, "#")
            client.publish("in/x", b"2")
            self.assertEqual(client.texts(2), [("in/x", "2")] * 2)
            broker.process.terminate()
            self.assertEqual(broker.ended(), 0)
            self.assertNotIn("lost", broker.log())


if __name__ == "__main__":
    unittest.main()
