-- For DocumentTypeRecord. Lists as JSON text, so that the record can be a key.
document_types.id AS type_id,
document_types.key AS type_key,
document_types.name AS type_name,
document_types.upload_mode,
document_types.collects_fields,
(
    SELECT json_agg(
        json_build_object('key', field.key, 'label', field.label, 'required', field.required)
        ORDER BY field.position, field.id
    )::text
    FROM document_type_fields AS field
    WHERE field.document_type_id = document_types.id AND field.retired_at IS NULL
) AS fields,
document_types.instructions,
array_to_json(document_types.accepted_media_types)::text AS accepted_media_types,
document_types.max_size_bytes,
document_types.max_files,
document_types.password_protected,
document_types.position,
document_types.archived_at IS NOT NULL AS archived,
document_types.created_at AS type_created_at,
document_types.updated_at AS type_updated_at
