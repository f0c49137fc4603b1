-- For DocumentRecord.
{document_type_columns},
{version_columns},
documents.field_values AS document_values,
documents.last_version,
documents.current_version_id IS NOT NULL AS is_uploaded
