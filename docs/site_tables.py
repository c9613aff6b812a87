"""Tables that can be read on a phone, as an extension of the Sphinx build of the documentation's site.

A table with sentences gets the class `prose`. On a narrow screen `_static/site.css` shows its rows below each other, and a row's
cells, too. With more than two columns, each cell begins with the name of its column there.
"""

from docutils import nodes

LONGEST_FIGURE = 40
"""A table with a cell of more characters has sentences. Others are figures, which are compared by columns."""


def mark(app, doctree, docname):
    """Mark the tables with sentences, and name the columns."""
    for table in doctree.findall(nodes.table):
        head, *rows = [row.children for row in table.findall(nodes.row)]
        if not any(len(cell.astext()) > LONGEST_FIGURE for row in rows for cell in row):
            continue
        table["classes"].append("prose")
        for row in rows if len(head) > 2 else []:
            for title, cell in list(zip(head, row, strict=True))[1:]:
                if cell.astext() and title.astext():
                    cell[0].insert(0, nodes.inline("", f"{title.astext()}: ", classes=["column", "no-search"]))


def setup(app):
    app.connect("doctree-resolved", mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
