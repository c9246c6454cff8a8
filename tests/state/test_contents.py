"""The state after reading records, compared with what compaction would leave."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.state.contents import Contents, Record

IDS = (b"a", b"b", b"rr", b"")
KEYS = [*(b"r" + part.to_bytes(2) + id_ for part in (0, 1, 256) for id_ in IDS), b"c", b"j", b"f", b"", b"what?"]

histories = st.lists(
    st.tuples(st.sampled_from(KEYS), st.one_of(st.none(), st.binary(max_size=3))), max_size=40
)  # fmt: skip


@given(histories, st.integers(1, 7))
def test_the_newest_record_of_each_key_counts_however_records_are_batched(history: list[Record], batch: int) -> None:
    contents = Contents()
    for begin in range(0, len(history), batch):
        contents.add(history[begin : begin + batch])
    left = {key: value for key, value in dict(history).items() if value is not None}
    rows = {key: value for key, value in left.items() if key[:1] == b"r"}
    assert contents.checkpoint == left.get(b"c")
    assert contents.journal == left.get(b"j")
    assert contents.finding == left.get(b"f")
    assert contents.rows == rows
    assert contents.others == left.keys() & {b"", b"what?"}
    assert contents.empty == (not left)
    assert contents.streams == len({key[3:] for key in rows})
    assert contents.row_bytes == sum(map(len, rows.keys())) + sum(map(len, rows.values()))
    for stream_id in IDS:
        assert dict(contents.rows_of(stream_id)) == {key: value for key, value in rows.items() if key[3:] == stream_id}
