-- For VersionRecord.
version.id AS version_id,
version.number AS version_number,
version.uploaded_at,
version.uploaded_by_kind,
version.uploaded_by_id,
version.field_values AS version_values,
(
    SELECT json_agg(
        json_build_object(
            'id', file.id,
            'number', file.number,
            'filename', file.filename,
            'media_type', file.media_type,
            'size_bytes', file.size_bytes,
            'sha256', file.sha256,
            'has_active_content', file.has_active_content,
            'has_attachments', file.has_attachments,
            'needs_password', file.needs_password,
            'pages', file.pages,
            'scan', file.scan,
            'preview_failed', file.preview_failed,
            'blob_key', blobs.key
        )
        ORDER BY file.number
    )
    FROM document_files AS file JOIN blobs ON blobs.id = file.blob_id
    WHERE file.version_id = version.id
) AS files
