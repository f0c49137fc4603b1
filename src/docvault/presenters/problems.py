"""Errors as problem details (RFC 9457)."""

from uuid import UUID

from docvault.errors import DocvaultError
from docvault.schemas.problems import Problem, ProblemError, ProblemParams

TYPE_PREFIX = "urn:docvault:problem:"


def present_problem(error: DocvaultError, request_id: UUID) -> Problem:
    """Present an error that ended a request, or one item of it."""
    return Problem(
        type=TYPE_PREFIX + error.code,
        title=error.title(),
        status=error.status,
        detail=error.detail,
        instance=f"urn:uuid:{request_id}",
        code=error.code,
        errors=[
            ProblemError(
                pointer=item.pointer,
                parameter=item.parameter,
                code=item.code,
                detail=item.detail,
                params=ProblemParams(**item.params),
            )
            for item in error.errors
        ],
        **error.members,
    )
