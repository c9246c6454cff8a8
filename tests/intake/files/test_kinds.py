"""Files of other kinds: one line that names what they are, instead of a reject for every line."""

from pathlib import Path

import numpy as np
import pytest

from consumer.errors import ViewerConsumerError
from consumer.intake.files.json_lines import FileBatch
from consumer.intake.files.open import open_event_file
from consumer.settings.model import InputSettings

LINE = '{"stream_id": "s", "viewer_id": "v", "timestamp_ms": 5, "type": "join"}\n'


def batches(path: Path) -> list[FileBatch]:
    with open_event_file(str(path), InputSettings()) as file:
        return list(file.batches())


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"stream_id,viewer_id,timestamp_ms,type\ns,v,5,join\n", "is CSV, which is not read; write each row as"),
        (b"\xef\xbb\xbfstream_id;viewer_id;timestamp_ms\ns;v;5", "is CSV"),
        (b"stream_id\tviewer_id\ttimestamp_ms\ttype\n", "is CSV"),
        (f"[{LINE},{LINE}]".encode(), "is a JSON array, not JSON lines; write one object a line: jq -c '.[]' "),
        (b" \n[\n  {", "is a JSON array"),
        (
            b'{\n  "stream_id": "s"\n}\n',
            "is JSON over several lines, not JSON lines; write one object a line: jq -c . ",
        ),
        (b"PK\x03\x04...", "is a zip archive; unpack it first"),
        (b"PAR1...", "is a Parquet file"),
        (LINE.encode("utf-16"), "is UTF-16 text; write it as UTF-8"),
        (b"\x04\x22\x4d\x18....", "is packed with lz4"),
    ],
)
def test_a_file_of_another_kind_is_one_line_that_names_it(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "events.txt"
    path.write_bytes(data)
    with pytest.raises(ViewerConsumerError) as caught:
        batches(path)
    assert str(caught.value).startswith(f"{path}: {what}")
    assert "FILE" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"a log line, with, some, commas\n{LINE}",
        f"x\n{LINE}",
        LINE,
        "{}\n",
        '{"stream_id": "a,b,c"}\n{"stream_id": "a,b,c"}\n',
        "nonsense\n",
        "\n\n",
    ],
)
def test_lines_among_which_may_be_events_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "events"
    path.write_text(text)
    found = batches(path)
    assert sum(int(np.count_nonzero(batch.events.reject == 0)) for batch in found) == text.count(LINE)


def test_an_empty_file_is_known_to_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "events"
    for text, is_empty in (("", True), (LINE, False)):
        path.write_text(text)
        with open_event_file(str(path), InputSettings()) as file:
            list(file.batches())
        assert file.is_empty is is_empty
