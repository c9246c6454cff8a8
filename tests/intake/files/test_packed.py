"""Packed files and packed containers: read as they are, and bounded whatever comes out."""

import bz2
import gzip
import io
import lzma
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import fastavro
import pytest
from cramjam import snappy
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import ViewerConsumerError
from consumer.intake.files import containers
from consumer.intake.files.codecs import CODECS, CodecError, TooLargeError, unpack_block
from consumer.intake.files.containers import ContainerError
from consumer.intake.files.open import EventFile, open_event_file
from consumer.intake.files.packed import PACKINGS, PackedFile
from consumer.settings.model import InputSettings
from tests.intake.files.test_containers import OURS, container, ours
from tests.intake.files.test_json_lines import Row, rows_of
from tests.support import zstandard

LINE = b'{"stream_id": "s", "viewer_id": "v", "timestamp_ms": 5, "type": "join"}\n'
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "Zstandard": zstandard.pack,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def read(path: Path) -> list[Row]:
    with open_event_file(str(path), InputSettings()) as file:
        return [row for batch in file.batches() for row in rows_of(batch)]


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "events"
    path.write_bytes(data)
    return path


def test_every_packing_has_a_case() -> None:
    assert list(PACK) == [packing.name for packing in PACKINGS]


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("kind", ["json lines", "container"])
def test_a_packed_file_is_read_whatever_is_inside(tmp_path: Path, packing: str, kind: str) -> None:
    data = LINE * 2_000 if kind == "json lines" else container(OURS, [ours(5)] * 2_000, "deflate")
    path = written(tmp_path, PACK[packing](data))
    assert read(path) == [Row("s", "v", 5, "join")] * 2_000
    with open_event_file(str(path), InputSettings()) as file:
        for _ in file.batches():
            pass
        assert file.position() == file.size, "progress counts packed bytes"


@pytest.mark.parametrize("packing", PACK)
def test_files_that_were_appended_to_each_other_are_one(tmp_path: Path, packing: str) -> None:
    pack = PACK[packing]
    padding = b"\0" * 512 if packing == "gzip" else b""  # as on tapes
    assert len(read(written(tmp_path, pack(LINE * 3) + pack(b"") + pack(LINE) + padding))) == 4


@pytest.mark.parametrize("packing", PACK)
def test_a_packed_file_that_is_cut_off_or_damaged_is_one_line_that_names_it(tmp_path: Path, packing: str) -> None:
    whole = PACK[packing](bytes(range(256)) * 40 + LINE)
    for size in range(7, len(whole), 13):
        path = written(tmp_path, whole[:size])
        with pytest.raises(ViewerConsumerError) as caught:
            read(path)
        assert f"{path}: the {packing} file is " in str(caught.value)
    path = written(tmp_path, whole + b"more")
    with pytest.raises(ViewerConsumerError, match=rf"the {packing} file is (damaged|cut off)"):
        read(path)


def test_a_file_that_is_packed_twice_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(zstandard.pack(LINE)))
    with pytest.raises(ViewerConsumerError, match=r"events: is Zstandard inside gzip; unpack it once"):
        read(path)


@pytest.mark.parametrize("packing", PACK)
def test_a_bomb_of_one_line_takes_no_memory(packing: str) -> None:
    bomb = PACK[packing](b"x" * 50_000_000 + b"\n" + LINE)
    tracemalloc.start()
    try:
        batches = list(EventFile("bomb", io.BytesIO(bomb), InputSettings()).batches())
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [row for batch in batches for row in rows_of(batch)] == [Row("s", "v", 5, "join")]
    assert peak_bytes < 10_000_000


def test_a_pipe_is_read_as_a_file_is() -> None:
    class Pipe(io.BytesIO):
        """Gives a few bytes at a time."""

        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 7, 7) if size != -1 else 7)

        def fileno(self) -> int:
            raise OSError

    for data in (LINE * 9, gzip.compress(LINE * 9), container(OURS, [ours(5)] * 9), zstandard.pack(LINE * 9)):
        file = EventFile("-", Pipe(data), InputSettings())
        assert [row for batch in file.batches() for row in rows_of(batch)] == [Row("s", "v", 5, "join")] * 9


# Containers.


@pytest.mark.parametrize("codec", CODECS)
def test_containers_of_every_codec_of_the_specification_are_read(tmp_path: Path, codec: str) -> None:
    records = [ours(i) for i in range(500)]
    path = written(tmp_path, container(OURS, records, codec))
    assert [row.timestamp_ms for row in read(path)] == list(range(500))
    assert len(list(fastavro.block_reader(io.BytesIO(path.read_bytes())))) > 3


def test_a_codec_that_is_not_read_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = written(tmp_path, container(OURS, [ours(5)]).replace(b"\x14avro.codec\x08null", b"\x14avro.codec\x06lz4"))
    with pytest.raises(ContainerError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: the container is packed with 'lz4'; read are null, deflate, snappy, zstandard, bzip2, xz: "
        "write it anew"
    )


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "null"])
def test_a_block_that_is_a_bomb_stops_at_the_limit(codec: str) -> None:
    bomb = packed_block(codec, bytes(30_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match=r"more than 1,000,000 bytes come out of it"):
            unpack_block(codec, bomb, 1_000_000)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 20_000_000, "xz has a dictionary of 8 MiB"
    assert unpack_block(codec, packed_block(codec, bytes(1_000)), 1_000) == bytes(1_000)


def packed_block(codec: str, data: bytes) -> bytes:
    match codec:
        case "deflate":
            packer = zlib.compressobj(wbits=-15)
            return packer.compress(data) + packer.flush()
        case "snappy":
            return bytes(snappy.compress_raw(data)) + zlib.crc32(data).to_bytes(4, "big")
        case "zstandard":
            return zstandard.pack(data)
        case "bzip2":
            return bz2.compress(data)
        case _:
            return lzma.compress(data)


@pytest.mark.parametrize("codec", CODECS)
def test_a_large_block_is_one_line_with_its_place(tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, container(OURS, [ours(5, stream_id="s" * 1_000)], codec))
    monkeypatch.setattr(containers, "MAX_BLOCK_BYTES", 200)
    with pytest.raises(ContainerError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: the container is damaged")
    assert "200" in str(caught.value)
    assert " behind byte " in str(caught.value)


@pytest.mark.parametrize("codec", CODECS)
def test_a_damaged_container_is_an_error_or_other_records_and_never_anything_else(codec: str) -> None:
    whole = container(OURS, [ours(i) for i in range(50)], codec)

    @settings(max_examples=60)
    @given(st.integers(0, len(whole) - 1), st.integers(1, 255))
    def damaged(at: int, change: int) -> None:
        data = bytearray(whole)
        data[at] ^= change
        try:
            for _ in EventFile("a.avro", io.BytesIO(data), InputSettings()).batches():
                pass
        except ViewerConsumerError as error:
            message = str(error)
        else:
            message = "a.avro: "
        assert message.startswith("a.avro: ")

    damaged()


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "null"])
@settings(max_examples=60)
@given(data=st.binary(max_size=60))
def test_no_bytes_stop_a_codec_with_another_error(codec: str, data: bytes) -> None:
    try:
        assert len(unpack_block(codec, data, 100)) <= 100
    except CodecError as error:
        message = str(error)
    else:
        message = "none"
    assert message


def test_what_comes_out_of_a_packed_file_is_the_same_for_every_size_of_reads() -> None:
    text = b"".join(b"%d\n" % number for number in range(5_000))
    for packing in PACKINGS:
        packed = PACK[packing.name](text)
        for size in (1, 7, 4_096, 1_000_000):
            assert read_through(PackedFile(io.BytesIO(packed), packing, "a"), size) == text


def read_through(file: PackedFile, size: int) -> bytes:
    parts = []
    while part := file.read(size):
        parts.append(part)
    return b"".join(parts)
