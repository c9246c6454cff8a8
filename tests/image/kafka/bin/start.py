"""Start Kafka with the settings of `KAFKA_…` variables, as its own image does."""

import os
import subprocess
from pathlib import Path

PROPERTIES = Path("/tmp/server.properties")  # noqa: S108  # the container is this program's own
JAVA = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", "/opt/kafka/libs/*"]
CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"


def properties() -> dict[str, str]:
    """`KAFKA_LOG_DIRS` is `log.dirs`, and so on."""
    given = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in os.environ.items()
        if name.startswith("KAFKA_")
    }
    return {"log.dirs": "/tmp/kafka-logs", **given}  # noqa: S108  # as above


def main() -> None:
    """Format the data directory unless that was done, and become Kafka."""
    PROPERTIES.write_text("".join(f"{key}={value}\n" for key, value in properties().items()))
    storage = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(PROPERTIES), "--ignore-formatted"]
    subprocess.run([*JAVA, *storage], check=True)
    os.execvp("java", [*JAVA, "kafka.Kafka", str(PROPERTIES)])  # noqa: S606  # it takes this one's place and signals


if __name__ == "__main__":
    main()
