"""How forms are read, and their fields and query parameters as bottle has them."""

from __future__ import annotations

from collections.abc import Iterator
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


class FormsDict(MultiDict[str, str]):
    """Fields by name; of several of the same name the last one. As attributes, fields that aren't there are ''."""

    def __getitem__(self, key: str) -> str:
        values = self.getlist(key)
        if not values:
            raise KeyError(key)
        return values[-1]

    def get(self, key: str, default: Any = None, index: int = -1, type: Any = None) -> Any:  # type: ignore[override]
        """The field, of several the one at `index`, made a `type`; `default` if there is none that can be."""
        try:
            value = self.getlist(key)[index]
            return value if type is None else type(value)
        except (LookupError, ValueError, TypeError):
            return default

    def getall(self, key: str) -> list[str]:
        """All fields of that name."""
        return self.getlist(key)

    def getunicode(self, name: str, default: Any = None, encoding: str | None = None) -> Any:
        """The field as text, which it is."""
        return self.get(name, default)

    def allitems(self) -> Iterator[tuple[str, str]]:
        """All names and fields, several of the same name too."""
        return iter(self.items(multi=True))

    def decode(self, encoding: str | None = None) -> FormsDict:
        """The same fields as text, which they are."""
        return self

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        value: str = self.get(name, "")
        return value
