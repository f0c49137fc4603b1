"""Every error is a problem (RFC 9457) that locates the error and exposes no internals."""

import gzip
import json
import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

TYPES = "/v1/admin/document-types"
CUSTOMER = "/v1/admin/customers/c-1"
JSON = {"Content-Type": "application/json"}
JSON_LIMIT = 64 * 1024
INSIDE = re.compile(
    r"Traceback|File \"|site-packages|SELECT |INSERT |sqlalchemy|psycopg|pydantic|/tmp/|src/"
)


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check all members of a problem response and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code
    assert problem["type"].endswith(code)
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == f"urn:uuid:{response.headers['x-request-id']}"
    for error in problem["errors"]:
        assert set(error) == {"pointer", "parameter", "code", "detail", "params"}
        assert error["pointer"] is None or error["parameter"] is None
    assert not INSIDE.search(response.text), response.text
    return problem


def places(problem: dict[str, Any]) -> list[str | None]:
    """Return the location of each error: a pointer or a parameter."""
    return [
        error["parameter"] if error["pointer"] is None else error["pointer"]
        for error in problem["errors"]
    ]


async def post(admin: httpx.AsyncClient, body: bytes, **headers: str) -> httpx.Response:
    """Send bytes as the body of a new document type."""
    return await admin.post(TYPES, content=body, headers={**JSON, **headers})


class TestProblemFormat:
    """What all problems have in common."""

    async def test_each_response_has_unique_request_id(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        responses = [await client.get(TYPES) for client in (http, admin) for _ in range(3)]
        responses += [await http.get("/nothing"), await http.get("/livez")]
        ids = {uuid.UUID(response.headers["x-request-id"]) for response in responses}
        assert len(ids) == len(responses)

    async def test_client_request_id_is_ignored(self, http: httpx.AsyncClient) -> None:
        wanted = str(uuid.uuid4())
        response = await http.get("/nothing", headers={"X-Request-ID": wanted})
        assert response.headers["x-request-id"] != wanted

    async def test_problem_of_each_status_is_complete(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_type(admin, "T")
        await make_type(admin, "Staff", upload_mode="admin_only")
        await make_customer(admin, "c-1")
        star = {"If-Match": '"nope"'}
        png = upload_of(files.svg(), "a.svg")
        table = [
            (await post(admin, b"{"), 400, "malformed-request"),
            (await admin.get(TYPES, params={"cursor": "x"}), 400, "invalid-cursor"),
            (await http.get(TYPES), 401, "authentication-required"),
            (await customer_of("c-1").get(TYPES), 403, "insufficient-scope"),
            (
                await customer_of("c-1").put("/v1/customer/documents/staff", **upload_of()),
                403,
                "admin-only-document",
            ),
            (await customer_of("c-2").get("/v1/customer/gate"), 403, "customer-not-registered"),
            (await admin.get(f"{TYPES}/x"), 404, "document-type-not-found"),
            (await admin.get(f"{CUSTOMER}/documents/t/content"), 404, "file-not-found"),
            (await admin.put(TYPES), 405, "method-not-allowed"),
            (await admin.post(TYPES, json={"name": "t"}), 409, "name-conflict"),
            (await admin.patch(CUSTOMER, json={}, headers=star), 412, "precondition-failed"),
            (await post(admin, b" " * (JSON_LIMIT + 1)), 413, "content-too-large"),
            (await admin.put(f"{CUSTOMER}/documents/t", **png), 415, "unsupported-media-type"),
            (await post(admin, b"{}"), 422, "validation-error"),
            (await admin.patch(f"{TYPES}/t", json={}), 428, "precondition-required"),
        ]
        for response, status, code in table:
            assert_problem(response, status, code)

    async def test_problems_are_not_stored_by_caches(self, admin: httpx.AsyncClient) -> None:
        assert (await admin.get(f"{TYPES}/x")).headers["cache-control"] == "no-store"

    async def test_content_type_sniffing_is_disabled(self, admin: httpx.AsyncClient) -> None:
        for path in (TYPES, f"{TYPES}/x", "/nothing"):
            assert (await admin.get(path)).headers["x-content-type-options"] == "nosniff"


class TestUnknownPaths:
    """Paths and methods that do not exist."""

    @pytest.mark.parametrize(
        "path",
        ["/", "/v1", "/v2/admin/customers", "/v1/admin", f"{TYPES}/", "/v1/admin//customers",
         "/v1/ADMIN/customers", "/v1/admin/customers/c-1/nope", "/v1/admin/%2e%2e/livez",
         "/../etc/passwd", "/%00"],
    )  # fmt: skip
    async def test_unknown_path_is_not_found(self, admin: httpx.AsyncClient, path: str) -> None:
        for method in ("GET", "POST", "DELETE"):
            assert_problem(await admin.request(method, path), 404, "not-found")

    async def test_allow_header_lists_all_methods_of_path(self, http: httpx.AsyncClient) -> None:
        table = {
            TYPES: {"GET", "HEAD", "POST"},
            f"{TYPES}/t": {"GET", "HEAD", "PATCH", "DELETE"},
            "/v1/admin/document-type-order": {"PUT"},
            "/v1/admin/settings/portal": {"GET", "HEAD", "PATCH"},
            "/v1/admin/customers": {"GET", "HEAD", "POST"},
            CUSTOMER: {"GET", "HEAD", "PUT", "PATCH", "DELETE"},
            f"{CUSTOMER}/summary": {"GET", "HEAD"},
            f"{CUSTOMER}/documents/t": {"GET", "HEAD", "PUT", "PATCH", "DELETE"},
            f"{CUSTOMER}/documents/t/copy": {"POST"},
            "/v1/admin/erasures": {"GET", "HEAD"},
            "/v1/admin/api-keys": {"GET", "HEAD", "POST"},
            "/v1/admin/audit-events": {"GET", "HEAD"},
            "/v1/customer/document-batches": {"POST"},
            "/v1/customer/portal": {"GET", "HEAD"},
            "/v1/integration/customers/c-1": {"GET", "HEAD", "PUT", "PATCH", "DELETE"},
            "/v1/integration/customer-batches": {"POST"},
            "/livez": {"GET", "HEAD"},
        }
        for path, allowed in table.items():
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} - allowed:
                response = await http.request(method, path)
                assert_problem(response, 405, "method-not-allowed")
                assert set(response.headers["allow"].split(", ")) == allowed, (method, path)

    async def test_lowercase_method_is_unknown(self, admin: httpx.AsyncClient) -> None:
        request = admin.build_request("GET", TYPES)
        request.method = "get"
        assert_problem(await admin.send(request), 405, "method-not-allowed")


class TestHead:
    """HEAD for every path with GET."""

    async def test_head_is_get_without_body(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        for path in (TYPES, f"{TYPES}/t", f"{TYPES}/x", "/livez"):
            head, get = await admin.head(path), await admin.get(path)
            assert (head.status_code, head.content) == (get.status_code, b"")
            assert head.headers.get("etag") == get.headers.get("etag")
            assert head.headers["content-length"] == get.headers["content-length"]


class TestJson:
    """JSON bodies that cannot be parsed or contain invalid values."""

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"not json",
            b'{"name": "T"',
            b'{"name": "T",}',
            b"{'name': 'T'}",
            b'{"name": "T"} {}',
            b'{"name": NaN}',
            b'{"position": Infinity, "name": "T"}',
            b'{"position": -Infinity, "name": "T"}',
            b'{"name": "T", "name": "U"}',
            b'{"name": "T", "fields": [{"label": "a", "label": "b"}]}',
            b'{"name": "\xff\xfe"}',
            b'{"name": "\xed\xa0\x80"}',
            b'{"name": "a\nb"}',
            b'\xef\xbb\xbf{"name": "T"}',
            '{"name": "T"}'.encode("utf-16"),
            b"[" * 1000 + b"]" * 1000,
            b"[" * 30_000,
            b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
            b'{"name": "T", "fields": ' + b"[" * 40 + b"]" * 40 + b"}",
            b'{"name": "T", "position": ' + b"9" * 50_000 + b"}",
            b" ",
            b"\0",
        ],
    )
    async def test_unparsable_json_is_400(self, admin: httpx.AsyncClient, body: bytes) -> None:
        assert_problem(await post(admin, body), 400, "malformed-request")

    async def test_number_out_of_column_range_is_422(self, admin: httpx.AsyncClient) -> None:
        for number in ("1e400", "-1e400", "1e10", "9" * 400, "-1", "1.5", str(2**31), str(2**63)):
            body = f'{{"name": "T", "position": {number}}}'.encode()
            problem = assert_problem(await post(admin, body), 422, "validation-error")
            assert places(problem) == ["/position"], number

    async def test_integer_may_have_decimal_point(self, admin: httpx.AsyncClient) -> None:
        for number in ("2.0", "2e0", "20e-1", "0.2E+1"):
            body = f'{{"name": "T{number}", "max_files": {number}}}'.encode()
            response = await post(admin, body)
            assert (response.status_code, response.json()["max_files"]) == (201, 2)

    async def test_unstorable_text_is_422(self, admin: httpx.AsyncClient) -> None:
        for text in (r"a\u0000b", r"\ud800", r"\udfff\ud800"):
            body = f'{{"name": "{text}"}}'.encode()
            problem = assert_problem(await post(admin, body), 422, "validation-error")
            assert places(problem) == ["/name"]
            body = f'{{"name": "T", "{text}": 1}}'.encode()
            assert_problem(await post(admin, body), 422, "validation-error")

    async def test_json_of_wrong_type_is_422(self, admin: httpx.AsyncClient) -> None:
        for body in (b"null", b"[]", b'"x"', b"5", b"true"):
            problem = assert_problem(await post(admin, body), 422, "validation-error")
            assert places(problem) == [""], body

    async def test_missing_body_is_422(self, admin: httpx.AsyncClient) -> None:
        for method, path in (("POST", TYPES), ("PUT", CUSTOMER), ("PATCH", f"{TYPES}/t")):
            response = await admin.request(method, path, headers={**JSON, "If-Match": "*"})
            assert_problem(response, 422, "validation-error")

    async def test_unknown_members_have_pointer(self, admin: httpx.AsyncClient) -> None:
        body = {"name": "T", "a/b~c": 1, "fields": [{"label": "L", "nope": 2}]}
        problem = assert_problem(await admin.post(TYPES, json=body), 422, "validation-error")
        assert sorted(map(str, places(problem))) == ["/a~1b~0c", "/fields/0/nope"]

    async def test_every_validation_error_is_listed(self, admin: httpx.AsyncClient) -> None:
        body = {"name": "", "max_files": 0, "upload_mode": "x", "fields": [{"label": ""}]}
        problem = assert_problem(await admin.post(TYPES, json=body), 422, "validation-error")
        assert set(places(problem)) == {"/name", "/max_files", "/upload_mode", "/fields/0/label"}

    async def test_response_does_not_repeat_value(self, admin: httpx.AsyncClient) -> None:
        secret = "s3cret-value"
        body = {"name": "T", "upload_mode": secret, "max_files": secret, "key": secret + "!"}
        response = await admin.post(TYPES, json=body)
        assert_problem(response, 422, "validation-error")
        assert secret not in response.text


class TestContentType:
    """The media type of a request body."""

    async def test_non_json_content_type_is_415(self, admin: httpx.AsyncClient) -> None:
        body = json.dumps({"name": "T"}).encode()
        for media_type in ("text/plain", "application/xml", "application/x-www-form-urlencoded",
                           "multipart/form-data; boundary=x", "text/json", "json", ""):  # fmt: skip
            response = await admin.post(TYPES, content=body, headers={"Content-Type": media_type})
            assert_problem(response, 415, "unsupported-media-type")

    async def test_missing_content_type_is_415(self, admin: httpx.AsyncClient) -> None:
        response = await admin.post(TYPES, content=b'{"name": "T"}')
        problem = assert_problem(response, 415, "unsupported-media-type")
        assert problem["detected"] is None

    async def test_content_type_parameters_are_ignored(self, admin: httpx.AsyncClient) -> None:
        types = ("application/json; charset=utf-8", "Application/JSON", "application/json;x=y")
        for number, media_type in enumerate(types):
            body = json.dumps({"name": f"T{number}"}).encode()
            response = await admin.post(TYPES, content=body, headers={"Content-Type": media_type})
            assert response.status_code == 201

    async def test_compressed_body_is_415(self, admin: httpx.AsyncClient) -> None:
        body = gzip.compress(b'{"name": "T"}')
        for encoding in ("gzip", "deflate", "br", "gzip, identity", "nonsense", ""):
            response = await post(admin, body, **{"Content-Encoding": encoding})
            problem = assert_problem(response, 415, "unsupported-content-encoding")
            assert places(problem) == ["Content-Encoding"]
            assert response.headers["accept-encoding"] == "identity"
        plain = await post(admin, b'{"name": "T"}', **{"Content-Encoding": "Identity"})
        assert plain.status_code == 201

    async def test_upload_that_is_not_multipart_is_rejected(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        await make_customer(admin, "c-1")
        path = f"{CUSTOMER}/documents/t"
        response = await admin.put(
            path, content=files.pdf(), headers={"Content-Type": "application/pdf"}
        )
        assert_problem(response, 415, "unsupported-media-type")


class TestBodySize:
    """Bodies over the limit of 64 KiB."""

    async def test_limit_is_exact_and_stated(self, admin: httpx.AsyncClient) -> None:
        body = b'{"name": "T"}'
        assert (await post(admin, body.ljust(JSON_LIMIT))).status_code == 201
        problem = assert_problem(
            await post(admin, body.ljust(JSON_LIMIT + 1)), 413, "content-too-large"
        )
        assert problem["limit_bytes"] == JSON_LIMIT

    async def test_body_of_unknown_length_is_limited(self, admin: httpx.AsyncClient) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(5):
                yield b" " * (JSON_LIMIT // 4)

        response = await admin.post(TYPES, content=chunks(), headers=JSON)
        assert_problem(response, 413, "content-too-large")

    async def test_rejection_before_reading_body_closes_connection(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        body = b" " * (JSON_LIMIT + 1)
        for client, status in ((http, 401), (admin, 413)):
            response = await client.post(TYPES, content=body, headers=JSON)
            assert (response.status_code, response.headers["connection"]) == (status, "close")

    async def test_credential_is_checked_first(self, http: httpx.AsyncClient) -> None:
        for body in (b"{", b"\xff", b" " * (JSON_LIMIT + 1)):
            assert_problem(await post(http, body), 401, "authentication-required")


class TestQuery:
    """Query parameters."""

    @pytest.mark.parametrize(
        "path",
        [TYPES, "/v1/admin/customers", "/v1/admin/erasures", "/v1/admin/api-keys",
         "/v1/admin/audit-events", "/v1/admin/settings/portal", f"{CUSTOMER}/documents"],
    )  # fmt: skip
    async def test_unknown_parameter_is_named(self, admin: httpx.AsyncClient, path: str) -> None:
        await make_customer(admin, "c-1")
        response = await admin.get(path, params={"nope": "1", "Limit": "5"})
        problem = assert_problem(response, 422, "validation-error")
        assert sorted(map(str, places(problem))) == ["Limit", "nope"]

    async def test_unknown_parameter_is_rejected_on_writes(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-1")
        responses = [
            await admin.post(TYPES, json={"name": "T"}, params={"nope": "1"}),
            await admin.delete(CUSTOMER, params={"nope": "1"}),
        ]
        for response in responses:
            assert places(assert_problem(response, 422, "validation-error")) == ["nope"]
        assert (await admin.get(CUSTOMER)).status_code == 200

    async def test_repeated_parameter_is_named(self, admin: httpx.AsyncClient) -> None:
        for query, name in (
            ("limit=1&limit=2", "limit"),
            ("q=a&q=a", "q"),
            ("sort=name&sort=name", "sort"),
            ("include_total=true&include_total=false", "include_total"),
        ):
            response = await admin.get(f"/v1/admin/customers?{query}")
            assert places(assert_problem(response, 422, "validation-error")) == [name]

    async def test_unstorable_text_is_rejected_or_finds_nothing(
        self, admin: httpx.AsyncClient
    ) -> None:
        for escaped in ("a%00b", "%ff", "a%ed%a0%80"):
            response = await admin.get(f"/v1/admin/customers?q={escaped}")
            assert places(assert_problem(response, 422, "validation-error")) == ["q"]
        for escaped in ("%F0%9F%AA%AA", "%"):
            assert (await admin.get(f"/v1/admin/customers?q={escaped}")).status_code == 200

    async def test_unprintable_parameter_name_is_harmless(self, admin: httpx.AsyncClient) -> None:
        response = await admin.get(f"{TYPES}?a%0d%0a%00b=1&{'x' * 3000}=1")
        assert_problem(response, 422, "validation-error")


class TestHeaders:
    """Malformed header fields."""

    async def test_invalid_entity_tags_are_rejected(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        long = ", ".join(['"a"'] * 300)
        for value in ("nope", '"a', 'a"b"', '"a" "b"', "W/", '"a\tb"', "", " ", long):
            response = await admin.patch(f"{TYPES}/t", json={}, headers={"If-Match": value})
            assert places(assert_problem(response, 422, "validation-error")) == ["If-Match"], value

    async def test_non_numeric_content_length_is_rejected(self, admin: httpx.AsyncClient) -> None:
        for value in ("x", "-1", "1.5", "+5", "0x5"):
            response = await post(admin, b"{}", **{"Content-Length": value})
            assert_problem(response, 400, "malformed-request")
