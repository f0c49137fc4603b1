-- The functions and triggers of docvault. Executed by 0001_initial; never edit it, add a migration.

-- The numbers of a fact set: types with a current file, and their fields with a value.
-- What counts as blank is defined in domain/document_status.py.
CREATE FUNCTION customer_facts(of_customer uuid) RETURNS integer[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT document_types.number
        FROM documents JOIN document_types ON document_types.id = documents.document_type_id
        WHERE documents.customer_id = of_customer AND documents.current_version_id IS NOT NULL
        UNION ALL
        SELECT field.number
        FROM documents JOIN document_type_fields AS field
            ON field.document_type_id = documents.document_type_id
        WHERE documents.customer_id = of_customer AND documents.current_version_id IS NOT NULL
            AND btrim(documents.field_values ->> field.key, E' \t\r\n') <> ''
        ORDER BY number
    );
END $$;

-- Of two concurrent changes the second waits for the customer's row and then sees the first.
CREATE FUNCTION refresh_fact_set() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed_id uuid := coalesce(NEW.customer_id, OLD.customer_id);
    current_id integer;
    next_id integer;
    facts integer[];
BEGIN
    SELECT fact_set_id INTO current_id FROM customers WHERE id = changed_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL; -- The customer is being deleted together with its documents.
    END IF;
    facts := customer_facts(changed_id);
    -- Locked, so that it is not deleted as unused in the meantime.
    SELECT id INTO next_id FROM fact_sets WHERE numbers = facts ORDER BY id LIMIT 1 FOR KEY SHARE;
    IF NOT FOUND THEN
        INSERT INTO fact_sets (numbers) VALUES (facts) RETURNING id INTO next_id;
    END IF;
    IF next_id <> current_id THEN
        UPDATE customers SET fact_set_id = next_id WHERE id = changed_id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER documents_inserted AFTER INSERT ON documents FOR EACH ROW
WHEN (NEW.current_version_id IS NOT NULL)
EXECUTE FUNCTION refresh_fact_set();

CREATE TRIGGER documents_updated AFTER UPDATE OF current_version_id, field_values ON documents
FOR EACH ROW
WHEN (
    (OLD.current_version_id IS NULL) <> (NEW.current_version_id IS NULL)
    OR (NEW.current_version_id IS NOT NULL AND OLD.field_values <> NEW.field_values)
)
EXECUTE FUNCTION refresh_fact_set();

CREATE TRIGGER documents_deleted AFTER DELETE ON documents FOR EACH ROW
WHEN (OLD.current_version_id IS NOT NULL)
EXECUTE FUNCTION refresh_fact_set();

-- The bytes of field values stored for a customer, including copies in versions, sessions, the
-- audit trail and stored responses. In PL/pgSQL, which keeps the plan for the next call.
CREATE FUNCTION customer_value_bytes(owner uuid) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT coalesce(sum(size), 0)::bigint FROM (
        SELECT value_bytes FROM documents WHERE customer_id = owner
        UNION ALL
        SELECT version.value_bytes FROM documents
            JOIN document_versions AS version ON version.document_id = documents.id
            WHERE documents.customer_id = owner
        UNION ALL
        SELECT value_bytes FROM upload_sessions WHERE customer_id = owner
        UNION ALL
        SELECT value_bytes FROM audit_details
            WHERE customer_id = owner AND value_bytes IS NOT NULL
        UNION ALL
        SELECT octet_length(body) FROM idempotency_keys WHERE customer_id = owner
    ) AS kept (size));
END
$$;

-- Reserves blobs of one customer if they fit the quotas (0: unlimited). Returns whether it did,
-- and the usage before. In a function each statement sees what was committed before it began: the
-- usage is computed after the lock, all in one round trip.
CREATE FUNCTION reserve_blobs(
    owner uuid, of_kind text, ids uuid[], keys text[], sizes bigint[], digests text[],
    lifetime interval, max_files bigint, max_bytes bigint, waiting_factor integer,
    max_value_bytes bigint,
    OUT reserved boolean, OUT is_erased boolean, OUT used_files bigint, OUT used_bytes bigint,
    OUT waiting_files bigint, OUT waiting_bytes bigint, OUT used_value_bytes bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    new_bytes bigint;
BEGIN
    used_files := 0;
    used_bytes := 0;
    waiting_files := 0;
    waiting_bytes := 0;
    used_value_bytes := 0;
    -- `is_erased` is null if the customer does not exist. The lock is that of a foreign key: it
    -- conflicts with the start of an erasure, and is shared with uploads and attachments.
    SELECT erasure_id IS NOT NULL INTO is_erased FROM customers WHERE id = owner FOR KEY SHARE;
    reserved := NOT coalesce(is_erased, true);
    IF reserved AND (max_files > 0 OR max_bytes > 0) THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(owner::text, 0));
        SELECT count(*) FILTER (WHERE state <> 'delete_queued'),
            coalesce(sum(size_bytes) FILTER (WHERE state <> 'delete_queued'), 0),
            count(*) FILTER (WHERE state = 'delete_queued'),
            coalesce(sum(size_bytes) FILTER (WHERE state = 'delete_queued'), 0)
        INTO used_files, used_bytes, waiting_files, waiting_bytes
        FROM blobs
        WHERE customer_id = owner AND kind = 'file' AND (state = 'stored' OR expires_at > now());
        new_bytes := (SELECT sum(size) FROM unnest(sizes) AS size);
        reserved := (
            max_files = 0
            OR used_files + cardinality(ids) <= max_files
            AND used_files + waiting_files + cardinality(ids) <= waiting_factor * max_files
        ) AND (
            max_bytes = 0
            OR used_bytes + new_bytes <= max_bytes
            AND used_bytes + waiting_bytes + new_bytes <= waiting_factor * max_bytes
        );
    END IF;
    -- How many value bytes an upload adds is known only when it is attached: it is refused once
    -- the quota is reached.
    IF reserved AND max_value_bytes > 0 THEN
        used_value_bytes := customer_value_bytes(owner);
        reserved := used_value_bytes < max_value_bytes;
    END IF;
    IF reserved THEN
        INSERT INTO blobs (id, customer_id, key, kind, state, size_bytes, sha256, expires_at)
        SELECT id, owner, key, of_kind, 'pending', size_bytes, sha256, now() + lifetime
        FROM unnest(ids, keys, sizes, digests) AS blob (id, key, size_bytes, sha256);
    END IF;
END
$$;
