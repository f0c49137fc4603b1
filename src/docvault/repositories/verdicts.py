"""The rules of `rules/states.py` as SQL over holdings, for filters and counts of many customers."""

# The active types, each with the numbers a customer needs to hold for it not to be due: that of
# the type and, while fields are asked, of each that is required; see `states.is_due`.
ASKED = """
    SELECT number, upload_mode = 'required' AS required, number || ARRAY(
        SELECT field.number FROM document_type_fields AS field
        WHERE field.document_type_id = document_types.id AND document_types.collects_fields
            AND field.required AND field.retired_at IS NULL
    ) AS needed
    FROM document_types WHERE archived_at IS NULL
"""

# Whether a current file exists, of whatever type.
HAS_DOCUMENTS = "cardinality(holdings.numbers) > 0"

# The holdings that a filter picks; see `CustomerFilter`. Nothing decides where it is null or empty.
PICKED = f"""
    SELECT holdings.id FROM holdings
    WHERE coalesce(({HAS_DOCUMENTS}) = CAST(:has_documents AS boolean), true)
        AND numbers @> ARRAY(SELECT number FROM document_types WHERE id = ANY(:uploaded))
        AND NOT numbers && ARRAY(SELECT number FROM document_types WHERE id = ANY(:not_uploaded))
        AND coalesce(CAST(:is_open AS boolean) = (NOT :gate_enforced OR numbers @> ARRAY(
            SELECT unnest(needed) FROM ({ASKED}) AS asked WHERE required
        )), true)
"""  # noqa: S608 - made of constants

# What the customers of one page hold of what is asked.
COUNTS = f"""
    WITH asked AS MATERIALIZED ({ASKED})
    SELECT customers.id, {HAS_DOCUMENTS} AS has_documents,
        count(asked.number) AS types,
        count(*) FILTER (WHERE numbers @> ARRAY[asked.number]) AS uploaded,
        count(*) FILTER (WHERE asked.required AND NOT numbers @> asked.needed) AS required_missing
    FROM customers JOIN holdings ON holdings.id = customers.holding_id LEFT JOIN asked ON true
    WHERE customers.id = ANY(:customer_ids)
    GROUP BY customers.id, holdings.id
"""  # noqa: S608 - made of constants
