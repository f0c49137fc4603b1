"""What a file name's extension promises (SECURITY D20)."""

from docvault.rules.office_content import DOCX, ODP, ODS, ODT, PPTX, XLSX

# The media types an extension may stand for.
_EXTENSIONS: dict[str, frozenset[str]] = {
    extension: frozenset(media_types.split())
    for extensions, media_types in (
        ("jpg jpeg jpe jfif", "image/jpeg"),
        ("png", "image/png"),
        ("webp", "image/webp"),
        ("gif", "image/gif"),
        ("tif tiff", "image/tiff"),
        ("heic heif hif", "image/heic image/heif"),
        ("pdf", "application/pdf"),
        ("docx", DOCX),
        ("xlsx", XLSX),
        ("pptx", PPTX),
        ("odt", ODT),
        ("ods", ODS),
        ("odp", ODP),
        ("txt", "text/plain"),
        ("csv", "text/csv"),
    )
    for extension in extensions.split()
}

# Files so named are run, whatever their bytes, by the program the comment names.
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


def extension_of(filename: str) -> str:
    """What follows the last dot, in lower case, as Windows sees it: `a.PHP. ` is php."""
    return filename.rstrip(" .").lower().rpartition(".")[2] if "." in filename else ""


def contradicts(extension: str, media_type: str) -> bool:
    """Whether the extension stands for another stored type, or for something dangerous."""
    expected = _EXTENSIONS.get(extension, frozenset({media_type}))
    return media_type not in expected or extension in _DANGEROUS
