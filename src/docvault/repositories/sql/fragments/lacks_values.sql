-- Whether a document lacks the value of a required field; as in domain/document_status.py.
EXISTS (
    SELECT FROM document_types JOIN document_type_fields AS field
        ON field.document_type_id = document_types.id
    WHERE document_types.id = documents.document_type_id AND document_types.collects_fields
        AND field.required AND field.retired_at IS NULL
        AND btrim(coalesce(documents.field_values ->> field.key, ''), E' \t\r\n') = ''
)
