"""A reader of form bodies: Werkzeug's parser, with urlencoded forms read in slices."""

from __future__ import annotations

from typing import IO, Any

from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from errklein.webhooks.urlencoded import BadForm, parse_urlencoded


class FormParser(FormDataParser):
    """Werkzeug's, except that a large urlencoded form holds nobody up, and is refused if there is too much in it."""

    def parse(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, Any]]:
        """The stream, what may be left of it, the fields and the files."""
        if mimetype != "application/x-www-form-urlencoded":
            return super().parse(stream, mimetype, content_length, options)
        form = stream.read()
        try:
            form.decode()
            fields = self.cls(parse_urlencoded(form, errors="werkzeug.url_quote"))
        except BadForm as error:
            raise RequestEntityTooLarge(str(error)) from None
        except UnicodeDecodeError:
            fields = self.cls()
        return stream, fields, self.cls()
