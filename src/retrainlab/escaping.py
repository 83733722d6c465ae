"""What people named, kept as the text that it is where it becomes Markdown or a cell of a table.

Where it becomes HTML, `html.escape` does so.
"""

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # spreadsheets run a cell that begins so
_MARKUP = str.maketrans({sign: f"&#{ord(sign)};" for sign in "&<>\\`*_[]#|~$!"})


def markdown(text: object) -> str:
    """Show a text as it is in Markdown, on one line: no markup, link, formula or tag of its own."""
    shown = " ".join(str(text).split()).translate(_MARKUP)
    return shown.replace("://", "&#58;//")  # an address would become a link


def cell(text: str) -> str:
    """Keep spreadsheets from taking a cell of a table for a formula: an apostrophe goes before it.

    Source: OWASP, CSV Injection (owasp.org/www-community/attacks/CSV_Injection).
    """
    return f"'{text}" if text.startswith(FORMULA) else text
