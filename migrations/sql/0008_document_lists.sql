-- Documents in one list across customers, and when the documents of a customer changed. Executed by
-- 0008_document_lists; never edit it, add a migration.

-- Of the current version. The default is for processes of an earlier release, during an upgrade.
ALTER TABLE documents
    ADD COLUMN uploaded_by_kind text COLLATE "C" DEFAULT 'customer' NOT NULL;
UPDATE documents SET uploaded_by_kind = version.uploaded_by_kind
FROM document_versions AS version
WHERE version.id = documents.current_version_id AND version.uploaded_by_kind <> 'customer';

-- Which fields have a value: equal for documents with values for the same fields. What counts as
-- blank is defined in domain/document_status.py.
CREATE FUNCTION filled_fields(field_values jsonb) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF field_values = '{}' THEN
        RETURN '00000000-0000-0000-0000-000000000000';
    END IF;
    -- A hash, because all keys may be too long for an index.
    RETURN md5(coalesce((
        SELECT string_agg(key, ' ' ORDER BY key COLLATE "C") FROM jsonb_each_text(field_values)
        WHERE btrim(value, E' \t\r\n') <> ''
    ), ''))::uuid;
END $$;

CREATE INDEX ix_documents_current_version_id ON documents (current_version_id)
    WHERE current_version_id IS NOT NULL;
CREATE INDEX ix_documents_listed
    ON documents (document_type_id, uploaded_by_kind, filled_fields(field_values), current_version_id)
    WHERE current_version_id IS NOT NULL;

-- A customer without documents has been the same since it was created.
ALTER TABLE customers
    ADD COLUMN documents_changed_at timestamptz DEFAULT now() NOT NULL,
    ADD COLUMN last_uploaded_at timestamptz;
UPDATE customers
SET documents_changed_at = greatest(customers.created_at, changed.at),
    last_uploaded_at = changed.uploaded_at
FROM (
    SELECT customers.id, max(documents.updated_at) AS at, max(version.uploaded_at) AS uploaded_at
    FROM customers
    LEFT JOIN documents ON documents.customer_id = customers.id
    LEFT JOIN document_versions AS version ON version.document_id = documents.id
    GROUP BY customers.id
) AS changed
WHERE changed.id = customers.id;

CREATE INDEX ix_customers_documents_changed_at ON customers (documents_changed_at, external_id)
    INCLUDE (fact_set_id) WHERE erasure_id IS NULL;
CREATE INDEX ix_customers_fact_set_id_documents_changed_at
    ON customers (fact_set_id, documents_changed_at, external_id)
    INCLUDE (erasure_id);
-- Without the list of pending entries, which a search would read from start to end.
CREATE INDEX ix_customers_tags ON customers USING gin (tags) WITH (fastupdate = off)
    WHERE erasure_id IS NULL AND tags <> '{}';

DROP TRIGGER documents_inserted ON documents;
DROP TRIGGER documents_updated ON documents;
DROP TRIGGER documents_deleted ON documents;
DROP FUNCTION refresh_fact_set();

-- Of two concurrent changes the second waits for the customer's row and then sees the first.
CREATE FUNCTION record_document_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed_id uuid := coalesce(NEW.customer_id, OLD.customer_id);
    is_upload boolean := NEW.current_version_id IS NOT NULL
        AND OLD.current_version_id IS DISTINCT FROM NEW.current_version_id;
    changed_at timestamptz := clock_timestamp();
    facts integer[];
    next_id integer;
BEGIN
    -- A replaced file with the same values changes no facts.
    IF NOT is_upload OR OLD.current_version_id IS NULL OR OLD.field_values <> NEW.field_values THEN
        PERFORM FROM customers WHERE id = changed_id FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RETURN NULL; -- The customer is being deleted together with its documents.
        END IF;
        facts := customer_facts(changed_id);
        -- Locked, so that it is not deleted as unused in the meantime.
        SELECT id INTO next_id FROM fact_sets WHERE numbers = facts
        ORDER BY id LIMIT 1 FOR KEY SHARE;
        IF NOT FOUND THEN
            INSERT INTO fact_sets (numbers) VALUES (facts) RETURNING id INTO next_id;
        END IF;
    END IF;
    UPDATE customers
    SET fact_set_id = coalesce(next_id, fact_set_id),
        documents_changed_at = changed_at,
        last_uploaded_at = CASE WHEN is_upload THEN changed_at ELSE last_uploaded_at END
    WHERE id = changed_id;
    RETURN NULL;
END $$;

CREATE TRIGGER documents_inserted AFTER INSERT ON documents FOR EACH ROW
WHEN (NEW.current_version_id IS NOT NULL)
EXECUTE FUNCTION record_document_change();

CREATE TRIGGER documents_updated AFTER UPDATE OF current_version_id, field_values ON documents
FOR EACH ROW
WHEN (
    OLD.current_version_id IS DISTINCT FROM NEW.current_version_id
    OR OLD.field_values <> NEW.field_values
)
EXECUTE FUNCTION record_document_change();

CREATE TRIGGER documents_deleted AFTER DELETE ON documents FOR EACH ROW
WHEN (OLD.current_version_id IS NOT NULL)
EXECUTE FUNCTION record_document_change();
