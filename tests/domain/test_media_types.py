import pytest

from docvault.domain.media_type_names import REFUSED_NAMES, describe_media_type
from docvault.domain.media_types import DEFAULT_MEDIA_TYPES, KINDS, Inline, may_be_inline
from docvault.inspection import containers, images, office, ole, rejected_formats, text, xml


@pytest.mark.req("B-085")
def test_kind_to_switch_on_is_never_inline() -> None:
    others = [kind for kind in KINDS if not kind.is_default]

    assert {kind.inline for kind in others} == {Inline.NEVER}
    assert not any(may_be_inline(kind.media_type, is_active=False) for kind in others)


@pytest.mark.req("B-085")
def test_avif_is_accepted_by_default_and_may_be_inline() -> None:
    assert "image/avif" in DEFAULT_MEDIA_TYPES
    assert may_be_inline("image/avif", is_active=False)


def test_only_kinds_that_browsers_show_may_be_inline() -> None:
    inline = {k.media_type for k in KINDS if may_be_inline(k.media_type, is_active=False)}

    assert inline == {
        "image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "application/pdf",
    }  # fmt: skip
    assert not may_be_inline("application/pdf", is_active=True)


@pytest.mark.req("B-085")
@pytest.mark.parametrize(
    "media_type",
    sorted(
        {
            *(media_type for _, _, media_type in rejected_formats._SIGNATURES),
            *(media_type for _, media_type in text._SIGNATURES),
            *office._MAIN_PARTS.values(),
            *office._OTHER_ODF,
            *images._OTHER_BRANDS.values(),
            *containers._PROGRAMS.values(),
            *ole._KINDS.values(),
            *xml._REFUSED_ROOTS.values(),
            ole._OTHER,
        }
    ),
)
def test_every_recognized_kind_has_a_name(media_type: str) -> None:
    assert describe_media_type(media_type).endswith(f" ({media_type})")


def test_kind_is_either_stored_or_refused() -> None:
    assert not REFUSED_NAMES.keys() & {kind.media_type for kind in KINDS}
