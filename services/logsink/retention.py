"""Retention: deletes the logs of expired runs in small parts.

Transactions stay short, and locks do not delay other work.
"""

from services.logsink.store import LogStore

_STREAMS_AT_ONCE = 100
_SEGMENTS_AT_ONCE = 500


async def delete_expired(store: LogStore) -> int:
    """Deletes the segments and then the rows of some streams of expired runs; returns how many streams.

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
