document_type_id, uploaded_by_kind, filled_fields(field_values) AS filled, field_values
