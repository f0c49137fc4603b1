from io import BytesIO

from docvault_client import create_integration_client, follow, integration
from docvault_client.integration import models
from docvault_client.integration.types import File
from support import CREDENTIAL, CUSTOMER_ID, PHOTO, URL, VALUES

client = create_integration_client(URL, CREDENTIAL)

items = [models.CustomerCreate(id=CUSTOMER_ID), models.CustomerCreate(id=f"{CUSTOMER_ID}-b")]
body = models.CustomerBatch(items=items)
batch = integration.put_customer_batch.sync(client=client, body=body)
assert isinstance(batch, models.CustomerBatchRead), batch
assert [item.problem for item in batch.items] == [None, None]

upload = models.DocumentUpload(
    file=[File(BytesIO(PHOTO), "photo.jpg")],
    field_values=models.DocumentUploadFieldValues.from_dict(VALUES),
)
sent = integration.upload_document.sync(CUSTOMER_ID, "card", client=client, body=upload)
assert isinstance(sent, models.DocumentRead), sent
assert sent.field_values["date-of-issue"] == "2024-05-02"

page = models.DocumentUpload(file=[File(BytesIO(b"<html>"), "page.html")])
refused = integration.upload_document.sync(CUSTOMER_ID, "card", client=client, body=page)
assert isinstance(refused, models.UnsupportedMediaTypeProblem), refused
assert "image/jpeg" in refused.allowed

documents = follow(integration.list_documents.sync, CUSTOMER_ID, client=client, limit=1)
assert {"card", "letter"} <= {document.type_.key for document in documents}

content = integration.read_content.sync(CUSTOMER_ID, "card", client=client)
assert isinstance(content, File)
assert content.payload.read() == PHOTO
