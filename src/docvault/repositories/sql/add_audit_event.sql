{new_audit_event}
