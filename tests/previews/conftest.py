"""Rendering of bytes as the service renders files."""

from pathlib import Path
from typing import Protocol

import pytest

from docvault.domain.previews import PreviewSize
from docvault.previews.renderer import PreviewRenderer, RenderedPreview


class Render(Protocol):
    """Renders a page of a file."""

    async def __call__(
        self,
        source: bytes,
        media_type: str,
        size: PreviewSize = PreviewSize.medium,
        page: int = 1,
    ) -> RenderedPreview:
        """Raises as `PreviewRenderer.render`."""


@pytest.fixture
def render(tmp_path: Path) -> Render:
    async def rendered(
        source: bytes,
        media_type: str,
        size: PreviewSize = PreviewSize.medium,
        page: int = 1,
    ) -> RenderedPreview:
        path = tmp_path / "source"
        path.write_bytes(source)
        return await PreviewRenderer().render(path, media_type, size, page)

    return rendered
