"""The texts of the configuration page about each setting; the defaults come from the code."""

from typing import NamedTuple


class Text(NamedTuple):
    """What a setting means, and its default where the code has none that can be shown."""

    meaning: str
    default: str = ""


SETTINGS: dict[str, dict[str, Text]] = {
    "Database and process": {
        "data_dir": Text("Everything the embedded mode keeps: database, blobs, secrets."),
        "database_url": Text(
            "A PostgreSQL 15 or newer, as a connection URI of libpq: [connect to"
            " PostgreSQL](../how-to/postgresql.md). It requires `DOCVAULT_SECRET_KEY`.",
            "none: embedded PostgreSQL",
        ),
        "database_pool_size": Text("Connections of one process."),
        "worker": Text(
            "Where jobs run: `embedded` in the server process, `external` in `docvault worker`,"
            " or `auto`: embedded if the database is.",
        ),
        "log_level": Text("`debug`, `info`, `warning` or `error`."),
        "metrics_bind": Text(
            "`host:port` where Prometheus reads the metrics. Never make it public.",
            "none: off",
        ),
    },
    "Storage": {
        "storage_url": Text(
            "`file:///path` or `s3://bucket/prefix`. S3 credentials and region are read from the"
            " standard `AWS_*` variables.",
            "`blobs/` in the data directory",
        ),
        "spool_dir": Text(
            "Where uploads are received and checked. It must be on a local disk.",
            "beside the blobs",
        ),
        "s3_endpoint_url": Text(
            "The address of another S3-compatible store.",
            "AWS",
        ),
        "s3_public_endpoint_url": Text(
            "The address at which clients reach the store; signed URLs begin with it.",
            "the endpoint",
        ),
        "s3_encryption": Text(
            "`AES256` or `aws:kms`, requested with every write.",
            "that of the bucket",
        ),
        "s3_kms_key_id": Text(
            "The key for `aws:kms`.",
            "none",
        ),
        "redirect_downloads": Text(
            "Only with S3: redirect downloads to the store, with a URL that is valid for a minute."
        ),
        "accel_prefix": Text(
            "Only with files behind nginx: let nginx send them, from the `internal` location of"
            " this name (`X-Accel-Redirect`).",
            "none",
        ),
        "keep_versions": Text(
            "Versions of a document that are kept for each kind of uploader (customer, staff,"
            " third party), the current one included.",
        ),
        "event_days": Text(
            "How many days events are kept. A follower that is further behind has to start again."
        ),
        "deleted_blob_retention_hours": Text(
            "How long the bytes of deleted and replaced files remain in the store, so that an"
            " older backup of the database can be restored. Erasures do not wait. The store may"
            " then hold up to twice the quota of a customer.",
        ),
    },
    "Access": {
        "secret_key": Text(
            "The secret behind API keys, cursors and pseudonyms; at least 32 bytes, the same for"
            " every process.",
            "created at the first start if embedded, otherwise required",
        ),
        "secret_key_previous": Text(
            "A second secret key that is accepted too, while the first one is being replaced:"
            " [rotate keys](../how-to/rotate-keys.md#the-secret-key).",
            "none",
        ),
        "public_url": Text(
            "The address at which clients reach the service; signed URLs begin with it. If it has a"
            " path, [the service is below that path]"
            "(../how-to/run-without-docker.md#below-a-path).",
            "that of the request",
        ),
        "cors_origins": Text(
            "Exact origins whose pages may call the customer API and signed URLs, and show stored"
            " files in frames, as in `https://portal.example.org,https://app.example.org:8443`. See"
            " [call docvault from web pages](../how-to/call-from-web-pages.md).",
            "none; if embedded, `http://localhost` and `http://127.0.0.1` on any port",
        ),
        "cors_admin": Text("Whether pages of these origins may also call the admin API."),
        "trusted_proxies": Text(
            "Addresses and networks of your reverse proxies, as in `10.0.0.0/8,::1`. Only their"
            " `X-Forwarded-For` and `X-Forwarded-Proto` are believed.",
            "none",
        ),
        "jwt_issuer": Text(
            "The exact `iss` of tokens.",
            "`docvault`",
        ),
        "jwt_audience": Text("The `aud` of tokens."),
        "jwt_jwks_url": Text(
            "The keys of your identity provider; https, except on this machine. It requires"
            " `DOCVAULT_JWT_ISSUER`.",
            "none: a local key",
        ),
        "jwt_algorithms": Text("Which of these signatures to accept."),
        "jwt_types": Text("Accepted `typ` of tokens; add `JWT` for providers that use it."),
        "jwt_customer_claim": Text(
            "The claim that holds the customer's id; a dot leads into an object."
        ),
        "issuers": Text(
            "Several trusted issuers, or one whose tokens look different: JSON, or the path of a"
            " file with JSON. See [use your identity provider](../how-to/identity-providers.md).",
            "none",
        ),
        "ca_file": Text(
            "Certificates (PEM) of a private authority, trusted beside the public ones for the S3"
            " store, identity providers and webhooks, and alone for a database whose URL has"
            " `sslmode=verify-full` and no `sslrootcert`.",
            "none",
        ),
    },
    "Uploads": {
        "default_max_file_bytes": Text("Size limit of files, for document types that set none."),
        "max_upload_bytes": Text("Upper bound for the size limit of any document type."),
        "max_concurrent_uploads": Text("Uploads a process accepts at once; further ones get 503."),
        "body_idle_seconds": Text("How long a request body may stall."),
        "body_total_seconds": Text("How long a request body may take."),
        "clamd_url": Text(
            "The clamd that scans every file for malware, `unix:///path` or `tcp://host:port`.",
            "none: no scanning",
        ),
    },
    "Webhooks": {
        "webhook_allowed_networks": Text(
            "Networks of yours that webhooks may reach, as in `10.20.0.0/16,fd00:1::/32`; with any"
            " port, and with `http` too. The address may then stand for the host.",
            "none",
        ),
        "webhook_allowed_hosts": Text(
            "Hosts that webhooks may reach whatever their address is, with `http` too, as in"
            " `n8n.internal:5678,crm`. Without a port it is 443, or 80 for `http`.",
            "none",
        ),
        "webhook_proxy": Text(
            "The HTTP proxy that sends all webhooks, as in `http://egress.internal:3128`. It"
            " resolves the names and has to refuse addresses that are not public.",
            "none",
        ),
    },
    "Limits": {
        "customer_uploads_per_minute": Text(
            "Uploads of one customer, in all processes together. Each file of a batch counts, and"
            " so do creating and completing an upload session.",
        ),
        "customer_value_changes_per_minute": Text(
            "Changes of field values without a file by one customer, in all processes together."
        ),
        "customer_requests_per_minute": Text(
            "Other requests of one customer, or with one token that lacks the right, in one"
            " process.",
        ),
        "api_key_requests_per_minute": Text("Requests with one API key, in one process."),
        "failed_credentials_per_minute": Text(
            "Invalid credentials from one address, or one invalid credential sent repeatedly, in"
            " all processes together. Valid credentials are accepted regardless.",
        ),
        "customer_max_concurrent_uploads": Text(
            "Uploads of one customer that a process accepts at once, completing included. A"
            " signed URL accepts one request at a time, and the URLs of one member of staff or"
            " API key hold at most half of `DOCVAULT_MAX_CONCURRENT_UPLOADS`.",
        ),
        "customer_max_concurrent_downloads": Text(
            "Downloads of more than 192 KiB that a process sends to one customer at once."
        ),
        "api_key_max_concurrent_downloads": Text("The same for one API key."),
        "customer_max_files": Text(
            "Files stored for one customer, earlier versions and uploads in progress included."
        ),
        "customer_max_bytes": Text(
            "Bytes of these files; previews do not count. Deleted files that are retained count"
            " only against twice this number, and twice the number of files.",
        ),
        "customer_max_value_bytes": Text(
            "Bytes of field values kept for one customer: in documents, versions, upload"
            " sessions, the audit trail, and responses stored for repeated requests.",
        ),
    },
}

# The introduction to the settings of a topic.
NOTES = {
    "Webhooks": "Without these settings, webhooks reach only names whose addresses are all public,"
    " by `https` on port 443. No proxy is taken from the environment.",
    "Limits": "A rate or concurrency limit that is reached is 429 with `Retry-After`, a quota"
    " is 409 `quota-exceeded`. 0 disables a limit. See [setting limits](../how-to/set-limits.md).",
}
