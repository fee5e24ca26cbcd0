"""A real Apache Kafka from Maven Central on free loopback ports, in KRaft mode."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
VERSION = re.search(r"<version>(.+?)</version>", POM.read_text("utf-8")).group(1)
JARS = POM.parents[2] / ".cache" / f"kafka-{VERSION}"
START_TIMEOUT = 90.0
MIN_JAVA = 17

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
log.retention.ms=-1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=1000
"""


def missing_tools() -> str | None:
    """What keeps this machine from running Kafka, or None."""
    if shutil.which("java") is None:
        return "no java"
    text = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', text)
    if found is None or int(found[1]) < MIN_JAVA:
        return f"java is older than {MIN_JAVA}"
    if not JARS.is_dir() and shutil.which("mvn") is None:
        return "no mvn"
    return None


def fetch_jars() -> Path:
    """The folder of Kafka's jars; filled once, moved into place whole so that a broken download leaves none."""
    if not JARS.is_dir():
        JARS.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=JARS.parent) as folder:
            lib = Path(folder) / "lib"
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={lib}", "-DincludeScope=runtime"]
            # what it says, colours even where it is quiet, is not part of our caller's output
            subprocess.run(["mvn", "-q", "-B", "-f", str(POM), *goal], check=True, stdout=2)
            lib.rename(JARS)
    return JARS


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _second_listener(port: int, behind_port: int, proxy_port: int) -> dict[str, str]:
    """Properties that let clients which come through a proxy stay behind it."""
    own = f"PLAINTEXT://127.0.0.1:{port}"
    return {
        "listeners": f"{own},PROXIED://127.0.0.1:{behind_port},CONTROLLER://127.0.0.1:{{controller}}",
        "advertised.listeners": f"{own},PROXIED://127.0.0.1:{proxy_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
    }


class KafkaBroker:
    """One broker that keeps its port and data over `stop` and `start`.

    `properties` are added to its own or win over them. With `proxy_port` it has a second listener, `behind_port`,
    and tells the clients of that one to come through the proxy port. `scram` is a user and a password.
    """

    def __init__(
        self,
        properties: Mapping[str, str] | None = None,
        *,
        proxy_port: int | None = None,
        scram: tuple[str, str] | None = None,
    ) -> None:
        self.port, self.behind_port = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._more = {**(_second_listener(self.port, self.behind_port, proxy_port) if proxy_port else {})}
        self._more |= properties or {}
        self._jars = fetch_jars()
        self._home = Path(tempfile.mkdtemp(prefix="forecaster-kafka-"))
        self._properties = self._home / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        self.has_second = False
        tool = self._java("kafka.tools.StorageTool")
        drawn = subprocess.run([*tool, "random-uuid"], check=True, capture_output=True, text=True).stdout.strip()
        self._cluster = drawn.splitlines()[-1]
        self._write_properties()
        users = ["--add-scram", "SCRAM-SHA-512=[name={},password={}]".format(*scram)] if scram else []
        self._format(self._properties, *users)

    @contextmanager
    def second(self) -> Iterator[None]:
        """A second broker in the cluster until the end: what only it keeps has no leader from then to the next time."""
        path = self._home / "second.properties"
        if not path.exists():
            self._make_second(path)
        port = int(path.read_text("utf-8").rpartition(":")[2])
        with (self._home / "second.log").open("ab") as log:
            second = subprocess.Popen(self._java("kafka.Kafka", str(path)), stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while not _answers(port):
                if second.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._home / "second.log").read_text("utf-8", "replace")[-3000:])
            yield
        finally:
            second.terminate()  # killed, it would be named to clients until the first one notices
            second.wait(timeout=START_TIMEOUT)

    def register_second(self) -> None:
        """Let a second broker join the cluster and die: topics may name it for copies that nobody keeps."""
        with self.second():
            pass
        self.has_second = True

    def _make_second(self, path: Path) -> None:
        of_first = self._properties.read_text("utf-8").splitlines()
        kept = [line for line in of_first if not line.partition("=")[0].endswith(("listeners", "protocol.map"))]
        listener = f"PLAINTEXT://127.0.0.1:{free_port()}"
        protocols = "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
        own = f"process.roles=broker\nnode.id=2\nlog.dirs={self._home / 'second'}\n{protocols}"
        addresses = f"listeners={listener}\nadvertised.listeners={listener}"
        path.write_text("\n".join(kept) + "\n" + own + addresses, "utf-8")
        self._format(path)

    def start(self) -> None:
        """Run the broker until it answers; its log is in the text of the error when it does not."""
        with (self._home / "server.log").open("ab") as log:
            command = self._java("kafka.Kafka", str(self._properties))
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = (self._home / "server.log").read_text("utf-8", "replace")[-3000:]
                self.close()
                raise RuntimeError(f"Kafka did not start:\n{tail}")

    def stop(self) -> None:
        """Kill the broker as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Send the broker's process a signal: SIGSTOP makes it hang with its connections open."""
        if self._process is not None:
            self._process.send_signal(number)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def _java(self, *arguments: str) -> list[str]:
        memory = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        logging = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        return ["java", *memory, *logging, "-cp", f"{self._jars}/*", *arguments]

    def _write_properties(self) -> None:
        controller = free_port()
        text = PROPERTIES.format(port=self.port, controller=controller, data=self._home / "data")
        more = "".join(
            f"{name}={value.format(port=self.port, controller=controller)}\n" for name, value in self._more.items()
        )
        self._properties.write_text(text + more, "utf-8")  # of two lines with one name Java takes the last

    def _format(self, properties: Path, *users: str) -> None:
        command = [*self._java("kafka.tools.StorageTool"), "format", "-t", self._cluster, "-c", str(properties)]
        subprocess.run([*command, *users], check=True, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"})


def _answers(port: int) -> bool:
    """Whether the listener accepts: KRaft opens it only once the broker is unfenced."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
    except OSError:
        time.sleep(0.05)  # the step of the poll, bounded by the deadline of the caller
        return False
