# SPDX-License-Identifier: Apache-2.0
"""TLS and SASL/SCRAM against a real broker: what `client` says reaches it, and what is wrong is told."""

import pathlib
import re
import subprocess
import unittest

import confluent_kafka
from security import PASSWORD, USER
from transformd import Daemon, DaemonTest, numbered


def librdkafka_with_scram():
    """Up to 2.6.0 librdkafka sends a nonce in SCRAM's last message that Kafka 4 refuses. Where the daemon has such a one, it
    gets that of the Python client here."""
    installed = subprocess.run(["pkg-config", "--modversion", "rdkafka"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, re.findall(r"\d+", installed)[:3])) > (2, 6, 0):
        return {}
    wheel = pathlib.Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    return {"LD_PRELOAD": str(next(wheel.glob("librdkafka-*.so*")))}


class Secured(DaemonTest):
    SECURE = True

    def setUp(self):
        super().setUp()
        self.extra = ""
        self.topics(2)
        self.security = self.cluster.security

    def start(self, listener, **client):
        settings = {key.replace("_", "."): value for key, value in client.items()}
        return Daemon(self, self.write_file(client=settings, brokers=self.security.bootstrap(listener), extra=self.extra),
                      environment=librdkafka_with_scram())

    def check_works(self, daemon):
        self.produce(numbered(500))
        daemon.wait_until(lambda: sum(self.committed().values()) == 500, "the position is at the end")
        self.check_once_and_in_order(500)
        self.assertEqual(daemon.stop(), 0, daemon.log)
        self.assertNotIn(PASSWORD, daemon.log)

    def check_refused(self, daemon, *words):
        """The state says why, and neither the daemon nor its end waits for the cluster's mercy."""
        def told():
            workers = daemon.transform(self.name)["workers"]
            return workers and all(any(word in w.get("error", "") for word in words) for w in workers)
        daemon.wait_until(told, f"the state has one of {words}")
        status, why = daemon.request("GET", "/readyz")
        self.assertEqual(status, 503)
        self.assertTrue(any(word in why for word in words), why)
        self.assertEqual(daemon.request("GET", "/healthz")[0], 200)
        self.assertNotIn(PASSWORD, daemon.log)
        self.assertEqual(daemon.stop(), 0, daemon.log)

    def scram(self, mechanism="SCRAM-SHA-256", password=PASSWORD):
        return {"security_protocol": "sasl_plaintext", "sasl_mechanism": mechanism, "sasl_username": USER,
                "sasl_password": f'"{password}"'}

    def test_scram(self):
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            daemon = self.start("SCRAM", **self.scram(mechanism))
            daemon.wait_ready()
            self.assertEqual(daemon.stop(), 0, daemon.log)
        self.check_works(self.start("SCRAM", **self.scram()))

    def test_scram_over_tls_with_the_password_in_a_file(self):
        secret = self.directory / "secret"
        secret.write_text(PASSWORD + "\n")
        self.check_works(self.start("SCRAM_TLS", **{**self.scram(password=f"${{file:{secret}}}"), "security_protocol": "sasl_ssl",
                                                    "ssl_ca_location": self.security.authority.certificate}))

    def test_certificates_of_both_sides(self):
        self.check_works(self.start("MUTUAL_TLS", security_protocol="ssl",
                                    ssl_ca_location=self.security.authority.certificate,
                                    ssl_certificate_location=self.security.client_certificate,
                                    ssl_key_location=self.security.client_key))

    def test_a_wrong_password_is_told(self):
        self.check_refused(self.start("SCRAM", **self.scram(password="guessed")), "uthentication failed")

    def test_at_least_once_tells_it_too(self):
        self.extra = "guarantee: at-least-once"
        self.check_refused(self.start("SCRAM", **self.scram(password="guessed")), "uthentication failed")

    def test_a_mechanism_that_the_cluster_does_not_offer_is_told(self):
        self.check_refused(self.start("SCRAM", **self.scram("PLAIN")), "mechanism")

    def test_a_broker_whose_authority_is_unknown_is_told(self):
        self.check_refused(self.start("MUTUAL_TLS", security_protocol="ssl",
                                      ssl_ca_location=self.security.stranger.certificate), "certificate verify failed")

    def test_a_client_without_its_certificate_is_told(self):
        self.check_refused(self.start("MUTUAL_TLS", security_protocol="ssl",
                                      ssl_ca_location=self.security.authority.certificate), "certificate")

    def test_a_client_that_speaks_no_tls_is_told(self):
        self.check_refused(self.start("MUTUAL_TLS", security_protocol="plaintext"), "disconnected", "Disconnected")

    def test_a_certificate_that_is_not_there_is_told(self):
        """librdkafka does not make a client then."""
        self.check_refused(self.start("SCRAM_TLS", **{**self.scram(), "security_protocol": "sasl_ssl",
                                                      "ssl_ca_location": self.directory / "nothing.pem"}),
                           "ssl.ca.location failed")


if __name__ == "__main__":
    unittest.main(verbosity=2)
