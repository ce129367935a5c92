"""What becomes of messages that guests transform."""

import socket
import subprocess
import unittest

import paho.mqtt.client as mqtt
from broker import Case, users


class Transforms(Case):
    def test_a_copy_is_the_message_itself(self):
        broker = self.broker(self.transform("c_identity")).running()
        client = self.client(broker, "in/#")
        for qos in (0, 1, 2):
            for retain in (False, True):
                sent = {"users": [("a", "1"), ("b", "2"), ("a", "3")], "ContentType": "text/plain",
                        "CorrelationData": b"\0\1", "ResponseTopic": "answers", "PayloadFormatIndicator": 1,
                        "MessageExpiryInterval": 100}
                client.publish("in/x", "text", qos=qos, retain=retain, **sent)
                got = client.get()
                self.assertEqual((got.topic, got.payload, got.qos, got.retain), ("in/x", b"text", qos, retain))
                self.assertEqual(users(got), sent.pop("users"))
                self.assertEqual({name: getattr(got.properties, name) for name in sent}, sent)
        self.assertEqual(client.acknowledged("in/x", ""), 0)
        self.assertEqual(client.get().payload, b"")

    def test_filters_choose(self):
        broker = self.broker(self.transform("c_tee", filters=("a/+/c", "d/#", "$own/#"))).running()
        client = self.client(broker, "#", "$own/#")
        for topic in ("a/b/c", "d", "d/e/f", "$own/x"):
            client.publish(topic, b"2 copies")
            self.assertEqual(client.texts(2), [(topic, "2 copies")] * 2)
        for topic in ("a/b", "a/b/c/d", "e", "a/b/cc"):
            client.publish(topic, b"2 copies")
            self.assertEqual(client.texts(1), [(topic, "2 copies")])
        self.nothing_more(client, client)

    def test_the_first_transform_that_matches_has_the_message(self):
        first = self.transform("c_tee", name="first", filters=("in/+",))
        broker = self.broker(first + self.transform("c_identity", name="second", filters=("#",))).running()
        client = self.client(broker, "#")
        client.publish("in/x", b"3")
        self.assertEqual(client.texts(3), [("in/x", "3")] * 3)
        client.publish("x", b"3")
        self.assertEqual(client.texts(1), [("x", "3")])

    def test_output_topics(self):
        outputs = ("output same {topic}", "output deep {topic}/deep", "output levels out/{2}/{1}/x", "output plain")
        broker = self.broker(self.transform("c_route", *outputs)).running()
        client = self.client(broker, "#")
        for name, topic in (("same", "in/a"), ("deep", "in/a/deep"), ("levels", "out/a/in/x"), ("plain", "plain")):
            client.publish("in/a", f"t:{name}\n")
            self.assertEqual(client.texts(1), [(topic, f"t:{name}\n")])
        client.publish("in/a", b"the first one")
        self.assertEqual(client.texts(1), [("in/a", "the first one")])
        client.publish("in/a", b"t:none\n")
        self.nothing_more(client, client)
        broker.wait_for_log('t: route: topic "none" refused: -3')

    def test_an_output_topic_of_the_broker_s_is_no_topic(self):
        broker = self.broker(self.transform("c_identity", "output o {2}/{3}")).running()
        client = self.client(broker, "#", "$SYS/broker/version")
        client.get()
        for topic in ("in/$SYS/broker", "in"):
            client.publish(topic, b"x")
        client.publish("in/a/b", b"x")
        self.assertEqual(client.texts(1), [("a/b", "x")])
        broker.wait_for_log("output o gives no topic for the input topic")

    def test_none_several_and_their_order(self):
        broker = self.broker(self.transform("c_tee", "output a {topic}", "output b other")).running()
        client = self.client(broker, "in/#")
        expected = []
        for i in range(500):
            copies = i * 7 % 4
            client.publish("in/x", f"{copies} {i}", qos=1)
            expected += [("in/x", f"{copies} {i}")] * copies
        self.assertEqual(client.texts(len(expected)), expected)
        self.assertIn(client.acknowledged("in/x", b"0"), (0, 0x10))
        self.assertEqual(client.acknowledged("in/x", b"0", qos=2), 0)
        self.nothing_more(client, client, "in/y")

    def test_the_order_holds_across_messages_that_are_deferred(self):
        broker = self.broker(self.transform("odd_busy")).running()
        client = self.client(broker, "in/#")
        texts = [f"work {20 if i % 20 == 10 else 0} {i}" for i in range(100)]
        for text in texts:
            client.publish("in/x", text, qos=1)
        self.assertEqual(client.texts(100), [("in/x", text) for text in texts])
        self.metric_is_positive(broker, "messages/deferred")

    def metric_is_positive(self, broker, name):
        client = self.client(broker, f"$SYS/broker/wasm/t/{name}")
        while int(client.get().payload) == 0:
            pass

    def test_deferred_messages_keep_what_they_have(self):
        broker = self.broker(self.transform("odd_busy")).running()
        client = self.client(broker, "in/#")
        for qos in (0, 1, 2):
            sent = {"users": [("a", "1"), ("b", "2"), ("a", "")], "ContentType": "text/plain",
                    "CorrelationData": b"\0\1", "ResponseTopic": "answers", "PayloadFormatIndicator": 1}
            if qos == 0:
                client.publish("in/x", "work 50", qos=qos, retain=True, **sent)
            else:
                self.assertIn(client.acknowledged("in/x", "work 50", qos=qos, retain=True, **sent), (0, 0x10))
            got = client.get()
            self.assertEqual((got.topic, got.payload, got.qos, got.retain), ("in/x", b"work 50", qos, True))
            self.assertEqual(users(got), sent.pop("users"))
            self.assertEqual({name: getattr(got.properties, name) for name in sent}, sent)
        client = self.client(broker, "in/#")
        self.assertEqual(client.texts(1), [("in/x", "work 50")])

    def test_nobody_sees_that_a_message_was_taken(self):
        broker = self.broker(self.transform("c_tee")).running()
        client = self.client(broker, "#", "+", "$SYS/broker/wasm/#")
        for qos in (0, 1, 2):
            client.publish("in/x", b"0", qos=qos, retain=True)
        client.publish("other", b"the end", qos=2)
        topics = []
        while topics.count("other") < 2:
            topics.append(client.get().topic)
        self.assertEqual([topic for topic in topics if not topic.startswith("$SYS/")], ["other"] * 2)
        late = self.client(broker, "#")
        self.nothing_more(late, client)

    def test_headers_and_keys(self):
        for key, expected in (("topic", "in/x"), ("property id", "7"), ("none", "")):
            broker = self.broker(self.transform("odd_busy", f"key {key}")).running()
            client = self.client(broker, "in/#")
            client.publish("in/x", b"stamp", users=[("id", "7"), ("id", "8")])
            self.assertEqual(users(client.get()), [("id", "7"), ("id", "8"), ("key", expected)])
            client.publish("in/x", b"rekey 9", users=[("a", "b"), ("id", "7")])
            self.assertEqual(users(client.get()), [("a", "b"), ("id", "9" if "property" in key else "7")])
            client.publish("in/x", b"rekey 9")
            self.assertEqual(users(client.get()), [("id", "9")] if "property" in key else [])
            client.publish("in/x", b"null", retain=True)
            got = client.get()
            self.assertEqual((got.payload, got.retain), (b"", True))

    def test_retain_never(self):
        broker = self.broker(self.transform("c_tee", "retain never")).running()
        client = self.client(broker, "in/#")
        client.publish("in/x", b"2", qos=1, retain=True)
        self.assertEqual([client.get().retain for _ in range(2)], [False, False])

    def test_what_the_plugin_publishes_is_not_transformed_again(self):
        again = self.transform("c_tee", name="again", filters=("out/#",))
        broker = self.broker(self.transform("c_tee", "output o out/{topic}") + again).running()
        client = self.client(broker, "#")
        client.publish("in/x", b"2")
        self.assertEqual(client.texts(2), [("out/in/x", "2")] * 2)
        self.nothing_more(client, client)

    def test_wills_are_not_transformed(self):
        broker = self.broker(self.transform("c_tee")).running()
        client = self.client(broker, "#")
        dying = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        dying.will_set("in/x", b"2 copies")
        dying.connect("127.0.0.1", broker.port)
        dying.loop(1)
        dying.socket().close()
        self.assertEqual(client.texts(1), [("in/x", "2 copies")])
        self.nothing_more(client, client)

    def test_a_repeated_message_of_qos_2_can_be_transformed_twice(self):
        broker = self.broker(self.transform("c_tee")).running()
        client = self.client(broker, "#")
        with socket.create_connection(("127.0.0.1", broker.port)) as raw:
            raw.sendall(b"\x10\x0d\0\4MQTT\4\2\0\0\0\1r")
            raw.recv(4)
            for first in (b"\x34", b"\x3c"):  # the second one says that it is a repetition
                raw.sendall(first + b"\x09\0\4in/x\0\1" + b"2")
                self.assertEqual(raw.recv(4), b"\x50\2\0\1")
            raw.sendall(b"\x62\2\0\1")
            self.assertEqual(raw.recv(4), b"\x70\2\0\1")
        copies = 0
        client.publish("other", b"the end", qos=2)
        while client.get().topic != "other":
            copies += 1
        self.assertGreater(copies, 2)

    def test_environment(self):
        lines = ("env FILTER_FIELD=kind", "env FILTER_VALUE=a b=c")
        broker = self.broker(self.transform("cpp_filter", *lines)).running()
        client = self.client(broker, "#")
        client.publish("in/x", b'{"kind": "a"}')
        client.publish("in/x", b'{"kind": "a b=c"}')
        self.assertEqual(client.texts(1), [("in/x", '{"kind": "a b=c"}')])

    def test_clients_of_mqtt_3(self):
        broker = self.broker(self.transform("odd_busy")).running()
        for version in (mqtt.MQTTv311, mqtt.MQTTv31):
            client = self.client(broker, "in/#", version=version)
            for qos in (0, 1, 2):
                for text in ("plain", "stamp", "work 20"):
                    client.publish("in/x", text, qos=qos)
                    self.assertEqual(client.texts(1), [("in/x", text)])

    def test_mosquitto_s_clients(self):
        broker = self.broker(self.transform("c_tee", "output o out/{2}")).running()
        where = ["-h", "127.0.0.1", "-p", str(broker.port)]
        with subprocess.Popen(
            ["mosquitto_sub", *where, "-t", "out/#", "-v", "-C", "3"], stdout=subprocess.PIPE, text=True
        ) as sub:
            broker.wait_for_log("Sending SUBACK")
            for text in ("1 one", "2 two"):
                subprocess.run(["mosquitto_pub", *where, "-t", "in/x", "-m", text, "-q", "1"], check=True)
            lines = sub.stdout.read().splitlines()
        self.assertEqual(lines, ["out/x 1 one", "out/x 2 two", "out/x 2 two"])


if __name__ == "__main__":
    unittest.main()
