"""The OpenAPI documents and the API reference: public, cacheable and compressed."""

import gzip

import httpx
import pytest

SCRIPT = "/docs/static/swagger-ui/swagger-ui-bundle.js"
PATHS = [
    "/docs",
    "/openapi.json",
    "/v1/customer/openapi.json",
    "/v1/integration/openapi.json",
    "/v1/admin/openapi.json",
    "/docs/static/reference.js",
    "/docs/static/swagger-ui/swagger-ui.css",
    SCRIPT,
]
each_path = pytest.mark.parametrize("path", PATHS)
IDENTITY = {"Accept-Encoding": "identity"}


@each_path
@pytest.mark.req("B-021")
async def test_compressed_response_has_the_same_content(http: httpx.AsyncClient, path: str) -> None:
    plain = await http.get(path, headers=IDENTITY)
    assert "content-encoding" not in plain.headers
    async with http.stream("GET", path, headers={"Accept-Encoding": "br, gzip;q=0.5"}) as response:
        sent = b"".join([chunk async for chunk in response.aiter_raw()])
    assert response.headers["content-encoding"] == "gzip"
    assert int(response.headers["content-length"]) == len(sent)
    assert gzip.decompress(sent) == plain.content
    # Each encoding has its own ETag, and caches store them separately.
    assert response.headers["etag"] != plain.headers["etag"]
    # Pages of other origins may read the document of their API.
    vary = [one.headers.get_list("vary")[-1] for one in (response, plain)]
    assert vary == ["Accept-Encoding", "Accept-Encoding"]


@pytest.mark.parametrize(
    ("path", "factor"), [("/openapi.json", 8), ("/v1/admin/openapi.json", 8), (SCRIPT, 3)]
)
async def test_large_content_is_sent_as_a_fraction_of_its_size(
    http: httpx.AsyncClient, path: str, factor: int
) -> None:
    plain, compressed = await http.get(path, headers=IDENTITY), await http.get(path)
    assert int(compressed.headers["content-length"]) * factor < len(plain.content)


@each_path
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.req("B-021")
async def test_matching_etag_returns_304(http: httpx.AsyncClient, path: str, encoding: str) -> None:
    accepted = {"Accept-Encoding": encoding}
    first = await http.get(path, headers=accepted)
    tag = first.headers["etag"]
    response = await http.get(path, headers=accepted | {"If-None-Match": f'"other", W/{tag}'})
    assert (response.status_code, response.content) == (304, b"")
    for name in ("etag", "cache-control", "vary"):
        assert response.headers[name] == first.headers[name]
    response = await http.get(path, headers=accepted | {"If-None-Match": '"other"'})
    assert response.status_code == 200


@each_path
async def test_content_is_publicly_cacheable(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).headers["cache-control"] == "public, max-age=300"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        (None, None),
        ("", None),
        ("br", None),
        ("gzip;q=0", None),
        ("gzip; q=0.000, *", None),
        ("identity, *;q=0", None),
        ("GZIP", "gzip"),
        ("gzip;q=0.001", "gzip"),
        ("*", "gzip"),
        ("deflate, gzip ; q=1.0", "gzip"),
    ],
)
async def test_encoding_is_negotiated(
    http: httpx.AsyncClient, accepted: str | None, encoding: str | None
) -> None:
    request = http.build_request("GET", "/docs")
    del request.headers["accept-encoding"]
    if accepted is not None:
        request.headers["accept-encoding"] = accepted
    response = await http.send(request)
    assert response.headers.get("content-encoding") == encoding


async def test_page_keeps_strict_csp(http: httpx.AsyncClient) -> None:
    response = await http.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in response.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/docs/static/none.js", "/docs/static/", "/docs/static/..%5cx"])
async def test_other_files_are_not_served(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not-found")


async def test_head_has_get_headers(http: httpx.AsyncClient) -> None:
    head, get = await http.head(SCRIPT), await http.get(SCRIPT)
    assert head.content == b""
    for name in ("content-length", "etag", "content-encoding", "content-type"):
        assert head.headers[name] == get.headers[name]
