"""The records of `make engine`, from which docs/guarantees.md is rendered."""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Self

from tests.system.engine.deployment import Deployment
from tests.torture.figures import RESULTS, Figure, record_name
from tests.torture.guarantees import Record


@dataclass(slots=True)
class Report:
    """Where it is run, and when the present measurement began."""

    not_shown: str
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """Begin a report on a deployment: engine, machine, and images that are no official ones."""
        engine = deployment.run("docker", "version", "--format", "{{.Server.Version}}").strip()
        compose = deployment.compose("version", "--short").strip()
        not_shown = (
            f"Other engines than Docker {engine} with Compose {compose}, and other machines than"
            f" one with {os.cpu_count()} processors."
        )
        if names := deployment.stand_ins():
            not_shown += f" Images of a registry: stand-ins were run for {', '.join(names)}."
        return cls(not_shown)

    def save(
        self, id_: str, promise: str, tried: str, figures: dict[str, Figure], case: str = ""
    ) -> None:
        """Write one record, and print it."""
        record = Record(
            id=id_,
            promise=promise,
            tried=tried,
            not_shown=self.not_shown,
            case=case,
            figures={**figures, "load of the machine": round(os.getloadavg()[1])},
            share=1,
            seconds=round(time.monotonic() - self.began),
            date=datetime.now(UTC).date().isoformat(),
        )
        text = json.dumps(asdict(record), indent=2, ensure_ascii=False)
        (RESULTS / record_name(id_, f"engine-{case or 'run'}")).write_text(f"{text}\n")
        sys.stdout.write(f"{id_} {case}: {json.dumps(figures)}\n")
        sys.stdout.flush()
        self.began = time.monotonic()
