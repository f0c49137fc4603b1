-- Webhooks and their deliveries, which are made with the position of the event. Executed by
-- 0007_webhooks; never edit it, add a migration.

CREATE TABLE webhooks (
    id uuid NOT NULL,
    name text NOT NULL,
    url text NOT NULL,
    types text[] NOT NULL,
    enabled boolean NOT NULL,
    disabled_reason text,
    signing text NOT NULL,
    sealed_secret bytea NOT NULL,
    sealed_previous_secret bytea,
    previous_secret_until timestamptz,
    consecutive_failures integer DEFAULT 0 NOT NULL,
    failing_since timestamptz,
    last_success_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_webhooks PRIMARY KEY (id)
);

CREATE TABLE webhook_deliveries (
    id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    position bigint NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    state text DEFAULT 'pending' NOT NULL,
    used_attempts integer DEFAULT 0 NOT NULL,
    due_at timestamptz,
    attempts jsonb DEFAULT '[]' NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_webhook_deliveries PRIMARY KEY (id),
    CONSTRAINT uq_webhook_deliveries_webhook_id_position UNIQUE (webhook_id, position)
);
CREATE INDEX ix_webhook_deliveries_due ON webhook_deliveries (webhook_id, due_at)
    WHERE state = 'pending';
CREATE INDEX ix_webhook_deliveries_created_at ON webhook_deliveries (created_at);

-- Gives positions to up to `batch` committed events, and makes their deliveries; returns how many
-- events.
--
-- The lock and the numbering are two statements: the snapshot of the second is taken after the
-- lock, so that no position is given twice. An event that is not committed yet is not seen and gets
-- a later position. Positions have no holes, because only committed events get one.
CREATE OR REPLACE FUNCTION sequence_events(batch integer) RETURNS integer LANGUAGE plpgsql AS $$
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
    -- After the update, which waits for an erasure that redacts one of these events.
    INSERT INTO webhook_deliveries (id, webhook_id, position, event_id, type, due_at)
    SELECT new_event_id(), webhooks.id, events.position, events.id, events.type, now()
    FROM webhooks JOIN events ON events.position > base AND events.position <= base + given
    WHERE webhooks.enabled AND webhooks.types && ARRAY['*', events.type]
        AND events.redacted_at IS NULL;
    RETURN given;
END $$;
