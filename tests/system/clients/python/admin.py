from io import BytesIO

from docvault_client import admin, create_admin_client, follow
from docvault_client.admin import models
from docvault_client.admin.types import File
from support import CREDENTIAL, CUSTOMER_ID, PHOTO, URL, VALUES

client = create_admin_client(URL, CREDENTIAL)

card = models.DocumentTypeCreate(name="Another card", key="card")
conflict = admin.create_document_type.sync(client=client, body=card)
assert isinstance(conflict, models.KeyConflictProblem), conflict

for customer_id in (CUSTOMER_ID, f"{CUSTOMER_ID}-b"):
    body = models.CustomerPut(name="A. Bakker", tags=["wholesale"])
    customer = admin.put_customer.sync(customer_id, client=client, body=body)
    assert isinstance(customer, models.CustomerRead), customer

found = {customer.id for customer in follow(admin.list_customers.sync, client=client, limit=1)}
assert {CUSTOMER_ID, f"{CUSTOMER_ID}-b"} <= found

upload = models.DocumentUpload(
    file=[File(BytesIO(PHOTO), "photo.jpg")],
    field_values=models.DocumentUploadFieldValues.from_dict(VALUES),
)
sent = admin.upload_document.sync(CUSTOMER_ID, "card", client=client, body=upload)
assert isinstance(sent, models.AdminDocumentRead), sent
assert sent.field_values["date-of-issue"] == "2024-05-02"

page = models.DocumentUpload(file=[File(BytesIO(b"<html>"), "page.html")])
refused = admin.upload_document.sync(CUSTOMER_ID, "card", client=client, body=page)
assert isinstance(refused, models.UnsupportedMediaTypeProblem), refused
assert "image/jpeg" in refused.allowed

content = admin.read_content.sync(CUSTOMER_ID, "card", client=client)
assert isinstance(content, File)
assert content.payload.read() == PHOTO

preview = admin.read_preview.sync(CUSTOMER_ID, "card", client=client)
assert isinstance(preview, File)
assert preview.payload.read(2) == b"\xff\xd8"
