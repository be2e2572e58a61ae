"""Reads HTML strictly: every element closed in order, no attribute twice."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "br", "hr", "source", "wbr"}


class PageReader(HTMLParser):
    """Elements with their attributes and text, in order; raises AssertionError where the nesting is wrong."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[int] = []
        self.order: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.texts: list[str] = []
        self.parents: list[list[int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>"
        self.order.append(tag)
        self.attributes.append(dict(attrs))
        self.texts.append("")
        self.parents.append(list(self.open))
        if tag not in VOID:
            self.open.append(len(self.order) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.order[self.open[-1]] == tag, f"</{tag}> closes <{self.order[self.open[-1]]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for number in self.open:
            self.texts[number] += data

    def _places(self, path: str) -> list[int]:
        *above, tag = path.split()
        return [
            number
            for number, name in enumerate(self.order)
            if name == tag and all(any(self.order[parent] == want for parent in self.parents[number]) for want in above)
        ]

    def find(self, path: str) -> list[dict[str, str | None]]:
        """Attributes of the elements of that name, inside elements of the names before it."""
        return [self.attributes[number] for number in self._places(path)]

    def text(self, path: str) -> str:
        """Text of the first of them."""
        return self.texts[self._places(path)[0]]


def read_page(text: str) -> PageReader:
    """Parse all of it; AssertionError where an element is left open or closed out of order."""
    reader = PageReader()
    reader.feed(text)
    reader.close()
    assert not reader.open, f"left open: {[reader.order[number] for number in reader.open]}"
    return reader
