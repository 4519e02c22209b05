"""A request may ask for a revision at least: whoever changed the catalog reads what was written."""

import asyncio

from retrieval.live.writer import RevisionNotThere
from retrieval.release.loaded import LoadedRelease

_LONGEST_SECONDS = 1.0  # changes take a tenth of it to come from another process


async def reach_revision(release: LoadedRelease, revision: int, deadline: float) -> None:
    """Waits until searches of the release see the revision. Raises RevisionNotThere where that takes too long, or the
    log does not have it either."""
    if revision <= release.view.revision:
        return
    loop = asyncio.get_running_loop()
    if release.live is not None and await release.live.knows(revision):
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + _LONGEST_SECONDS)):
                await release.live.writer.wait(revision)
            return
        except TimeoutError:
            pass
    raise RevisionNotThere(f"revision {revision} is not here yet, {release.view.revision} is: try again shortly")
