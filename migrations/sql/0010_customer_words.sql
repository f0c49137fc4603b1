-- A search for the beginning of any word of a customer's name, and the order of the last upload.
-- Executed by 0010_customer_words; never edit it, add a migration.

-- What separates words becomes a space. Punctuation of other scripts stays part of a word.
CREATE FUNCTION spaced_words(lower_text text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT translate(
        lower_text,
        E'!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~\t\u00a0\u2007\u2010\u2011\u2013\u2018\u2019\u202f\u3000',
        repeat(' ', 42)
    )
$$;

-- A name from each of its words to its end, and the whole name.
CREATE FUNCTION word_tails(lower_name text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    spaced text := spaced_words(lower_name);
    tails text[] := ARRAY[lower_name];
BEGIN
    FOR place IN 2..length(lower_name) LOOP
        IF substr(spaced, place - 1, 1) = ' ' AND substr(spaced, place, 1) <> ' ' THEN
            tails := tails || substr(lower_name, place);
        END IF;
    END LOOP;
    RETURN tails;
END $$;

-- The regular expression of the names of which a tail begins with the search.
CREATE FUNCTION word_pattern(lower_search text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
            WHEN substr(spaced_words(lower_search), 1, 1) = ' ' THEN '^'
            ELSE E'(^|[!-/:-@[-`{-~ \t\u00a0\u2007\u2010\u2011\u2013\u2018\u2019\u202f\u3000])'
        END || regexp_replace(lower_search, '([!-/:-@[-`{-~])', '\\\1', 'g')
$$;

-- The tails of names with their first words, and what lists are sorted by but an upload does not
-- change.
CREATE TABLE customer_words (
    tail text COLLATE "C" NOT NULL,
    external_id text COLLATE "C" NOT NULL,
    word text COLLATE "C" GENERATED ALWAYS AS (split_part(spaced_words(tail), ' ', 1)) STORED NOT NULL,
    lower_name text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_customer_words PRIMARY KEY (tail, external_id) INCLUDE (lower_name, created_at)
);
CREATE INDEX ix_customer_words_word ON customer_words (word, lower_name, external_id) INCLUDE (tail);

-- No foreign key: its index would be as large as the table.
CREATE FUNCTION refresh_customer_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM customer_words
        WHERE tail = ANY(word_tails(OLD.lower_name)) AND external_id = OLD.external_id;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.name IS NOT NULL THEN
        INSERT INTO customer_words (tail, external_id, lower_name, created_at)
        SELECT tail, NEW.external_id, NEW.lower_name, NEW.created_at
        FROM unnest(word_tails(NEW.lower_name)) AS tail;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER customer_words_inserted AFTER INSERT ON customers FOR EACH ROW
WHEN (NEW.name IS NOT NULL)
EXECUTE FUNCTION refresh_customer_words();

CREATE TRIGGER customer_words_updated AFTER UPDATE OF name ON customers FOR EACH ROW
WHEN (OLD.name IS DISTINCT FROM NEW.name)
EXECUTE FUNCTION refresh_customer_words();

CREATE TRIGGER customer_words_deleted AFTER DELETE ON customers FOR EACH ROW
WHEN (OLD.name IS NOT NULL)
EXECUTE FUNCTION refresh_customer_words();

-- After the triggers, whose creation waits for writers and keeps others waiting.
INSERT INTO customer_words (tail, external_id, lower_name, created_at)
SELECT tail, external_id, lower_name, created_at
FROM customers, unnest(word_tails(lower_name)) AS tail
WHERE name IS NOT NULL;
ANALYZE customer_words;

-- A customer who never uploaded comes before all others. The column itself is included because a scan
-- of an index on an expression needs it.
CREATE INDEX ix_customers_last_uploaded_at
    ON customers (coalesce(last_uploaded_at, '1970-01-01 00:00:00+00'), external_id)
    INCLUDE (fact_set_id, last_uploaded_at) WHERE erasure_id IS NULL;
CREATE INDEX ix_customers_fact_set_id_last_uploaded_at
    ON customers (fact_set_id, coalesce(last_uploaded_at, '1970-01-01 00:00:00+00'), external_id)
    INCLUDE (last_uploaded_at, erasure_id);

-- A search reads the customers of fact sets in no order, or none of them.
DROP INDEX ix_customers_fact_set_id_lower_external_id;
DROP INDEX ix_customers_fact_set_id_lower_email;
