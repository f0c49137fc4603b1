"""`docvault openapi`."""

import json
from pathlib import Path

from docvault.api.app import create_app
from docvault.api.openapi.spec import API_NAMES, build_openapi, extract_api
from docvault.cli.failures import CommandFailed


def write_openapi_documents(directory: Path, *, check: bool) -> None:
    """Write the documents whose files are not current; with `check`, only report them."""
    full = build_openapi(create_app())
    documents = {"openapi": full} | {name: extract_api(full, name) for name in API_NAMES}
    stale = []
    for name, document in documents.items():
        path = directory / f"{name}.json"
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if not path.exists() or path.read_text() != text:
            stale.append(path)
            if not check:
                directory.mkdir(exist_ok=True)
                path.write_text(text)
    if check and stale:
        raise CommandFailed(f"stale: {', '.join(map(str, stale))}; run `docvault openapi`")
