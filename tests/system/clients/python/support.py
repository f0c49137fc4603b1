"""What the programs are given."""

import base64
import os

URL = os.environ["DOCVAULT_URL"]
CREDENTIAL = os.environ["DOCVAULT_CREDENTIAL"]
# The customer who is the caller, or whose documents are changed.
CUSTOMER_ID = os.environ["CUSTOMER_ID"]
PHOTO = base64.b64decode(os.environ["PHOTO"])
LETTER = b"Dear Sir or Madam"
VALUES = {"date-of-issue": "2024-05-02"}
