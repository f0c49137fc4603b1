"""The portal and its settings."""

from collections.abc import Sequence

from docvault.domain.customers import Customer
from docvault.domain.document_status import totals
from docvault.domain.documents import Document
from docvault.domain.gate import evaluate_gate
from docvault.domain.introductions import IntroductionFormat
from docvault.domain.portal import PortalSettings
from docvault.presenters.customers import present_totals
from docvault.presenters.gate import present_gate
from docvault.schemas.portal_settings import (
    IntroductionRead,
    PortalIntroduction,
    PortalRead,
    PortalSettingsRead,
)


def present_portal_settings(settings: PortalSettings) -> PortalSettingsRead:
    """Present the portal settings for staff."""
    introduction = None
    if settings.introduction_format is not None:
        introduction = IntroductionRead(
            format=IntroductionFormat(settings.introduction_format),
            source=settings.introduction_source or "",
            html=settings.introduction_html or "",
        )
    return PortalSettingsRead(
        section_enabled=settings.section_enabled,
        gate_enabled=settings.gate_enabled,
        customer_may_delete=settings.customer_may_delete,
        introduction=introduction,
    )


def present_portal(
    settings: PortalSettings, customer: Customer, documents: Sequence[Document]
) -> PortalRead:
    """Present what a customer's front end needs."""
    html = settings.introduction_html
    return PortalRead(
        name=customer.data.name,
        section_enabled=settings.section_enabled,
        introduction=None if html is None else PortalIntroduction(html=html),
        gate=present_gate(evaluate_gate(documents, enforced=settings.gate_enabled)),
        documents=present_totals(totals(documents)),
    )
