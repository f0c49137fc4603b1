import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docvault.api.http.content_disposition import Disposition, parse_disposition

NAME = "Kündigung Müller \u2013 5 €.pdf"
QUOTED = "K%C3%BCndigung%20M%C3%BCller%20%E2%80%93%205%20%E2%82%AC.pdf"
WORD = f"=?utf-8?B?{base64.b64encode(NAME.encode()).decode()}?="
Q_WORD = "=?UTF-8?Q?K=C3=BCndigung_M=C3=BCller_=E2=80=93_5_=E2=82=AC.pdf?="


def filename_of(parameters: str | bytes) -> str | None:
    """Return the file name of a part with these parameters."""
    raw = parameters.encode() if isinstance(parameters, str) else parameters
    disposition = parse_disposition(b'form-data; name="file"; ' + raw)
    assert disposition is not None
    assert disposition.name == "file"
    return disposition.filename


@pytest.mark.parametrize(
    "parameters",
    [
        f'filename="{NAME}"',
        f'filename="{NAME}"'.encode("cp1252"),
        f'filename="{WORD}"',
        f"filename={WORD}",
        f"filename=\"{WORD}\"; filename*=utf-8''{QUOTED}",
        f'filename="{Q_WORD}"',
        "filename*=utf-8''" + QUOTED,
        "filename*=UTF-8'de'" + QUOTED,
        f"filename*=\"utf-8''{QUOTED}\"",
        f"filename*=''{QUOTED}",
        f"filename*={QUOTED}",
        f"FileName* = utf-8''{QUOTED}",
        f"filename*=utf-8''{QUOTED}; filename=\"Kuendigung.pdf\"",
        f"filename*0*=utf-8''{QUOTED[:20]}; filename*1*={QUOTED[20:]}",
        f"filename*1*={QUOTED[21:]}; filename*0*=utf-8''{QUOTED[:21]}",
        f'filename="{QUOTED}"',
        f'filename="{QUOTED.lower().replace("k", "K", 1).replace("m", "M")}"',
        "filename*=windows-1252''K%FCndigung%20M%FCller%20%96%205%20%80.pdf",
        "filename*=iso-8859-1''K%FCndigung%20M%FCller%20%96%205%20%80.pdf",
        'filename="=?iso-8859-1?Q?K=FCndigung_M=FCller_=96_5_=80.pdf?="',
        'filename="=?utf-8?Q?K=C3=BCndigung_M=C3?=  =?utf-8?Q?=BCller_=E2=80=93_5_=E2=82=AC?=.pdf"',
    ],
)
@pytest.mark.req("B-098")
def test_filename_is_decoded_as_it_was_meant(parameters: str | bytes) -> None:
    assert filename_of(parameters) == NAME


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        ("filename=a.pdf", "a.pdf"),
        ('filename=""', ""),
        ("filename*=utf-8''; filename=a.pdf", "a.pdf"),
        ('filename="a%22b%0D%0Ac d.pdf"', 'a"bc d.pdf'),
        (r'filename="a\"b.pdf"', 'a"b.pdf'),
        (r'filename="C:\Users\a.pdf"', "a.pdf"),
        ("filename=\"a; filename*=utf-8''b.pdf\"", "a; filename*=utf-8''b.pdf"),
        ('filename*0="long "; filename*1="name.pdf"', "long name.pdf"),
        ('filename*0="100%"; filename*1="41.pdf"', "100%41.pdf"),
        ('filename="100% sure.pdf"', "100% sure.pdf"),
        ('filename="100%25 sure.pdf"', "100%25 sure.pdf"),
        ('filename="a%FF.pdf"', "a%FF.pdf"),
        ('filename="a%2Fb.pdf"', "a%2Fb.pdf"),
        ('filename="a%00b.pdf"', "a%00b.pdf"),
        ('filename="ü%C3%BC.pdf"', "ü%C3%BC.pdf"),
        ('filename="=?utf-8?B?YWJjZ?=.pdf"', "=?utf-8?B?YWJjZ?=.pdf"),
        ('filename="=?what.pdf"', "=?what.pdf"),
        ('filename="=?punycode?Q?a?=.pdf"', "a.pdf"),
        ("filename*=zlib''a%FC.pdf", "aü.pdf"),
        ("filename*=utf-8''a%FC.pdf", "aü.pdf"),
        ('filename="&#344;\xedjen &#8211; &#128196;.pdf"', "Říjen \u2013 📄.pdf"),
        ('filename="&#65;&#039;&#9999999;&amp;.pdf"', "&#65;&#039;&#9999999;&amp;.pdf"),
        ("filename*1=b.pdf", None),
    ],
)
def test_filename_is_decoded_on_evidence_only(parameters: str, filename: str | None) -> None:
    assert filename_of(parameters) == filename


def test_field_has_no_filename() -> None:
    assert parse_disposition(b"form-data; name=x") == Disposition("x", None)


@pytest.mark.parametrize("header", [None, b"", b"form-data", b"attachment; name=x", b'name="x"'])
def test_other_headers_are_not_of_form_fields(header: bytes | None) -> None:
    assert parse_disposition(header) is None


@given(st.binary(max_size=200), st.sampled_from([b"filename=", b'filename="', b"filename*="]))
def test_any_filename_is_decoded(raw: bytes, parameter: bytes) -> None:
    assert parse_disposition(b"form-data; name=x; " + parameter + raw) is not None


@pytest.mark.parametrize(
    "unit",
    [
        b';a="\\',
        b';a="',
        b";",
        b"; ",
        b"=?a?q?x",
        b"=?utf-8?q?a?= ",
        b"%41",
        b"'",
        b"filename*1=x;",
    ],
)
@pytest.mark.parametrize("parameter", [b"filename=", b'filename="', b"filename*="])
def test_crafted_header_is_parsed_quickly(unit: bytes, parameter: bytes) -> None:
    header = b"form-data; name=x; " + parameter + unit * (8192 // len(unit))
    start = time.process_time()
    parse_disposition(header)
    assert time.process_time() - start < 0.1
