-- Events, their positions, and the gate decision published last for each customer. Executed by
-- 0005_events; never edit it, add a migration.

CREATE TABLE events (
    n bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    id uuid NOT NULL,
    type text NOT NULL,
    at timestamptz DEFAULT clock_timestamp() NOT NULL,
    position bigint,
    customer_id uuid,
    data jsonb,
    pseudonym text,
    redacted_at timestamptz,
    CONSTRAINT pk_events PRIMARY KEY (id)
);
CREATE UNIQUE INDEX uq_events_position ON events (position) WHERE position IS NOT NULL;
CREATE INDEX ix_events_waiting ON events (n) WHERE position IS NULL;
CREATE INDEX ix_events_customer_id ON events (customer_id, position) WHERE customer_id IS NOT NULL;

CREATE TABLE event_log (
    id integer NOT NULL,
    log uuid NOT NULL,
    last bigint NOT NULL,
    oldest bigint NOT NULL,
    CONSTRAINT pk_event_log PRIMARY KEY (id),
    CONSTRAINT ck_event_log_single_row CHECK (id = 1)
);
INSERT INTO event_log (id, log, last, oldest) VALUES (1, gen_random_uuid(), 0, 1);

-- What every customer needs for an open gate, and the progress of comparing all gates with it.
CREATE TABLE gate_requirements (
    id integer NOT NULL,
    enforced boolean NOT NULL,
    needed integer[] NOT NULL,
    compared_until uuid,
    settled_at bigint,
    is_last_pass boolean DEFAULT false NOT NULL,
    CONSTRAINT pk_gate_requirements PRIMARY KEY (id),
    CONSTRAINT ck_gate_requirements_single_row CHECK (id = 1)
);

-- A UUIDv7, like the ids that docvault makes; PostgreSQL has a function for it since version 18.
CREATE FUNCTION new_event_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(
        uuid_send(gen_random_uuid())
        PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6
    ), 52, 1), 53, 1), 'hex')::uuid
$$;

-- The facts that a customer needs so that no required document is due; the same rules as in
-- repositories/sql/fragments/requested_types.sql.
CREATE FUNCTION needed_facts() RETURNS integer[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(number ORDER BY number), '{}') FROM (
        SELECT number FROM document_types
        WHERE archived_at IS NULL AND upload_mode = 'required'
        UNION ALL
        SELECT field.number
        FROM document_type_fields AS field JOIN document_types AS type
            ON type.id = field.document_type_id
        WHERE type.archived_at IS NULL AND type.upload_mode = 'required' AND type.collects_fields
            AND field.required AND field.retired_at IS NULL
    ) AS needed
$$;

-- The keys of the required types that are due from a customer with these facts.
CREATE FUNCTION due_types(facts integer[]) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(type.key ORDER BY type.position, type.id), '[]')
    FROM document_types AS type
    WHERE type.archived_at IS NULL AND type.upload_mode = 'required' AND NOT (
        facts @> (type.number || ARRAY(
            SELECT field.number FROM document_type_fields AS field
            WHERE field.document_type_id = type.id AND type.collects_fields
                AND field.required AND field.retired_at IS NULL
        ))
    )
$$;

INSERT INTO gate_requirements (id, enforced, needed)
SELECT 1, (SELECT gate_enabled FROM portal_settings), needed_facts();

-- The decision that was published last: the log begins with the gates as they are.
ALTER TABLE customers ADD COLUMN gate_blocked boolean DEFAULT false NOT NULL;
UPDATE customers SET gate_blocked = true
FROM fact_sets, gate_requirements AS requirements
WHERE fact_sets.id = customers.fact_set_id
    AND requirements.enforced AND NOT fact_sets.numbers @> requirements.needed;

CREATE FUNCTION judge_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Before it reads the requirements: `compare_gates` waits for the transactions that have an id.
    PERFORM pg_current_xact_id();
    SELECT requirements.enforced AND NOT fact_sets.numbers @> requirements.needed
    INTO STRICT NEW.gate_blocked
    FROM gate_requirements AS requirements, fact_sets WHERE fact_sets.id = NEW.fact_set_id;
    RETURN NEW;
END $$;

CREATE TRIGGER customers_gate_inserted BEFORE INSERT ON customers FOR EACH ROW
EXECUTE FUNCTION judge_gate();

CREATE TRIGGER customers_gate_updated BEFORE UPDATE OF fact_set_id ON customers FOR EACH ROW
WHEN (OLD.fact_set_id <> NEW.fact_set_id)
EXECUTE FUNCTION judge_gate();

-- Writes `gate.changed` at the commit, so that it follows the event of what caused it.
CREATE FUNCTION add_gate_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was text;
    cause text := 'customer';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        was := CASE WHEN OLD.gate_blocked THEN 'blocked' ELSE 'open' END;
        cause := CASE WHEN OLD.fact_set_id = NEW.fact_set_id THEN 'requirements' ELSE 'documents' END;
    END IF;
    INSERT INTO events (id, type, customer_id, data)
    SELECT new_event_id(), 'gate.changed', customers.id, jsonb_build_object(
        'gate', 'default', 'decision', CASE WHEN NEW.gate_blocked THEN 'blocked' ELSE 'open' END,
        'was', was, 'due', due_types(fact_sets.numbers), 'cause', cause
    )
    FROM customers, fact_sets
    -- A customer who is being erased gets no event but `customer.erased`.
    WHERE customers.id = NEW.id AND customers.erasure_id IS NULL AND fact_sets.id = NEW.fact_set_id;
    RETURN NULL;
END $$;

-- A gate without an event is open.
CREATE CONSTRAINT TRIGGER customers_gate_blocked AFTER INSERT ON customers
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.gate_blocked)
EXECUTE FUNCTION add_gate_event();

CREATE CONSTRAINT TRIGGER customers_gate_changed AFTER UPDATE ON customers
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (OLD.gate_blocked <> NEW.gate_blocked)
EXECUTE FUNCTION add_gate_event();

-- Writes `requirements.changed` at the commit of a change of types or settings, if it changed what
-- the gate needs, and lets `compare_gates` begin.
CREATE FUNCTION refresh_requirements() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    known gate_requirements;
    now_enforced boolean;
    now_needed integer[];
BEGIN
    SELECT * INTO STRICT known FROM gate_requirements FOR UPDATE;
    -- After the lock, in a statement of its own: it sees what others have committed.
    SELECT gate_enabled, needed_facts() INTO STRICT now_enforced, now_needed FROM portal_settings;
    IF now_enforced = known.enforced AND now_needed = known.needed THEN
        RETURN NULL;
    END IF;
    UPDATE gate_requirements SET enforced = now_enforced, needed = now_needed,
        compared_until = '00000000-0000-0000-0000-000000000000', settled_at = NULL;
    INSERT INTO events (id, type, data)
    VALUES (new_event_id(), 'requirements.changed', jsonb_build_object(
        'enforced', now_enforced, 'required', due_types('{}')
    ));
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER document_types_required
AFTER INSERT OR DELETE OR UPDATE OF upload_mode, collects_fields, archived_at ON document_types
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION refresh_requirements();

CREATE CONSTRAINT TRIGGER document_type_fields_required
AFTER INSERT OR DELETE OR UPDATE OF required, retired_at ON document_type_fields
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION refresh_requirements();

CREATE CONSTRAINT TRIGGER portal_settings_enforced
AFTER UPDATE OF gate_enabled ON portal_settings
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
EXECUTE FUNCTION refresh_requirements();

-- After a change of the requirements: updates up to `batch` gates whose published decision is no
-- longer right, among fifty times as many customers. Returns how many; null if there is nothing to
-- compare.
--
-- A transaction that read the old requirements may commit after the pass has gone by its customer.
-- So passes are repeated until one began after all such transactions had ended.
CREATE FUNCTION compare_gates(batch integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    state gate_requirements;
    snapshot pg_snapshot := pg_current_snapshot();
    zero CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    found_ids uuid[];
    locked_ids uuid[];
    passed_until uuid;
    passed bigint;
BEGIN
    SELECT * INTO state FROM gate_requirements WHERE compared_until IS NOT NULL
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF state.compared_until = zero THEN
        -- A transaction id of the future comes from the database that a restored backup was made of.
        IF state.settled_at IS NULL OR state.settled_at > pg_snapshot_xmax(snapshot)::text::bigint THEN
            state.settled_at := pg_snapshot_xmax(snapshot)::text::bigint;
        END IF;
        state.is_last_pass := pg_snapshot_xmin(snapshot)::text::bigint >= state.settled_at;
    END IF;
    SELECT (array_agg(id ORDER BY id) FILTER (WHERE differs))[1:batch],
        (array_agg(id ORDER BY id DESC))[1], count(*)
    INTO found_ids, passed_until, passed
    FROM (
        SELECT customers.id, customers.erasure_id IS NULL AND customers.gate_blocked
            <> (state.enforced AND NOT fact_sets.numbers @> state.needed) AS differs
        FROM customers JOIN fact_sets ON fact_sets.id = customers.fact_set_id
        WHERE customers.id > state.compared_until
        ORDER BY customers.id LIMIT batch * 50
    ) AS page;
    found_ids := coalesce(found_ids, '{}');
    -- Customers whose rows are locked are left to the next pass, because waiting for a lock while
    -- holding others could deadlock.
    locked_ids := ARRAY(
        SELECT id FROM customers WHERE id = ANY (found_ids) FOR NO KEY UPDATE SKIP LOCKED
    );
    -- In a statement of its own, which sees the customers as they are now that they are locked.
    UPDATE customers
    SET gate_blocked = (state.enforced AND NOT fact_sets.numbers @> state.needed)
    FROM fact_sets
    WHERE customers.id = ANY (locked_ids) AND fact_sets.id = customers.fact_set_id
        AND customers.erasure_id IS NULL
        AND customers.gate_blocked <> (state.enforced AND NOT fact_sets.numbers @> state.needed);
    state.is_last_pass := state.is_last_pass AND cardinality(found_ids) = cardinality(locked_ids);
    IF cardinality(found_ids) = batch THEN
        state.compared_until := found_ids[batch];
    ELSIF passed = batch * 50 THEN
        state.compared_until := passed_until;
    ELSE
        state.compared_until := CASE WHEN state.is_last_pass THEN NULL ELSE zero END;
    END IF;
    UPDATE gate_requirements SET compared_until = state.compared_until,
        settled_at = state.settled_at, is_last_pass = state.is_last_pass;
    RETURN cardinality(locked_ids);
END $$;

-- Gives positions to up to `batch` committed events; returns how many.
--
-- The lock and the numbering are two statements: the snapshot of the second is taken after the
-- lock, so that no position is given twice. An event that is not committed yet is not seen and gets
-- a later position. Positions have no holes, because only committed events get one.
CREATE FUNCTION sequence_events(batch integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    base bigint;
    given integer;
BEGIN
    IF NOT EXISTS (SELECT FROM events WHERE position IS NULL) THEN
        RETURN 0;
    END IF;
    SELECT last INTO STRICT base FROM event_log WHERE id = 1 FOR UPDATE;
    WITH fresh AS (
        SELECT waiting.id, row_number() OVER (ORDER BY waiting.n) AS rank
        FROM (SELECT id, n FROM events WHERE position IS NULL ORDER BY n LIMIT batch) AS waiting
    )
    UPDATE events SET position = base + fresh.rank FROM fresh WHERE events.id = fresh.id;
    GET DIAGNOSTICS given = ROW_COUNT;
    UPDATE event_log SET last = base + given WHERE id = 1 AND given > 0;
    RETURN given;
END $$;
