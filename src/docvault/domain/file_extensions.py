"""File name extensions and the media types they stand for (D20)."""

from docvault.domain.filenames import append_extension
from docvault.domain.media_types import KINDS, RTF

# The media types an extension stands for.
_EXTENSIONS: dict[str, frozenset[str]] = {
    extension: frozenset(kind.media_type for kind in KINDS if extension in kind.extensions)
    for kind in KINDS
    for extension in kind.extensions
}

# Programs write the newer format under the name of the older one, and open either.
_ALSO_NAMED = {RTF: frozenset({"doc"})}

# Extensions of files that are executed, whatever their content, by the programs named below.
_DANGEROUS = frozenset(
    extension
    for extensions in (
        # browsers and mail programs
        "htm html shtml xhtml xht mht mhtml eml hta htc svg svgz xml xsl xslt swf js mjs cjs",
        # Windows
        "jse ts vbs vbe wsf wsh wsc sct ps1 psm1 psd1 bat cmd com exe dll scr pif cpl msi msp",
        "jar jnlp class lnk url website reg inf scf vbscript gadget msc ahk au3 rdp",
        "ovpn library-ms search-ms settingcontent-ms appref-ms application diagcab",
        "theme themepack chm hlp",
        # macOS, Linux, Android
        "command app dmg pkg webloc sh bash zsh desktop deb rpm elf apk py pyc pyw pl rb",
        "ksh csh tcsh fish lua run inetloc fileloc terminal workflow action scpt applescript",
        # web servers
        "php php3 php4 php5 php7 php8 phps pht phtml phar asp aspx asa asax ashx asmx ascx cer",
        "cfm cfml jsp jspx jspf war ear cgi fcgi htaccess",
        # office suites, for macros and for what is fetched or run when it is opened
        "docm dotm xlsm xltm xlam xlsb pptm potm ppsm ppam sldm",
        "slk sylk iqy oqy rqy dqy xll wll xlm odc",
    )
    for extension in extensions.split()
)


# Also the ends of names of web sites, as in "Invoice amazon.com", and of some programs.
_DOMAINS = frozenset({"com", "pl", "app", "py", "sh", "run", "link", "website"})
_TEXTS = frozenset({"text/plain", "text/csv"})


def extension_of(filename: str) -> str:
    """Return what follows the last dot, in lower case, as Windows sees it: `a.PHP. ` is php."""
    return filename.rstrip(" .").lower().rpartition(".")[2] if "." in filename else ""


def extensions_of(media_type: str) -> tuple[str, ...]:
    """Return the extensions of a known media type, the usual one first."""
    return next(kind.extensions for kind in KINDS if kind.media_type == media_type)


def contradicts(extension: str, media_type: str, *, is_active: bool) -> bool:
    """Return whether a file of this type must not have the extension.

    The bytes decide, and `named_after_type` appends the right extension. But nobody gives
    a picture the extension of a program by mistake, and a file that may run something must look
    like what it is.
    """
    meant = _EXTENSIONS.get(extension, frozenset())
    if media_type in meant or extension in _ALSO_NAMED.get(media_type, ()):
        return False
    if extension in _DOMAINS:
        return media_type in _TEXTS
    return extension in _DANGEROUS or (is_active and bool(meant))


def named_after_type(filename: str, media_type: str) -> str:
    """Return the name, with the extension of its type appended unless it has one.

    Programs go by the last extension, and even an unlisted one may be dangerous: `a.udl` is text
    that Windows opens as a connection to a server, so it becomes `a.udl.txt`.
    """
    if media_type in _EXTENSIONS.get(extension_of(filename), ()):
        return filename
    return append_extension(filename, extensions_of(media_type)[0])
