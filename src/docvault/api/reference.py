"""The contracts over HTTP, and an interactive reference that needs no internet."""

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from docvault.api.contract import AUDIENCES, audience_contract, whole_contract
from docvault.api.responses import JsonResponse

_STATIC = Path(__file__).parent / "static"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)


def install_reference(app: FastAPI) -> None:
    """Serve `/docs`, `/openapi.json` and the contract of each audience."""
    whole = whole_contract(app)
    _serve_contract(app, "/openapi.json", whole)
    for audience in AUDIENCES:
        _serve_contract(app, f"/v1/{audience}/openapi.json", audience_contract(whole, audience))

    @app.get("/docs", include_in_schema=False)
    async def read_reference() -> Response:
        page = (_STATIC / "reference.html").read_text()
        return HTMLResponse(page, headers={"Content-Security-Policy": _PAGE_POLICY})

    app.mount("/docs/static", StaticFiles(directory=_STATIC), name="static")


def _serve_contract(app: FastAPI, path: str, contract: dict[str, Any]) -> None:
    body = json.dumps(contract, ensure_ascii=False).encode()

    @app.get(path, include_in_schema=False)
    async def read_contract() -> Response:
        return JsonResponse(body)
