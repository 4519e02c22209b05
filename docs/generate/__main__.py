"""Writes every generated page: `python -m docs.generate`."""

from docs.generate.pages import DOCS, PAGES

for name, make in PAGES.items():
    path = DOCS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(make(), encoding="utf-8")
    print(f"wrote docs/{name}")
