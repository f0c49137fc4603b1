-- The fact sets that a filter by documents selects. A null or empty parameter does not filter.
SELECT fact_sets.id FROM fact_sets
WHERE coalesce((cardinality(numbers) > 0) = %(has_documents)s::boolean, true)
    AND numbers @> ARRAY(SELECT number FROM document_types WHERE id = ANY(%(uploaded)s::uuid[]))
    AND NOT numbers && ARRAY(
        SELECT number FROM document_types WHERE id = ANY(%(not_uploaded)s::uuid[])
    )
    AND coalesce(%(is_open)s::boolean = (NOT %(gate_enforced)s::boolean OR numbers @> ARRAY(
        SELECT unnest(needed) FROM ({requested_types}) AS requested WHERE required
    )), true)
