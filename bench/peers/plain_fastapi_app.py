"""A typical FastAPI application: `UploadFile`, `FileResponse`; no database, no fsync."""

import os
import shutil
import uuid
from pathlib import Path

from fastapi import FastAPI, UploadFile
from fastapi.responses import FileResponse

FOLDER = Path(os.environ["BENCH_STORE"])

app = FastAPI()


@app.post("/files", status_code=201)
def upload(file: UploadFile) -> dict[str, str]:
    """Store a file under a new name."""
    name = uuid.uuid4().hex
    with (FOLDER / name).open("wb") as target:
        shutil.copyfileobj(file.file, target)
    return {"id": name}


@app.get("/files/{name}")
def download(name: str) -> FileResponse:
    """Send a file."""
    return FileResponse(FOLDER / name)
