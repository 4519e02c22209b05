"""Entries of change logs for tests."""

from catalog.changes import Change, ChangeKind, NewEntry


def upsert(product_id: str, version: int = 0, **fields: object) -> Change:
    return Change(ChangeKind.upsert, product_id, version, {"id": product_id, "title": product_id, **fields})


def delete(product_id: str, version: int = 0) -> Change:
    return Change(ChangeKind.delete, product_id, version)


def update(product_id: str, version: int = 0, **fields: object) -> Change:
    return Change(ChangeKind.update_fields, product_id, version, fields)


def entry(request_id: str, *changes: Change, time: int = 1_700_000_000_000) -> NewEntry:
    return NewEntry(time, request_id, changes or (upsert(request_id),))
