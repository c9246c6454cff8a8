from pathlib import Path

import pytest

from consumer.errors import ViewerConsumerError
from consumer.intake.files.open import check_readable, open_event_file
from consumer.settings.model import InputSettings
from tests.intake.files.test_containers import OURS, container, ours
from tests.intake.files.test_json_lines import GOOD, rows_of

LINE = b'{"stream_id": "s", "viewer_id": "v", "timestamp_ms": 5, "type": "join"}\n'


def test_the_format_of_a_file_is_detected_by_its_first_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    for name, data in (("a.jsonl", container(OURS, [ours(5)])), ("a.avro", LINE)):
        path = tmp_path / name
        path.write_bytes(data)
        with open_event_file(str(path), InputSettings()) as file:
            assert file.size == len(data)
            (batch,) = file.batches()
            assert file.position() == len(data)
        (row,) = rows_of(batch)
        assert (row.stream_id, row.timestamp_ms) == (GOOD["stream_id"], GOOD["timestamp_ms"])


def test_the_longest_line_is_as_long_as_the_largest_payload(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(LINE)
    for most, faults in ((len(LINE) - 1, 0), (len(LINE) - 2, 1)):
        with open_event_file(str(path), InputSettings(max_payload_bytes=most)) as file:
            (batch,) = file.batches()
        assert len(batch.faults) == faults


def test_all_unreadable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"")
    check_readable(["-", str(path)])
    with pytest.raises(ViewerConsumerError) as caught:
        check_readable([str(path), str(tmp_path), str(tmp_path / "none")])
    assert str(caught.value).splitlines() == [
        f"{tmp_path}: cannot be read: Is a directory",
        f"{tmp_path / 'none'}: cannot be read: No such file or directory",
    ]


def test_a_file_that_is_deleted_before_it_is_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ViewerConsumerError, match=r"none: cannot be read: No such file or directory"):
        open_event_file(str(tmp_path / "none"), InputSettings())
