"""The id of a request, which names it in logs, traces and answers."""

import uuid

from retrieval.wire.status import Metadata
from text.masking_on_demand import mask_if_needed

_MOST_CHARACTERS = 128
_NOWHERE = "ZZ"  # no country's way to write telephone numbers: bare digits in an id are those of a counter or a clock


def read_request_id(metadata: Metadata) -> str:
    """The caller's `x-request-id`, or one made up where it is missing, too long, not to be printed, or holds personal
    data. One made to be looked at takes milliseconds: call it on the call's own thread."""
    for key, value in metadata:
        if key == "x-request-id" and 0 < len(value) <= _MOST_CHARACTERS:
            text = value if isinstance(value, str) else value.decode(errors="replace")
            if text.isprintable() and mask_if_needed(text, _NOWHERE) == text:
                return text
    return uuid.uuid4().hex
