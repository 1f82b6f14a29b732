"""Deletes the logs of expired runs, a little at a time, so that no transaction is long and no lock is
felt.
"""

from services.logsink.store import LogStore

_STREAMS_AT_ONCE = 100
_SEGMENTS_AT_ONCE = 500


async def delete_expired(store: LogStore) -> int:
    """Deletes the segments, then the streams, of some expired runs; how many streams.

    Safe at any time and in several replicas. Raises Transient.
    """
    async with store.reading() as work:
        stream_ids = await work.expired_streams(_STREAMS_AT_ONCE)
    for stream_id in stream_ids:
        while await _delete_some(store, stream_id):
            pass
        async with store.reading() as work:
            await work.delete_stream(stream_id)
    return len(stream_ids)


async def _delete_some(store: LogStore, stream_id: int) -> int:
    async with store.reading() as work:
        return await work.delete_segments(stream_id, _SEGMENTS_AT_ONCE)
