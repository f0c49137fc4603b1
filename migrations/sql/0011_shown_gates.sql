-- `gate.changed` also for a decision that was shown but not published yet (decision 0107). Executed by
-- 0011_shown_gates; never edit it, add a migration.

CREATE FUNCTION write_gate_event(
    of_customer uuid, is_blocked boolean, was_blocked boolean, facts_id integer, cause text
)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO events (id, type, customer_id, data)
    SELECT new_event_id(), 'gate.changed', customers.id, jsonb_build_object(
        'gate', 'default', 'decision', CASE WHEN is_blocked THEN 'blocked' ELSE 'open' END,
        'was', CASE was_blocked WHEN true THEN 'blocked' WHEN false THEN 'open' END,
        'due', due_types(fact_sets.numbers), 'cause', cause
    )
    FROM customers, fact_sets
    -- A customer who is being erased gets no event but `customer.erased`.
    WHERE customers.id = of_customer AND customers.erasure_id IS NULL AND fact_sets.id = facts_id
$$;

CREATE OR REPLACE FUNCTION add_gate_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    published boolean;
    shown boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM write_gate_event(NEW.id, NEW.gate_blocked, NULL, NEW.fact_set_id, 'customer');
        RETURN NULL;
    END IF;
    published := OLD.gate_blocked;
    IF OLD.fact_set_id = NEW.fact_set_id THEN
        PERFORM write_gate_event(
            NEW.id, NEW.gate_blocked, published, NEW.fact_set_id, 'requirements'
        );
        RETURN NULL;
    END IF;
    -- What the API showed before this change, if `compare_gates` has not finished.
    SELECT requirements.enforced AND NOT fact_sets.numbers @> requirements.needed INTO shown
    FROM gate_requirements AS requirements, fact_sets
    WHERE requirements.compared_until IS NOT NULL AND fact_sets.id = OLD.fact_set_id;
    IF shown <> published AND shown <> NEW.gate_blocked THEN
        PERFORM write_gate_event(NEW.id, shown, published, OLD.fact_set_id, 'requirements');
        published := shown;
    END IF;
    IF NEW.gate_blocked <> published THEN
        PERFORM write_gate_event(NEW.id, NEW.gate_blocked, published, NEW.fact_set_id, 'documents');
    END IF;
    RETURN NULL;
END $$;

DROP TRIGGER customers_gate_changed ON customers;
CREATE CONSTRAINT TRIGGER customers_gate_changed AFTER UPDATE ON customers
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (OLD.gate_blocked <> NEW.gate_blocked OR OLD.fact_set_id <> NEW.fact_set_id)
EXECUTE FUNCTION add_gate_event();
