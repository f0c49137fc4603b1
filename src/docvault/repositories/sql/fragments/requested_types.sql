-- The active types, each with the facts a customer needs for it not to be due: the number of the
-- type and, while its fields are requested, of each required field. As domain/document_status.py.
SELECT number, upload_mode = 'required' AS required, number || ARRAY(
    SELECT field.number FROM document_type_fields AS field
    WHERE field.document_type_id = document_types.id AND document_types.collects_fields
        AND field.required AND field.retired_at IS NULL
) AS needed
FROM document_types WHERE archived_at IS NULL
