"""Office Open XML: what runs, fetches, or is embedded (ECMA-376)."""

import re

from docvault.domain import media_types
from docvault.inspection.formulas import MENTIONS, calls_active_function, without_texts
from docvault.inspection.office_package import Package, UninspectablePart, local_name
from docvault.inspection.result import Content

# Macros (VBA and Excel 4 macro sheets), and links to other workbooks.
_ACTIVE_NAMES = re.compile(r"vbaproject\.bin$|(?:^|/)(?:macrosheets|externallinks)/")
_EMBEDDED = re.compile(r"(?:^|/)embeddings/")
# The workbook behind a chart, for example; other programs, packages of OLE and documents with
# macros can run when they are clicked.
_WITHOUT_MACROS = re.compile(r"\.(?:docx|xlsx|pptx)$")
_CHART = re.compile(r"(?:^|/)charts/")
# Parts of content types, wherever the part is in the archive: macros, controls, OLE objects, links
# to other workbooks (also by DDE), connections to data, and add-ins of web pages.
_ACTIVE_KINDS = (
    "vbaproject", "macrosheet", "activex", "officedocument.oleobject", "externallink+xml",
    "connections+xml", "webextension+xml",
)  # fmt: skip
_ATTACHED_KINDS = ("officedocument.oleobject", "officedocument.package")
# The last part of the type of a relationship. An `afchunk` is a file of another type that is
# imported when the document is opened.
_ATTACHED_RELATIONSHIPS = frozenset({"oleobject", "package", "afchunk"})
_ACTIVE_RELATIONSHIPS = _ATTACHED_RELATIONSHIPS | {
    "vbaproject", "control", "externallink", "externallinkpath", "connections", "attachedtemplate",
    "webextension",
}  # fmt: skip

# Clicks on a slide that start a program, a macro or an OLE object; others go to another slide.
_ACTIONS = ("ppaction://program", "ppaction://macro", "ppaction://ole")
# Fields that start a program or read another file when they are updated. Those of the second group
# only matter with an address: pasted mails have names of pictures that are nowhere.
_ACTIVE_FIELDS = frozenset({"DDE", "DDEAUTO", "LINK"})
_FETCHING_FIELDS = frozenset({"IMPORT", "INCLUDE", "INCLUDEPICTURE", "INCLUDETEXT"})
_ADDRESS = re.compile(r"//|\\\\")
_STRINGS = "sharedstrings+xml"
# Elements with a formula: of a cell, a name, a format, a rule for values, a column of a table.
_FORMULAS = frozenset(
    {"f", "definedName", "formula", "formula1", "formula2", "calculatedColumnFormula"}
)
# A formula of DDE is `program|topic!item`. No operator has this character, but a sheet may.
_DDE = "|"
_QUOTED_NAME = re.compile(r"'[^']*'")
# The longest name of a field and blanks around it, more than Word itself accepts.
_MAX_INSTRUCTION = 4_096


def inspect_ooxml(package: Package) -> Content:
    """Return the facts of a document whose main part is known."""
    search = _Search(package)
    try:
        search.run()
    except UninspectablePart:
        search.is_active = True
    return Content(package.media_type, search.is_active, search.has_attachments)


class _Search:
    """A search of all parts of a document."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self.is_active = False
        self.has_attachments = False

    def run(self) -> None:
        for name in self._package.entries:
            self._check_name(name)
        for kind, _ in self._package.content_types:
            self.is_active |= any(part in kind for part in _ACTIVE_KINDS)
            self.has_attachments |= any(part in kind for part in _ATTACHED_KINDS)
        for name in self._package.entries:
            if name.endswith(".rels"):
                self._check_relationships(name)
        match self._package.media_type:
            case media_types.DOCX:
                names, check = self._texts(), self._check_fields
            case media_types.XLSX:
                names, check = self._sheets(), self._check_formulas
            case _:
                names, check = self._xml_parts(), self._check_actions
        for name in names:
            check(name)

    def _check_name(self, name: str) -> None:
        is_embedded = _EMBEDDED.search(name) is not None
        self.has_attachments |= is_embedded
        self.is_active |= _ACTIVE_NAMES.search(name) is not None
        self.is_active |= is_embedded and not _WITHOUT_MACROS.search(name)

    def _check_relationships(self, name: str) -> None:
        is_of_chart = _CHART.search(name) is not None

        def check(element: str, attributes: dict[str, str]) -> None:
            if local_name(element) != "Relationship":
                return
            kind = attributes.get("Type", "").strip().rpartition("/")[2].lower()
            is_external = attributes.get("TargetMode", "").strip().lower() == "external"
            target = attributes.get("Target", "").strip().lower()
            is_workbook = kind == "package" and is_of_chart and _WITHOUT_MACROS.search(target)
            self.is_active |= is_external and kind != "hyperlink"
            self.is_active |= kind in _ACTIVE_RELATIONSHIPS and not is_workbook
            self.has_attachments |= kind in _ATTACHED_RELATIONSHIPS and not is_external

        self._package.parse(name, check)

    def _check_actions(self, name: str) -> None:
        def check(_: str, attributes: dict[str, str]) -> None:
            action = attributes.get("action", "").strip().lower()
            self.is_active |= action.startswith(_ACTIONS)

        self._package.parse_if_mentioned(name, (b"action",), check)

    def _xml_parts(self) -> list[str]:
        return [name for name in self._package.entries if name.endswith(".xml")]

    def _sheets(self) -> list[str]:
        """Return the parts that may have formulas: not the texts of cells, which are long."""
        kinds = self._package.content_types
        texts = {part.lstrip("/").casefold() for kind, part in kinds if part and _STRINGS in kind}
        return [name for name in self._xml_parts() if name not in texts]

    def _check_formulas(self, name: str) -> None:
        formulas = _Formulas()
        mentions = (*MENTIONS, _DDE.encode())
        self._package.parse_if_mentioned(name, mentions, formulas.on_element, formulas.on_text)
        self.is_active |= formulas.are_active()

    def _texts(self) -> list[str]:
        """Return the parts that may have fields, whatever their name."""
        kinds = [(k, p) for k, p in self._package.content_types if "wordprocessingml" in k]
        declared = {part.lstrip("/").casefold() for _, part in kinds if part}
        if None in [part for _, part in kinds]:
            # By an extension, of whatever kind. No program writes that.
            return list(self._package.entries)
        return [name for name in self._package.entries if name.endswith(".xml") or name in declared]

    def _check_fields(self, name: str) -> None:
        fields = _Fields()
        self._package.parse_if_mentioned(name, (b"instr",), fields.on_element, fields.on_text)
        self.is_active |= fields.are_active()


class _Formulas:
    """The formulas of a part, each joined from the pieces that the parser passes on."""

    def __init__(self) -> None:
        self._is_active = False
        self._is_formula = False
        self._pieces: list[str] = []

    def on_element(self, element: str, _: dict[str, str]) -> None:
        """Handle the start of an element."""
        self._check()
        self._is_formula = local_name(element) in _FORMULAS

    def on_text(self, text: str) -> None:
        """Handle the text of an element."""
        if self._is_formula:
            self._pieces.append(text)

    def are_active(self) -> bool:
        """Return whether any formula is active, the last one included."""
        self._check()
        return self._is_active

    def _check(self) -> None:
        code = without_texts("".join(self._pieces))
        self._pieces.clear()
        self._is_active |= calls_active_function(code) or _DDE in _QUOTED_NAME.sub("", code)


class _Fields:
    """The instructions of the fields of a part, each joined from the runs of its text."""

    def __init__(self) -> None:
        self._is_active = False
        # Those of the fields around the current text, the innermost one last.
        self._open: list[str] = [""]
        self._is_instruction = False

    def on_element(self, element: str, attributes: dict[str, str]) -> None:
        """Handle the start of an element."""
        name = local_name(element)
        self._is_instruction = name in {"instrText", "delInstrText"}
        values = {local_name(key): value for key, value in attributes.items()}
        if name == "fldSimple":
            self._check(values.get("instr", ""))
        elif name == "fldChar":
            self._change_level(values.get("fldCharType", ""))

    def on_text(self, text: str) -> None:
        """Handle the text of an element."""
        if self._is_instruction and len(self._open[-1]) < _MAX_INSTRUCTION:
            self._open[-1] += text

    def are_active(self) -> bool:
        """Return whether any field is active, those that do not end included."""
        for instruction in self._open:
            self._check(instruction)
        return self._is_active

    def _change_level(self, kind: str) -> None:
        if kind == "begin":
            if len(self._open) > _MAX_INSTRUCTION:
                raise UninspectablePart
            self._open.append("")
        elif kind == "end" and len(self._open) > 1:
            self._check(self._open.pop())

    def _check(self, instruction: str) -> None:
        name = (instruction.split(None, 1) or [""])[0].upper()
        self._is_active |= name in _ACTIVE_FIELDS
        self._is_active |= name in _FETCHING_FIELDS and _ADDRESS.search(instruction) is not None
