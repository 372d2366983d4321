"""Files of pictures without the metadata that no pixel depends on.

A decoder stops at metadata that is damaged, or that is long (Pillow: over 1 MB of text or of a colour profile in a
PNG), where viewers show the picture. It also unpacks what is packed in it. So it is given none, but for what tells
which way is up.
"""

from __future__ import annotations

import zlib

_PNG = b"\x89PNG\r\n\x1a\n"

_CRITICAL = 0x20  # the bit of a chunk name's first letter that is unset if a decoder must know the chunk
_XMP, _RAW_EXIF = b"XML:com.adobe.xmp", b"Raw profile type exif"  # Pillow looks for the orientation in these
_MAX_TEXT = 2**20  # bytes, unpacked: as many as Pillow takes
_MAX_PARTS = 200_000  # more would be parts of a few bytes each, made to take time


def without_metadata(data: bytes) -> bytes:
    """The same picture in fewer bytes; those of other formats than PNG and JPEG as they are.

    Raises:
        ValueError: it has more parts than any picture needs.
    """
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    return data


# ---- PNG ----


def _png(data: bytes) -> bytes:
    """A PNG without the chunks that only tell about the picture, or about further frames.

    Kept are the critical chunks, transparency, and EXIF and XMP, which say how the picture is turned; of these only
    what is whole and, unpacked, short. What does not look like a chunk any more is kept as it is.
    """
    kept = [_PNG]
    at, seen, count = len(_PNG), set(), 0
    while at + 12 <= len(data):
        count += 1
        if count > _MAX_PARTS:
            raise ValueError(f"more than {_MAX_PARTS} chunks")
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 12 + length
        name = data[at + 4 : at + 8]
        if end > len(data) or not name.isalpha():
            break
        if not name[0] & _CRITICAL:
            kept.append(data[at:end])
        elif name in (b"tRNS", b"eXIf", b"iTXt", b"zTXt", b"tEXt") and name not in seen:
            body = data[at + 8 : end - 4]
            whole = zlib.crc32(body, zlib.crc32(name)) == int.from_bytes(data[end - 4 : end], "big")
            if whole and _of_use(name, body, data[25]):
                kept.append(data[at:end])
                seen.add(name)
        at = end
        if name == b"IEND":
            return b"".join(kept)
    return b"".join([*kept, data[at:]])


def _of_use(name: bytes, body: bytes, colour: int) -> bool:
    if name == b"tRNS":
        return len(body) in {0: (2,), 2: (6,), 3: range(1, 257)}.get(colour, ())
    return name == b"eXIf" or _tells_orientation(name, body)


def _tells_orientation(name: bytes, body: bytes) -> bool:
    """Whether a chunk of text is EXIF or XMP, and short enough."""
    keyword, _, rest = body.partition(b"\0")
    if keyword == _XMP and name == b"iTXt":
        packed, method = rest[:2] == b"\1\0", rest[:1] == b"\1"
        if method and not packed:
            return False
        text = rest[2:].split(b"\0", 2)[-1]
    elif keyword == _RAW_EXIF and name != b"iTXt":
        packed = name == b"zTXt"
        if packed and rest[:1] != b"\0":
            return False
        text = rest[1:] if packed else rest
    else:
        return False
    if not packed:
        return len(text) <= _MAX_TEXT
    unpack = zlib.decompressobj()
    try:
        unpack.decompress(text, _MAX_TEXT)
    except zlib.error:
        return False
    return not unpack.unconsumed_tail


# ---- JPEG ----


def _jpeg(data: bytes) -> bytes:
    """A JPEG without comments and application segments.

    Kept are EXIF and XMP (APP1), and what says how colours are stored (APP0 and APP14) if it is long enough to do so.
    """
    kept = [data[:2]]
    at, count = 2, 0
    while at + 4 <= len(data) and data[at] == 0xFF:
        count += 1
        if count > _MAX_PARTS:
            raise ValueError(f"more than {_MAX_PARTS} segments")
        marker = data[at + 1]
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xDA or end > len(data):
            break  # the picture itself, or nothing that is known
        body = end - at - 4
        metadata = marker == 0xFE or 0xE0 <= marker <= 0xEF
        if not metadata or marker == 0xE1 or (marker == 0xE0 and body >= 14) or (marker == 0xEE and body >= 12):
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])
