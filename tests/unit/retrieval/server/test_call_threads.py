"""How many streams are open, of one method and of all."""

from retrieval.server.call_threads import OpenStreams


def test_streams_of_one_method_leave_room_for_others() -> None:
    streams = OpenStreams(4)
    assert [streams.enter("watch") for _ in range(3)] == [True, True, False]
    assert [streams.enter("change") for _ in range(3)] == [True, True, False]
    assert not streams.enter("batch")
    streams.leave("watch")
    assert streams.enter("batch") and not streams.enter("watch")
