-- Files of the replaced version in the new one, under new ids, as its first files. The rows are copied
-- and share their blobs; the previews move, because only those of the current version are shown.
WITH copied AS (
    INSERT INTO document_files (
        id, version_id, blob_id, number, filename, media_type, size_bytes, sha256,
        has_active_content, has_attachments, needs_password, pages, scan, scanned_with,
        preview_failed, failed_pages
    )
    SELECT kept.new_id, %(version_id)s::uuid, file.blob_id, kept.number, file.filename,
        file.media_type, file.size_bytes, file.sha256, file.has_active_content,
        file.has_attachments, file.needs_password, file.pages, file.scan, file.scanned_with,
        file.preview_failed, file.failed_pages
    FROM unnest(%(ids)s::uuid[], %(new_ids)s::uuid[]) WITH ORDINALITY AS kept (id, new_id, number)
    JOIN document_files AS file ON file.id = kept.id
    JOIN blobs ON blobs.id = file.blob_id AND blobs.customer_id = %(customer_id)s::uuid
    RETURNING id
)
UPDATE previews
SET file_id = (%(new_ids)s::uuid[])[array_position(%(ids)s::uuid[], previews.file_id)]
WHERE file_id = ANY(%(ids)s::uuid[]) AND EXISTS (SELECT FROM copied)
