"""The zip archives that torch.save writes: their records, and whether the bytes are as written.

Each record is stored uncompressed with a CRC-32, which serves as the checksum of every tensor.
"""
import struct
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

CHUNK = 1 << 20
_LOCAL_HEADER = 30  # bytes before the name, whose length and that of an extra field end it


class Damaged(ValueError):
    """An archive is not as torch.save wrote it; the message says what is wrong."""


class Record(NamedTuple):
    """Where one record of an archive lies: its first byte, length and CRC-32."""
    offset: int
    size: int
    crc: int


def records(path: str | Path) -> dict[str, Record]:
    """The records of an archive, in order.

    Raises:
        Damaged: it is torn, compressed or encrypted, names a record twice, or promises more bytes
            than it has.
    """
    try:
        with zipfile.ZipFile(path) as archive, open(path, 'rb') as file:
            found: dict[str, Record] = {}
            for info in archive.infolist():
                if info.filename in found:
                    raise Damaged(f'it has two records {info.filename!r}')
                if info.flag_bits & 1 or info.compress_type != zipfile.ZIP_STORED or \
                        info.compress_size != info.file_size:
                    raise Damaged(f'the record {info.filename!r} is compressed or encrypted, '
                                  'which torch.save never does')
                file.seek(info.header_offset)
                header = file.read(_LOCAL_HEADER)
                if len(header) < _LOCAL_HEADER:
                    raise Damaged(f'the record {info.filename!r} lies beyond its end')
                begin = info.header_offset + _LOCAL_HEADER + sum(struct.unpack('<HH', header[26:]))
                found[info.filename] = Record(begin, info.file_size, info.CRC)
            size = file.seek(0, 2)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise Damaged(str(error)) from None
    if sum(record.size for record in found.values()) > size or any(
            record.offset + record.size > size for record in found.values()):
        raise Damaged('its records hold more bytes than the file')
    return found


def read_record(path: str | Path, record: Record) -> bytes:
    """The bytes of one record."""
    with open(path, 'rb') as file:
        file.seek(record.offset)
        return file.read(record.size)


def check_crc(path: str | Path, found: dict[str, Record]) -> None:
    """Compare every record with its CRC-32, reading the file once, in pieces.

    Files written with ``torch.serialization.set_crc32_options(False)`` have no checksums (all are
    0) and pass.

    Raises:
        Damaged: a record differs; the message names the first.
    """
    if not any(record.crc for record in found.values()):
        return
    with open(path, 'rb') as file:
        for name, record in found.items():
            file.seek(record.offset)
            crc, left = 0, record.size
            while left and (piece := file.read(min(CHUNK, left))):
                crc = zlib.crc32(piece, crc)
                left -= len(piece)
            if left or crc != record.crc:
                raise Damaged(f'the CRC-32 of its record {name!r} is wrong')
