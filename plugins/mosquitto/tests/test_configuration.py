"""Configurations that the plugin takes, and what it says to others."""

import re
import unittest

from broker import GUESTS, Case

# The version 2.0.x that calls ticks with per_listener_settings.
FIRST_WITH_TICKS = 15

class Configuration(Case):
    def refused(self, why, configuration=None, **options):
        broker = self.broker(configuration or "", exit_code=3, **options)
        self.assertNotEqual(broker.ended(), 0)
        self.assertIn(why, broker.log())
        self.assertIn("Error: Plugin returned", broker.log())

    def test_lines_that_are_wrong(self):
        for line, why in (
            ("filtre a", "filtre: there is no such setting"),
            ("filter", "filter: it has no value"),
            ("filter a/#/b", "filter: 'a/#/b' is no topic filter"),
            ("output", "output: it has no value"),
            ("output o a/+", "output: this is no topic"),
            ("output o {topic", "output: '{' without '}'"),
            ("output o {0}", "output: unknown place {0}"),
            ("output o $SYS/x", "output: topics that begin with '$' are the broker's"),
            ("env A", "env: 'A' is not NAME=VALUE"),
            ("key property", "key: write `topic`, `none` or `property NAME`"),
            ("key value", "key: 'value' is none of: topic, none, property"),
            ("on_error retry", "on_error: 'retry' is none of: drop, pass, deny, dead_letter"),
            ("on_error dead_letter", "transform t: `dead_letter` needs a `dead_letter_topic`"),
            ("memory_limit 1T", "memory_limit: '1T' is not a size from 65536 to 4294967296 bytes"),
            ("memory_limit 5G", "memory_limit: '5G' is not a size"),
            ("record_time_ms 0", "record_time_ms: '0' is not a number from 1 to 600000"),
            ("record_time_ms 1s", "record_time_ms: '1s' is not a number"),
            ("budget_us 1", "budget_us: '1' is not a number from 100 to 1000000"),
            ("wake maybe", "wake: 'maybe' is none of: signal, never"),
            ("transform a/b", "transform: 'a/b' is no name"),
            ("transform t", "transform: there are two transforms named 't'"),
            ("transform u", "transform u: it has no `module`"),
            (f"transform u\nmodule {GUESTS}/c_tee.wasm", "transform u: it has no `filter`"),
        ):
            with self.subTest(line):
                self.refused(why, self.transform("c_identity") + line + "\n")

    def test_where_a_mistake_is(self):
        self.refused("wasm.conf:6: nonsense: there", self.transform("c_identity") + "\n# so\n  nonsense\t 1 \n"[1:])
        self.refused("plugin_opt_nonsense: there", plugin_options="plugin_opt_nonsense 1\n")
        self.refused("module: it belongs behind", plugin_options="plugin_opt_module x\n")

    def test_files_that_are_not_there(self):
        self.refused("/none.conf: No such file or directory", plugin_options="plugin_opt_config /none.conf\n")
        self.refused("none.wasm: No such file or directory", self.transform("none"))
        self.refused("there is no transform", plugin_options="")
        self.refused("there is no transform", "# nothing\n")

    def test_modules_that_are_refused(self):
        self.refused("check_abi_version", self.transform("wat_no_abi"))
        self.refused("unreachable", self.transform("wat_start_trap"))
        self.refused("ran for more than 50 ms", self.transform("wat_start_loop", "record_time_ms 50"))
        self.refused("memory", self.transform("wat_big_memory", "memory_limit 1M"))

    def test_options_in_the_broker_s_own_file(self):
        options = f"plugin_opt_transform t\nplugin_opt_module {GUESTS}/c_tee.wasm\nplugin_opt_filter in/#\n"
        options += "plugin_opt_output o out/{2}\nplugin_opt_budget_us 500\n"
        broker = self.broker("", plugin_options=options).running()
        client = self.client(broker, "#")
        client.publish("in/x", b"2")
        self.assertEqual(client.texts(2), [("out/x", "2")] * 2)

    def test_per_listener_settings(self):
        broker = self.broker(self.transform("c_tee"), options="per_listener_settings true").running()
        client = self.client(broker, "#")
        version = re.search(r"mosquitto version 2\.0\.(\d+) starting", broker.log())
        if int(version[1]) < FIRST_WITH_TICKS:
            self.assertEqual(client.acknowledged("in/x", b"2"), 0x87)
            self.assertIn("this broker calls no ticks", broker.log())
            self.nothing_more(client, client)
        else:
            client.publish("in/x", b"2")
            self.assertEqual(client.texts(2), [("in/x", "2")] * 2)


class Metrics(Case):
    def test_what_becomes_of_messages_adds_up(self):
        lines = ("on_error dead_letter", "dead_letter_topic dead", "record_time_ms 100")
        broker = self.broker(self.transform("odd_busy", *lines)).running()
        client = self.client(broker, "#")
        sent = ["x", "x", "trap", "spin", "work 50", "badstamp"]
        for text in sent:
            client.publish("in/x", text)
        client.texts(len(sent))
        expected = {"messages/received": 6, "messages/transformed": 3, "messages/published": 3, "messages/failed": 3,
                    "messages/dead_lettered": 3, "messages/dropped": 0, "messages/passed": 0, "messages/denied": 0,
                    "messages/overflowed": 0, "queue/messages": 0, "queue/bytes": 0, "guest/loads": 1}
        for name, value in expected.items():
            self.metric(broker, name, value)
        values = self.client(broker, "$SYS/broker/wasm/#")
        seen = {}
        while len(seen) < 17:
            message = values.get()
            self.assertTrue(message.retain)
            seen[message.topic.removeprefix("$SYS/broker/wasm/").removeprefix("t/")] = message.payload.decode()
        self.assertRegex(seen["version"], r"^\d+\.\d+\.\d+$")
        self.assertGreater(int(seen["guest/time_us"]), 100_000)
        self.assertGreater(int(seen["guest/memory_bytes"]), 0)
        self.assertGreaterEqual(int(seen["messages/deferred"]), 2)
        self.assertGreaterEqual(int(seen["guest/restarts"]), 2)

    def test_none_at_interval_0(self):
        broker = self.broker("metrics_interval 0\n" + self.transform("c_tee")).running()
        client = self.client(broker, "$SYS/broker/wasm/#", "other")
        self.nothing_more(client, client)


if __name__ == "__main__":
    unittest.main()
