"""Guests that fail, and guests that want more than they may have."""

import re
import resource
import time
import unittest
from pathlib import Path

import paho.mqtt.client as mqtt
from broker import Case, until, users

NOT_AUTHORIZED = 0x87
TAKEN = 0x10  # no matching subscribers: those of the topic `$`


class Failures(Case):
    def test_drop(self):
        broker = self.broker(self.transform("odd_busy", "on_error drop")).running()
        client = self.client(broker, "#")
        for qos in (0, 1, 2):
            client.publish("in/x", b"trap", qos=qos)
            client.publish("in/x", b"next", qos=qos)
            self.assertEqual(client.texts(1), [("in/x", "next")])
        self.assertEqual(client.acknowledged("in/x", b"trap"), TAKEN)
        broker.wait_for_log("wasm: transform t: a message of topic in/x failed: ")
        broker.wait_for_log("unreachable")
        self.metric(broker, "messages/dropped", 4)

    def test_pass(self):
        broker = self.broker(self.transform("odd_busy", "on_error pass")).running()
        client = self.client(broker, "#")
        sent = [f"{what} {i}" for i in range(50) for what in ("x", "badstamp")]
        for text in sent:
            client.publish("in/x", text.split()[0] if "bad" in text else text, qos=1, retain=True, users=[("a", "b")])
        for text in sent:
            got = client.get()
            self.assertEqual((got.payload.decode(), got.retain, users(got)),
                             (text.split()[0] if "bad" in text else text, True, [("a", "b")]))

    def test_pass_after_the_guest_was_restarted_keeps_the_order(self):
        broker = self.broker(self.transform("odd_busy", "on_error pass")).running()
        client = self.client(broker, "#")
        sent = [("in/x", "trap" if i % 5 == 0 else f"x {i}") for i in range(200)]
        for topic, text in sent:
            client.publish(topic, text, qos=1)
        self.assertEqual(client.texts(len(sent)), sent)
        self.metric(broker, "guest/restarts", 40)

    def test_deny(self):
        broker = self.broker(self.transform("odd_busy", "on_error deny", "record_time_ms 50")).running()
        client = self.client(broker, "#")
        self.assertEqual(client.acknowledged("in/x", b"trap"), NOT_AUTHORIZED)
        # This one waits for the guest to start again. So the publisher has no answer to wait for any more.
        self.assertIn(client.acknowledged("in/x", b"trap", qos=2), (0, NOT_AUTHORIZED))
        self.assertEqual(client.acknowledged("in/x", b"spin"), TAKEN)
        old = self.client(broker, "#", version=mqtt.MQTTv311)
        for qos in (1, 2):
            old.acknowledged("in/x", b"trap", qos=qos)
        self.nothing_more(client, client)

    def test_dead_letters(self):
        lines = ("on_error dead_letter", "dead_letter_topic dead/{topic}", "record_time_ms 50")
        broker = self.broker(self.transform("odd_busy", *lines)).running()
        client = self.client(broker, "dead/#")
        for text, error, why in (("trap", "guest-trap", "unreachable"), ("spin", "guest-timeout", "50 ms"),
                                 ("badstamp", "bad-output", "UTF-8")):
            client.publish("in/x", text, qos=1, ContentType="text/plain", users=[("a", "b")])
            got = client.get()
            self.assertEqual((got.topic, got.payload.decode(), got.qos), ("dead/in/x", text, 1))
            self.assertEqual(got.properties.ContentType, "text/plain")
            self.assertEqual(users(got)[:-1], [("a", "b"), ("wasm-transform", "t"), ("wasm-topic", "in/x"),
                                               ("wasm-error", error)])
            self.assertEqual(users(got)[-1][0], "wasm-error-message")
            self.assertIn(why, users(got)[-1][1])
        self.metric(broker, "messages/dead_lettered", 3)

    def test_limits_of_memory_and_output(self):
        lines = ("memory_limit 1M", "output_limit 64K", "output_messages 10", "on_error dead_letter",
                 "dead_letter_topic dead")
        broker = self.broker(self.transform("odd_busy", *lines)).running()
        client = self.client(broker, "#")
        client.publish("in/x", b"large 63")
        self.assertEqual(client.get().payload, b"x" * 63 * 1024)
        for text, why in (("large 65", "output"), ("large 2000", "out of memory"), ("flood", "output_messages")):
            client.publish("in/x", text)
            got = client.get()
            self.assertEqual((got.topic, got.payload.decode()), ("dead", text))
            self.assertIn(why, users(got)[-1][1])
        hog = self.broker(self.transform("odd_hog", "memory_limit 1M")).running()
        client = self.client(hog, "#")
        client.publish("in/x", b"memory")
        self.assertEqual(client.texts(1), [("in/x", "16")])

    def test_a_guest_that_does_not_start_again(self):
        for policy, code in (("drop", TAKEN), ("pass", 0), ("deny", NOT_AUTHORIZED)):
            broker = self.broker(self.transform("odd_busy", f"on_error {policy}")).running()
            client = self.client(broker, "#")
            # A guest reserves 4 GiB of addresses. Those of the old one are free before the new one starts.
            size = int(re.search(r"VmSize:\s+(\d+)", Path(f"/proc/{broker.process.pid}/status").read_text())[1]) << 10
            resource.prlimit(broker.process.pid, resource.RLIMIT_AS, (size - (2 << 30), resource.RLIM_INFINITY))
            client.publish("in/x", b"trap")
            broker.wait_for_log("transform t does not start, next try in 1 s")
            self.assertEqual(client.acknowledged("in/x", b"x"), code)
            broker.wait_for_log("transform t does not start, next try in 2 s")
            resource.prlimit(broker.process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            until(lambda: client.acknowledged("in/x", b"y") == 0 and client.acknowledged("in/x", b"stamp") == 0)
            while client.get().payload != b"stamp":
                pass


class Hostile(Case):
    def test_a_guest_that_never_ends_holds_nobody(self):
        lines = ("on_error dead_letter", "dead_letter_topic dead", "record_time_ms 300")
        broker = self.broker(self.transform("odd_busy", *lines)).running()
        dead = self.client(broker, "dead")
        client = self.client(broker, "other")
        for _ in range(2):
            self.assertEqual(client.acknowledged("in/x", b"spin"), TAKEN)
            rounds = 0
            while dead.messages.empty():
                client.publish("other", b"x")
                client.texts(1)
                rounds += 1
            # A broker that is held would answer once, at the end. One that has its turn answers many times.
            self.assertGreater(rounds, 10)
            dead.get()

    def test_several_of_them_take_turns(self):
        lines = ("on_error dead_letter", "dead_letter_topic dead/{topic}", "record_time_ms 300")
        names = [f"t{i}" for i in range(5)]
        text = "".join(self.transform("odd_busy", *lines, name=name, filters=(f"{name}/#",)) for name in names)
        broker = self.broker(text).running()
        client = self.client(broker, "dead/#", "other", "quick")
        for name in names:
            client.publish(f"{name}/x", b"spin")
        client.publish("other", b"x")
        topics = [client.get().topic for _ in range(6)]
        self.assertEqual(topics[0], "other")
        self.assertEqual(sorted(topics[1:]), [f"dead/{name}/x" for name in names])

    def codes(self, client, texts):
        """Publishes all of them without a pause and waits for the answers. Gives their reason codes."""
        mids = [client.publish("in/x", text, qos=1) for text in texts]
        until(lambda: all(mid in client.reasons for mid in mids), "an acknowledgement")
        return [client.reasons[mid] for mid in mids]

    def test_a_full_queue(self):
        for policy, code in (("drop", TAKEN), ("pass", 0), ("deny", NOT_AUTHORIZED), ("dead_letter", TAKEN)):
            lines = (f"on_full {policy}", "queue_messages 3", "record_time_ms 500", "dead_letter_topic dead")
            broker = self.broker(self.transform("odd_busy", *lines)).running()
            client = self.client(broker, "#")
            codes = self.codes(client, ["spin", "first", "second", "third"])
            self.assertEqual(codes, [TAKEN, TAKEN, TAKEN, code])
            early = {"pass": [("in/x", "third")], "dead_letter": [("dead", "third")]}.get(policy, [])
            self.assertEqual(client.texts(len(early) + 2), early + [("in/x", "first"), ("in/x", "second")])
            self.metric(broker, "messages/overflowed", 1)

    def test_a_queue_full_of_bytes(self):
        broker = self.broker(self.transform("odd_busy", "queue_bytes 100K", "record_time_ms 500")).running()
        client = self.client(broker, "#")
        codes = self.codes(client, ["spin"] + ["x" * 30000] * 6)
        self.assertEqual(codes, [TAKEN] * 4 + [NOT_AUTHORIZED] * 3)
        self.assertEqual(len(client.texts(3)), 3)

    def test_without_the_signal_it_only_takes_longer(self):
        times = {}
        for wake in ("signal", "never"):
            broker = self.broker(f"wake {wake}\n" + self.transform("odd_busy")).running()
            client = self.client(broker, "#")
            began = time.monotonic()
            client.publish("in/x", b"work 30")
            self.assertEqual(client.texts(1), [("in/x", "work 30")])
            times[wake] = time.monotonic() - began
        # 2 ms every 100 ms against 2 ms of each 2.1.
        self.assertLess(times["signal"], times["never"])

    def test_a_flood_of_log_lines(self):
        broker = self.broker(self.transform("odd_log_flood")).running()
        client = self.client(broker, "#")
        client.publish("in/x", b"flood")
        client.publish("in/x", b"x")
        while client.get().payload != b"x":
            pass
        broker.wait_for_log("wasm: t: ")


if __name__ == "__main__":
    unittest.main()
