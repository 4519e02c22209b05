"""Opens the change log of a catalog by a setting."""

from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ChangeLogError

if TYPE_CHECKING:  # settings read this module in processes that never open a log, and load no numpy
    from catalog.change_log.protocol import ChangeLog

CHANGES_FOLDER = "changes"  # in the catalog's folder
_SCHEMES = ("redis://", "rediss://", "unix://")


def change_log_setting(value: str) -> str:
    """The setting. Raises ValueError for one that names no change log."""
    if value and not value.startswith(_SCHEMES):
        raise ValueError("has to be empty, for files beside the releases, or begin with redis://, rediss:// or unix://")
    return value


def open_change_log(setting: str, folder: Path, catalog: str) -> "ChangeLog":
    """The change log of a catalog: files in `folder`, or where `setting` is a URL, a stream of that Redis server.

    Nothing is made before the first append. Raises ChangeLogError for another setting, MissingPackageError for Redis
    without its package.
    """
    if not setting:
        from catalog.change_log.file import FileChangeLog

        return FileChangeLog(folder)
    try:
        change_log_setting(setting)
    except ValueError as error:
        raise ChangeLogError(f"the setting of the change log {error}") from None
    from catalog.change_log.redis import RedisChangeLog

    return RedisChangeLog(setting, catalog)
