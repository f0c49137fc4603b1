"""The first tables, those of the job queue, and the one row of portal settings."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JOB_QUEUE = Path(__file__).parents[1] / "sql" / "procrastinate_3_10_0.sql"


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("public_id", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("public_id", name=op.f("uq_api_keys_public_id")),
    )
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("customer_pseudonym", sa.Text(), nullable=True),
        sa.Column("document_type", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index("ix_audit_events_action", "audit_events", ["action", "at"], unique=False)
    op.create_index("ix_audit_events_actor", "audit_events", ["actor_id", "at"], unique=False)
    op.create_index("ix_audit_events_at_id", "audit_events", ["at", "id"], unique=False)
    op.create_index(
        "ix_audit_events_customer", "audit_events", ["customer_pseudonym", "at"], unique=False
    )
    op.create_table(
        "blobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("key_ref", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'stored', 'delete_queued')", name=op.f("ck_blobs_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blobs")),
        sa.UniqueConstraint("key", name=op.f("uq_blobs_key")),
    )
    op.create_index("ix_blobs_customer_id", "blobs", ["customer_id"], unique=False)
    op.create_index(
        "ix_blobs_unsettled",
        "blobs",
        ["state", "expires_at"],
        unique=False,
        postgresql_where=sa.text("state <> 'stored'"),
    )
    op.create_table(
        "document_types",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folded_name", sa.Text(), nullable=False),
        sa.Column("upload_mode", sa.Text(), nullable=False),
        sa.Column("collects_fields", sa.Boolean(), nullable=False),
        sa.Column("instructions", sa.Text(), nullable=True),
        sa.Column("accepted_media_types", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("max_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("max_files", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("was_used", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "upload_mode IN ('optional', 'required', 'admin_only')",
            name=op.f("ck_document_types_upload_mode"),
        ),
        sa.CheckConstraint("max_files BETWEEN 1 AND 20", name=op.f("ck_document_types_max_files")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_types")),
        sa.UniqueConstraint("key", name=op.f("uq_document_types_key")),
    )
    op.create_index(
        "ix_document_types_position_id", "document_types", ["position", "id"], unique=False
    )
    op.create_index(
        "uq_document_types_active_name",
        "document_types",
        ["folded_name"],
        unique=True,
        postgresql_where=sa.text("archived_at IS NULL"),
    )
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_pseudonym", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("versions", sa.Integer(), nullable=False),
        sa.Column("blobs", sa.Integer(), nullable=False),
        sa.Column(
            "requested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.create_index(
        "ix_erasures_customer_pseudonym", "erasures", ["customer_pseudonym"], unique=False
    )
    op.create_index(
        "ix_erasures_pending",
        "erasures",
        ["requested_at"],
        unique=False,
        postgresql_where=sa.text("completed_at IS NULL"),
    )
    op.create_table(
        "portal_settings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("section_enabled", sa.Boolean(), nullable=False),
        sa.Column("gate_enabled", sa.Boolean(), nullable=False),
        sa.Column("customer_may_delete", sa.Boolean(), nullable=False),
        sa.Column("introduction_format", sa.Text(), nullable=True),
        sa.Column("introduction_source", sa.Text(), nullable=True),
        sa.Column("introduction_html", sa.Text(), nullable=True),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_portal_settings_single_row")),
        sa.CheckConstraint(
            "section_enabled OR NOT gate_enabled",
            name=op.f("ck_portal_settings_gate_requires_section"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_portal_settings")),
    )
    op.create_table(
        "audit_details",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("customer", sa.Text(), nullable=True),
        sa.Column(
            "changes", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["audit_events.id"],
            name=op.f("fk_audit_details_event_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_audit_details")),
    )
    op.create_index(
        "ix_audit_details_customer_id",
        "audit_details",
        ["customer_id"],
        unique=False,
        postgresql_where=sa.text("customer_id IS NOT NULL"),
    )
    op.create_table(
        "customers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("erasure_id", sa.Uuid(), nullable=True),
        sa.Column("tokens_valid_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["erasure_id"], ["erasures.id"], name=op.f("fk_customers_erasure_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customers")),
        sa.UniqueConstraint("external_id", name=op.f("uq_customers_external_id")),
    )
    op.create_index(
        "ix_customers_created_at_id", "customers", ["created_at", "external_id"], unique=False
    )
    op.create_index(
        "ix_customers_lower_email",
        "customers",
        [sa.literal_column("lower(email)").label("lowered")],
        unique=False,
        postgresql_ops={"lowered": "text_pattern_ops"},
    )
    op.create_index(
        "ix_customers_lower_id",
        "customers",
        [sa.literal_column("lower(external_id)").label("lowered")],
        unique=False,
        postgresql_ops={"lowered": "text_pattern_ops"},
    )
    op.create_index(
        "ix_customers_lower_name",
        "customers",
        [sa.literal_column("lower(name)").label("lowered")],
        unique=False,
        postgresql_ops={"lowered": "text_pattern_ops"},
    )
    op.create_index(
        "ix_customers_name",
        "customers",
        [sa.literal_column("lower(coalesce(name, ''))"), "external_id"],
        unique=False,
    )
    op.create_table(
        "document_type_fields",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("document_type_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("folded_label", sa.Text(), nullable=False),
        sa.Column("required", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["document_type_id"],
            ["document_types.id"],
            name=op.f("fk_document_type_fields_document_type_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_type_fields")),
    )
    op.create_index(
        "uq_document_type_fields_active_label",
        "document_type_fields",
        ["document_type_id", "folded_label"],
        unique=True,
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.create_index(
        "uq_document_type_fields_key",
        "document_type_fields",
        ["document_type_id", "key"],
        unique=True,
    )
    op.create_table(
        "documents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("document_type_id", sa.Uuid(), nullable=False),
        sa.Column("current_version_id", sa.Uuid(), nullable=True),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.Column("field_values", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("last_version >= 0", name=op.f("ck_documents_last_version")),
        sa.ForeignKeyConstraint(
            ["current_version_id"],
            ["document_versions.id"],
            name=op.f("fk_documents_current_version_id"),
            initially="DEFERRED",
            deferrable=True,
            use_alter=True,
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customers.id"],
            name=op.f("fk_documents_customer_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["document_type_id"], ["document_types.id"], name=op.f("fk_documents_document_type_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
    )
    op.create_index(
        "ix_documents_filled",
        "documents",
        ["document_type_id", "customer_id"],
        unique=False,
        postgresql_where=sa.text("current_version_id IS NOT NULL"),
    )
    op.create_index(
        "uq_documents_customer_id_document_type_id",
        "documents",
        ["customer_id", "document_type_id"],
        unique=True,
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("token", sa.Uuid(), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column(
            "headers", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customers.id"],
            name=op.f("fk_idempotency_keys_customer_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        op.f("ix_idempotency_keys_customer_id"), "idempotency_keys", ["customer_id"], unique=False
    )
    op.create_index(
        "ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"], unique=False
    )
    op.create_table(
        "document_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "uploaded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("uploaded_by_kind", sa.Text(), nullable=False),
        sa.Column("uploaded_by_id", sa.Text(), nullable=False),
        sa.Column("field_values", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("number >= 1", name=op.f("ck_document_versions_number")),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
            name=op.f("fk_document_versions_document_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_versions")),
    )
    op.create_index(
        "uq_document_versions_document_id_number",
        "document_versions",
        ["document_id", "number"],
        unique=True,
    )
    op.create_table(
        "document_files",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("blob_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("has_active_content", sa.Boolean(), nullable=False),
        sa.Column("scan", sa.Text(), nullable=False),
        sa.Column("preview_failed", sa.Boolean(), nullable=False),
        sa.CheckConstraint("number BETWEEN 1 AND 20", name=op.f("ck_document_files_number")),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name=op.f("fk_document_files_blob_id")),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["document_versions.id"],
            name=op.f("fk_document_files_version_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_files")),
    )
    op.create_index("ix_document_files_blob_id", "document_files", ["blob_id"], unique=True)
    op.create_index(
        "uq_document_files_version_id_number",
        "document_files",
        ["version_id", "number"],
        unique=True,
    )
    op.create_table(
        "previews",
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("size", sa.Text(), nullable=False),
        sa.Column("blob_id", sa.Uuid(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name=op.f("fk_previews_blob_id")),
        sa.ForeignKeyConstraint(
            ["file_id"], ["document_files.id"], name=op.f("fk_previews_file_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("file_id", "size", name=op.f("pk_previews")),
        sa.UniqueConstraint("blob_id", name=op.f("uq_previews_blob_id")),
    )
    op.create_foreign_key(
        op.f("fk_documents_current_version_id"),
        "documents",
        "document_versions",
        ["current_version_id"],
        ["id"],
        deferrable=True,
        initially="DEFERRED",
    )
    op.execute(
        "INSERT INTO portal_settings (id, section_enabled, gate_enabled, customer_may_delete)"
        " VALUES (1, true, false, false)"
    )
    # The driver's own cursor, for the file has percent signs and many statements.
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(JOB_QUEUE.read_text())


def downgrade() -> None:
    drop_job_queue()
    op.drop_constraint(op.f("fk_documents_current_version_id"), "documents")
    op.drop_table("previews")
    op.drop_index("uq_document_files_version_id_number", table_name="document_files")
    op.drop_index("ix_document_files_blob_id", table_name="document_files")
    op.drop_table("document_files")
    op.drop_index("uq_document_versions_document_id_number", table_name="document_versions")
    op.drop_table("document_versions")
    op.drop_index("ix_idempotency_keys_expires_at", table_name="idempotency_keys")
    op.drop_index(op.f("ix_idempotency_keys_customer_id"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index("uq_documents_customer_id_document_type_id", table_name="documents")
    op.drop_index(
        "ix_documents_filled",
        table_name="documents",
        postgresql_where=sa.text("current_version_id IS NOT NULL"),
    )
    op.drop_table("documents")
    op.drop_index("uq_document_type_fields_key", table_name="document_type_fields")
    op.drop_index(
        "uq_document_type_fields_active_label",
        table_name="document_type_fields",
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.drop_table("document_type_fields")
    op.drop_index("ix_customers_name", table_name="customers")
    op.drop_index(
        "ix_customers_lower_name",
        table_name="customers",
        postgresql_ops={"lowered": "text_pattern_ops"},
    )
    op.drop_index(
        "ix_customers_lower_id",
        table_name="customers",
        postgresql_ops={"lowered": "text_pattern_ops"},
    )
    op.drop_index(
        "ix_customers_lower_email",
        table_name="customers",
        postgresql_ops={"lowered": "text_pattern_ops"},
    )
    op.drop_index("ix_customers_created_at_id", table_name="customers")
    op.drop_table("customers")
    op.drop_index(
        "ix_audit_details_customer_id",
        table_name="audit_details",
        postgresql_where=sa.text("customer_id IS NOT NULL"),
    )
    op.drop_table("audit_details")
    op.drop_table("portal_settings")
    op.drop_index(
        "ix_erasures_pending",
        table_name="erasures",
        postgresql_where=sa.text("completed_at IS NULL"),
    )
    op.drop_index("ix_erasures_customer_pseudonym", table_name="erasures")
    op.drop_table("erasures")
    op.drop_index(
        "uq_document_types_active_name",
        table_name="document_types",
        postgresql_where=sa.text("archived_at IS NULL"),
    )
    op.drop_index("ix_document_types_position_id", table_name="document_types")
    op.drop_table("document_types")
    op.drop_index(
        "ix_blobs_unsettled", table_name="blobs", postgresql_where=sa.text("state <> 'stored'")
    )
    op.drop_index("ix_blobs_customer_id", table_name="blobs")
    op.drop_table("blobs")
    op.drop_index("ix_audit_events_customer", table_name="audit_events")
    op.drop_index("ix_audit_events_at_id", table_name="audit_events")
    op.drop_index("ix_audit_events_actor", table_name="audit_events")
    op.drop_index("ix_audit_events_action", table_name="audit_events")
    op.drop_table("audit_events")
    op.drop_table("api_keys")


def drop_job_queue() -> None:
    """Drop everything whose name says that it is the job queue's."""
    op.execute(
        """
        DO $$
        DECLARE item record;
        BEGIN
            FOR item IN SELECT format('DROP TABLE %s CASCADE', c.oid::regclass) AS statement
                FROM pg_class c WHERE c.relkind = 'r' AND c.relname LIKE 'procrastinate\\_%'
                AND c.relnamespace = current_schema()::regnamespace
            LOOP EXECUTE item.statement; END LOOP;
            FOR item IN SELECT format('DROP ROUTINE %s CASCADE', p.oid::regprocedure) AS statement
                FROM pg_proc p WHERE p.proname LIKE 'procrastinate\\_%'
                AND p.pronamespace = current_schema()::regnamespace
            LOOP EXECUTE item.statement; END LOOP;
            FOR item IN SELECT format('DROP TYPE IF EXISTS %s CASCADE', t.oid::regtype) AS statement
                FROM pg_type t WHERE t.typname LIKE 'procrastinate\\_%' AND t.typtype IN ('e', 'c')
                AND t.typnamespace = current_schema()::regnamespace
            LOOP EXECUTE item.statement; END LOOP;
        END $$
        """
    )
