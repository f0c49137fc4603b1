"""`docvault verify`: compares the database with the stored files."""

import sys

import typer
from rich.progress import Progress

from docvault.cli.resources import run
from docvault.repositories.blobs import BlobPlace
from docvault.services.resources import Resources
from docvault.services.verification import Findings, count_stored_blobs, describe_blobs, verify


def print_findings(*, rehash: bool) -> bool:
    """Verify the store and print what was found; return whether there was nothing to find."""

    async def check(resources: Resources) -> Findings:
        total = await count_stored_blobs(resources)
        with Progress(disable=not sys.stdout.isatty()) as bar:
            task = bar.add_task("verifying", total=total)
            findings = await verify(
                resources, rehash=rehash, progress=lambda steps: bar.advance(task, steps)
            )
        await _print_details(resources, findings)
        return findings

    findings = run(check)
    typer.echo(
        f"{findings.checked} checked, {len(findings.missing)} missing, "
        f"{len(findings.corrupt)} corrupt, {len(findings.orphaned)} orphaned, "
        f"{len(findings.unapplied)} erasures to reapply"
    )
    return findings.is_clean


async def _print_details(resources: Resources, findings: Findings) -> None:
    """Print each key and the document it belongs to: on standard output, never in a log."""
    for label, keys in (
        ("missing", findings.missing),
        ("corrupt", findings.corrupt),
        ("orphaned", findings.orphaned),
    ):
        async for key, place in describe_blobs(resources, keys):
            typer.echo(f"{label}: {key}" + (f" ({_format_place(place)})" if place else ""))
    for customer_id in findings.unapplied:
        typer.echo(f"to reapply: the erasure of customer {customer_id} (internal id)")


def _format_place(place: BlobPlace) -> str:
    text = (
        f"customer {place.customer_id}, document {place.document_type}, "
        f"version {place.version}, file {place.file}"
    )
    return f"{text}, preview {place.preview}" if place.preview else text
