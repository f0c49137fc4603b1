"""Schemas of the health checks."""

from typing import Annotated, Literal

from pydantic import Field

from docvault.schemas.base import OutputModel


class LivenessRead(OutputModel):
    """The process is running."""

    status: Literal["ok"]


class ReadinessRead(OutputModel):
    """The process can serve requests; `degraded` if callers of some issuers are rejected."""

    status: Literal["ok", "degraded"]
    issuers: Annotated[
        dict[str, str],
        Field(
            description="Why the keys of trusted issuers cannot be fetched, by issuer.",
            examples=[{}],
        ),
    ]
