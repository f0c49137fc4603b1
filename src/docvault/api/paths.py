"""Path parameters, described once."""

from typing import Annotated
from uuid import UUID

from fastapi import Path

# In the path of every operation about one customer.
CUSTOMER_PATH = "/customers/{id}"

CustomerIdPath = Annotated[
    str,
    Path(
        alias="id",
        description="The host platform's own id of the customer.",
        pattern=r"^[A-Za-z0-9._~:@|+=-]{1,128}$",
        examples=["c-1042"],
    ),
]
# Not validated: a key that cannot exist is simply unknown.
DocumentTypeKey = Annotated[
    str, Path(description="The stable key of the document type.", examples=["identity-card"])
]
ApiKeyId = Annotated[UUID, Path(alias="id", description="The id of the API key.")]
ErasureId = Annotated[UUID, Path(alias="id", description="The id of the erasure.")]
UploadId = Annotated[UUID, Path(description="The id of the upload.")]
