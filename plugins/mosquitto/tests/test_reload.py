"""SIGHUP: other modules and other settings while messages come."""

import shutil
import signal
import unittest

from broker import GUESTS, Case, until


class Reload(Case):
    def test_another_version_takes_over(self):
        broker = self.broker(self.transform("c_identity")).running()
        client = self.client(broker, "#")
        client.publish("in/x", b"2")
        self.assertEqual(client.texts(1), [("in/x", "2")])
        broker.reload(self.transform("c_tee", "output o out/{topic}"))
        self.metric(broker, "guest/loads", 2)
        client.publish("in/x", b"2")
        self.assertEqual(client.texts(2), [("out/in/x", "2")] * 2)

    def test_a_file_with_another_content(self):
        broker = self.broker(self.transform("c_identity")).running()
        guest = broker.path / "guest.wasm"
        shutil.copy(GUESTS / "c_identity.wasm", guest)
        client = self.client(broker, "#")
        broker.reload(self.transform("c_identity").replace(str(GUESTS / "c_identity.wasm"), str(guest)))
        self.metric(broker, "guest/loads", 2)
        shutil.copy(GUESTS / "c_tee.wasm", guest)
        broker.reload()
        self.metric(broker, "guest/loads", 3)
        client.publish("in/x", b"2")
        self.assertEqual(client.texts(2), [("in/x", "2")] * 2)
        broker.reload()
        broker.reload()
        self.metric(broker, "guest/loads", 3)

    def test_nothing_is_lost_and_the_order_holds_under_load(self):
        versions = [self.transform("c_tee", "output o {topic}"), self.transform("c_identity", "output o {topic}"),
                    self.transform("odd_busy", "output o {topic}")]
        broker = self.broker(versions[0], options="max_queued_messages 0").running()
        client = self.client(broker, "#")
        sent = []
        for load in range(6):
            broker.configure(versions[load % 3])
            broker.process.send_signal(signal.SIGHUP)
            for _ in range(1000):
                sent.append(("in/x", f"1 {len(sent)}"))
                client.publish(*sent[-1], qos=1)
            until(lambda: client.messages.qsize() > len(sent) - 500)
        self.assertEqual(client.texts(len(sent)), sent)
        self.nothing_more(client, client)

    def test_a_version_waits_for_the_message_in_progress(self):
        broker = self.broker(self.transform("odd_busy", "output o old")).running()
        client = self.client(broker, "#")
        for text in ("work 300", "a", "b"):
            client.acknowledged("in/x", text)
        broker.reload(self.transform("c_identity", "output o new"))
        # Those that waited go to the guest that is there when it is their turn.
        self.assertEqual(client.texts(1), [("old", "work 300")])
        rest = client.texts(2)
        self.assertEqual([text for _, text in rest], ["a", "b"])
        self.assertLessEqual({topic for topic, _ in rest}, {"old", "new"})
        self.metric(broker, "guest/loads", 2)
        client.publish("in/x", b"c")
        self.assertEqual(client.texts(1), [("new", "c")])

    def test_a_module_that_is_refused_changes_nothing(self):
        broker = self.broker(self.transform("c_tee")).running()
        client = self.client(broker, "#")
        bad = broker.path / "bad.wasm"
        bad.write_bytes(b"no module")
        refused = (("wat_no_abi", "check_abi_version"), ("wat_start_trap", "unreachable"),
                   ("wat_start_loop", "ran for more than 50 ms"), (str(bad)[:-5], "this is not WebAssembly"),
                   ("none", "No such file"))
        for times, (guest, why) in enumerate(refused, 1):
            broker.reload(self.transform(guest, "record_time_ms 50", filters=("other",)))
            broker.wait_for_log("transform t is not reloaded", times)
            client.publish("in/x", b"2")
            self.assertEqual(client.texts(2), [("in/x", "2")] * 2)
            self.assertIn(why, broker.log())
        self.metric(broker, "guest/loads", 1)

    def test_a_configuration_that_is_refused_changes_nothing(self):
        broker = self.broker(self.transform("c_tee")).running()
        client = self.client(broker, "#")
        broker.reload(self.transform("c_identity", filters=("in/#", "a/#/b")))
        broker.wait_for_log("wasm: the configuration is not reloaded: ")
        self.assertIn("wasm.conf:5: filter: 'a/#/b' is no topic filter", broker.log())
        client.publish("in/x", b"2")
        self.assertEqual(client.texts(2), [("in/x", "2")] * 2)

    def test_transforms_come_and_go(self):
        first, second = (self.transform("c_tee", name=name, filters=(f"{name}/#",)) for name in ("one", "two"))
        broker = self.broker(first).running()
        client = self.client(broker, "#", "$SYS/broker/wasm/one/guest/loads")
        self.assertEqual(client.texts(1), [("$SYS/broker/wasm/one/guest/loads", "1")])
        broker.reload(second + self.transform("wat_no_abi", name="bad", filters=("bad/#",)))
        broker.wait_for_log("transform bad is not loaded")
        self.assertEqual(client.texts(1), [("$SYS/broker/wasm/one/guest/loads", "")])
        self.metric(broker, "guest/loads", 1, transform="two")
        for topic, copies in (("one/x", 1), ("two/x", 2), ("bad/x", 1)):
            client.publish(topic, b"2")
            self.assertEqual(client.texts(copies), [(topic, "2")] * copies)

    def test_a_transform_that_goes_finishes_what_it_has(self):
        broker = self.broker(self.transform("odd_busy")).running()
        client = self.client(broker, "#")
        texts = [("in/x", f"work {n}") for n in (200, 1, 2)]
        for text in texts:
            client.acknowledged(*text)
        broker.reload(self.transform("c_tee", name="other", filters=("other",)))
        self.assertEqual(client.texts(3), texts)

    def test_options_in_the_broker_s_own_file_stay_and_modules_do_not(self):
        options = f"plugin_opt_transform t\nplugin_opt_module {GUESTS}/c_tee.wasm\nplugin_opt_filter in/#\n"
        broker = self.broker("", plugin_options=options).running()
        client = self.client(broker, "#")
        broker.reload()
        client.publish("in/x", b"2")
        self.assertEqual(client.texts(2), [("in/x", "2")] * 2)


if __name__ == "__main__":
    unittest.main()
