documents.document_type_id = matching.document_type_id
AND documents.uploaded_by_kind = matching.uploaded_by_kind
AND filled_fields(documents.field_values) = matching.filled
