# SPDX-License-Identifier: Apache-2.0
"""A broker's listeners with TLS and SASL, and the certificates for them: of the tests' own authority, made by openssl."""

import subprocess

USER = "alice"
PASSWORD = "open sesame"


def openssl(*arguments, **options):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True, **options)


class Authority:
    """Signs certificates. `certificate` is what clients trust."""

    def __init__(self, directory, name):
        self._directory = directory
        self._name = name
        self.certificate = directory / f"{name}.pem"
        self._key = directory / f"{name}.key"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj", f"/CN={name}",
                "-keyout", self._key, "-out", self.certificate)

    def issue(self, name):
        """The paths of a certificate for 127.0.0.1 and of its key."""
        request, certificate, key = (self._directory / f"{name}.{end}" for end in ("csr", "pem", "key"))
        names = self._directory / f"{name}.names"
        names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-days", 2, "-CA", self.certificate, "-CAkey", self._key,
                "-CAcreateserial", "-extfile", names, "-out", certificate)
        return certificate, key


class Security:
    """What a broker is told. Beside PLAINTEXT, which other clients of the tests use, it has three listeners."""

    LISTENERS = ("SCRAM", "SCRAM_TLS", "MUTUAL_TLS")

    def __init__(self, directory):
        self.authority = Authority(directory, "authority")
        self.stranger = Authority(directory, "stranger")
        certificate, key = self.authority.issue("broker")
        self.client_certificate, self.client_key = self.authority.issue("client")
        # Kafka wants both in one file.
        self._store = directory / "broker.store.pem"
        self._store.write_text(key.read_text() + certificate.read_text())
        self._ports = {}

    def listeners(self, ports):
        """Ports by name. Of the last node if there are several."""
        self._ports = dict(zip(self.LISTENERS, ports, strict=True))
        return self._ports

    def bootstrap(self, listener):
        return f"127.0.0.1:{self._ports[listener]}"

    def properties(self):
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        kinds = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", "SCRAM": "SASL_PLAINTEXT", "SCRAM_TLS": "SASL_SSL",
                 "MUTUAL_TLS": "SSL"}
        return [
            "listener.security.protocol.map=" + ",".join(f"{name}:{kind}" for name, kind in kinds.items()),
            "inter.broker.listener.name=PLAINTEXT",
            "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512",
            *(f"listener.name.{listener}.{mechanism}.sasl.jaas.config={login}" for listener in ("scram", "scram_tls")
              for mechanism in ("scram-sha-256", "scram-sha-512")),
            "ssl.keystore.type=PEM", f"ssl.keystore.location={self._store}",
            "ssl.truststore.type=PEM", f"ssl.truststore.location={self.authority.certificate}",
            "listener.name.mutual_tls.ssl.client.auth=required",
        ]

    def format_arguments(self):
        """Users are written down when a node's storage is formatted."""
        return [argument for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
                for argument in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")]
