from io import BytesIO

from docvault_client import create_customer_client, customer, follow
from docvault_client.customer import models
from docvault_client.customer.types import File
from support import CREDENTIAL, LETTER, PHOTO, URL, VALUES

client = create_customer_client(URL, CREDENTIAL)


def file(content: bytes, name: str) -> File:
    return File(BytesIO(content), name)


upload = models.DocumentUpload(
    file=[file(PHOTO, "photo.jpg")],
    field_values=models.DocumentUploadFieldValues.from_dict(VALUES),
)
sent = customer.upload_document.sync("card", client=client, body=upload)
assert isinstance(sent, models.DocumentRead), sent
assert sent.field_values["date-of-issue"] == "2024-05-02"

page = models.DocumentUpload(file=[file(b"<html>", "page.html")])
refused = customer.upload_document.sync("card", client=client, body=page)
assert isinstance(refused, models.UnsupportedMediaTypeProblem), refused
assert "image/jpeg" in refused.allowed

items = [
    models.DocumentBatchItem(key="card", files=[0]),
    models.DocumentBatchItem(key="letter", files=[1]),
    models.DocumentBatchItem(key="lost", files=[2]),
]
form = models.DocumentBatchUpload(
    batch=models.DocumentBatch(items=items),
    files=[file(PHOTO, "photo.jpg"), file(LETTER, "letter.txt"), file(PHOTO, "photo.jpg")],
)
batch = customer.save_document_batch.sync(client=client, body=form)
assert isinstance(batch, models.DocumentBatchRead), batch
first, second, third = batch.items
assert first.document is not None
assert first.document.files[0].filename == "photo.jpg"
assert second.document is not None
assert second.document.files[0].filename == "letter.txt"
assert isinstance(third.problem, models.DocumentTypeNotFoundProblem), third

found = {d.type_.key for d in follow(customer.list_documents.sync, client=client, limit=1)}
assert {"card", "letter"} <= found

content = customer.read_content.sync("letter", client=client)
assert isinstance(content, File)
assert content.payload.read() == LETTER

preview = customer.read_preview.sync("card", client=client, size=models.PreviewSize.SMALL)
assert isinstance(preview, File)
assert preview.payload.read(2) == b"\xff\xd8"
