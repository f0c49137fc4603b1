"""Strings that are known to break programs, and hostile file names."""

import unicodedata

TEXTS: list[str] = [
    "undefined", "null", "NULL", "(null)", "nil", "None", "true", "False", "NaN", "Infinity", "-1/0",
    "0", "-0", "1e1000", "0x0", "1,000.00", "9223372036854775808", "1_0", "\u0661\u0662\u0663",
    "'", '"', "`", "''", "\\", "\\'", "' OR '1'='1", "1; DROP TABLE customers--", "%", "_", "%_%", "\\%",
    "$1", ":name", "%s", "%(x)s", "%n%n%n", "{0}", "{x.__class__}", "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7 %>",
    "$(touch /tmp/x)", "`id`", "; id", "| id", "&& id", "--help", "-rf", "@x", "=1+1", "+1", "-1+1", "\t=1",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "javascript:alert(1)", "<svg/onload=x>",
    "&lt;b&gt;", "&#0;", "]]>", "<!--", "<?xml version='1.0'?>", "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///x'>]>",
    "../../etc/passwd", "..\\..\\x", "/etc/passwd", "C:\\x", "\\\\host\\share", "file:///x", "con", "NUL.txt",
    "http://a/%%30%30", "%00", "%0d%0a", "%2e%2e%2f", "a\r\nSet-Cookie: x=1", "a\nb", "a\rb", "\x85", "\u2028",
    "\x01\x02\x1f\x7f", "\x1b[31m", "\x08\x08", "\ufeffa", "a\u200bb", "\u202ea\u202c", "\u2066a\u2069", "\u061c",
    "\u00ad", "\u180e", "\u3000", "\u00a0", "\u2060", "\ufffe", "\uffff", "\U0010ffff", "\U000e0001", "\ue000",
    "\u0300", "Z\u0351\u0346\u0300" * 8, "e\u0301", "\u00e9", "\u1e9e", "ﬁ", "İ", "ı", "ß", "Ω\u2126", "\u212a",
    "田中さん", "사회과학원", "﷽", "مرحبا", "שלום", "ไทย", "\U00020bb7", "😀", "👩‍👩‍👧‍👦", "🇩🇪", "👍🏿", "ÅÄÖ",
    " a", "a ", "  ", "\t", "a  b", ".", "..", "...", ".a", "a.", "-", "_", "~", "*", "?", "|", "<>", ":", "/", "\\",
    "a" * 199, "é" * 199, "😀" * 199, "\u0301" * 199, '{"level":"error"}', '\n{"level":"error"}', "[]", "{}", ",;",
    "Powerَُلُلصّبُلُلصّبُررً ॣ ॣh ॣ ॣ冗", "జ్ఞా", "\u0c1c\u0c4d\u200c\u0c1e", "x" * 65, "a\u0000b", "\u0000",
]  # fmt: skip

_DEVICES = [
    f"{device}{end}" for device in ("CON", "aux", "COM1", "LPT9") for end in ("", ".txt", ":")
]
NAMES: list[str] = [
    *TEXTS, *_DEVICES,
    *(f"a.{first}.{last}" for first in ("php", "jsp", "exe", "html") for last in ("pdf", "jpg")),
    *(f"a.pdf{end}" for end in (".", " ", "::$DATA", "%00.exe", "\u0000.exe", ";.exe", "/", "\\", "\u202eexe")),
    *("../" * depth + "x.pdf" for depth in (1, 3, 20)), "..%2f..%2fx.pdf", "%252e%252e%252fx.pdf", "....//x.pdf",
    "..\\x.pdf", "/x.pdf", "\\x.pdf", "~/x.pdf", ".htaccess", "web.config", "a" * 255, "a" * 256, "é" * 127 + ".pdf",
    "é" * 128, "😀" * 64, "a" * 4000 + ".pdf", "a;filename=b.exe", 'a"; filename="b.exe', "a'b''c.pdf", "UTF-8''x",
    "=?utf-8?q?x?=", "a\tb.pdf", "\u0130.pdf", "\uff0e\uff0e\uff0fx", "x\u2215y.pdf", "\u2024\u2024/x.pdf",
    unicodedata.normalize("NFD", "Ålesund é.pdf"),
]  # fmt: skip

# Control characters: NUL, white space, ESC, DEL, NEL and CSI.
CONTROLS = "\0\t\n\r\x1b\x7f\x85\x9b"
