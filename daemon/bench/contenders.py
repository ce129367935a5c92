# SPDX-License-Identifier: Apache-2.0
"""The programs that copy a topic to a topic: the daemon, librdkafka alone and Kafka Streams."""

import pathlib
import subprocess
import time


class Contender:
    """A process that copies until it is stopped. Makes `group` its consumer group."""

    def __init__(self, command, group, log):
        self.group = group
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def cpu(self):
        """Seconds of processor time so far, of all its threads."""
        # Linux's clock of another process: clock_getcpuclockid(3), which Python does not have. In nanoseconds, /proc has ticks.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def memory(self):
        """The most MiB that were in memory."""
        lines = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) >> 10

    def check(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.group} has ended:\n{self._log.read_text(errors='replace')[-2000:]}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Place:
    """What contenders are started with."""

    def __init__(self, directory, brokers, daemon, copy, streams, guest, threads, interval_ms):
        self.directory = directory
        self.brokers = brokers
        self.threads = threads
        self.interval_ms = interval_ms
        self._daemon, self._copy, self._streams, self._guest = daemon, copy, streams, guest
        self._started = 0

    def compile(self):
        """Kafka Streams' program."""
        subprocess.run(["javac", "-cp", f"{self._streams}/*", "-d", str(self.directory),
                        str(pathlib.Path(__file__).parent / "MapValues.java")], check=True)

    def start(self, name, inputs, outputs, guarantee):
        """Several inputs and outputs are for the daemon only: a transform for each."""
        self._started += 1
        group = f"{name}-{self._started}"
        log = self.directory / f"{group}.log"
        common = [self.brokers, group, inputs[0], outputs[0], self.threads, guarantee, self.interval_ms]
        if name == "copy":
            return Contender([self._copy, *common], group, log)
        if name == "streams":
            classes = f"{self.directory}:{self._streams}/*"
            return Contender(["java", "-Xmx512m", f"-Djava.io.tmpdir={self.directory}", "-cp", classes, "MapValues", *common],
                             group, log)
        files = []
        for i, (source, target) in enumerate(zip(inputs, outputs)):
            path = self.directory / f"{group}-{i}.yaml"
            path.write_text(f"name: {group}-{i}\ninput-topic: {source}\noutput-topics: [{target}]\nmodule: {self._guest}\n"
                            f"brokers: {self.brokers}\ngroup: {group}{'' if i == 0 else f'-{i}'}\nguarantee: {guarantee}\n"
                            f"commit-interval: {self.interval_ms}ms\n" + ("workers: 1\n" if len(inputs) > 1 else ""))
            files.append(path)
        return Contender([self._daemon, *files, "--threads", self.threads], group, log)
