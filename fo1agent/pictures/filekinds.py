"""What bytes are that no decoder took: their name, and what to do with them. Only for messages; nothing is decoded."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LOOKED_AT = 4096  # bytes


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    Attributes:
        name: for people: "JPEG XL", "a web page (HTML)".
        advice: what to do with it, sentences; may be "".
        pillow: Pillow's name of the format, where there is one.
        picture: whether it shows something, if not in pixels.
    """

    name: str
    advice: str = ""
    pillow: str = ""
    picture: bool = True


def _other(name: str, advice: str = "") -> FileKind:
    """A kind that shows nothing."""
    return FileKind(name, advice, picture=False)


_CONVERT = "Convert it to PNG or JPEG."
_RENDER = "Render it as PNG, in the size that is wanted."
_PAGE = "Render a page of it as PNG."
_FRAME = "Take a frame out of it, as PNG or JPEG."
_UNPACK = "Unpack it, and pass a picture in it."
_RAW = "Develop it to JPEG, PNG or TIFF."

INSTALL_HEIF = "Convert it to PNG or JPEG, or: pip install pillow-heif."
"""What to do with a HEIC or HEIF file, for whoever may install something where fo1agent runs."""
HEIC = FileKind("HEIC", INSTALL_HEIF, "HEIF")
HEIF = FileKind("HEIF", HEIC.advice, "HEIF")
AVIF = FileKind("AVIF", _CONVERT, "AVIF")
_JPEG_2000 = FileKind("JPEG 2000", _CONVERT, "JPEG2000")
_JPEG_XL = FileKind("JPEG XL", _CONVERT)
_VIDEO = FileKind("a video (MP4)", _FRAME)
_WEB_PAGE = _other(
    "a web page (HTML)", "The address may be that of a page about the picture, or of a log-in. Pass the picture's own."
)
_SVG = FileKind("SVG", _RENDER)

# (where it stands, what stands there, kind)
_SIGNATURES: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"\xff\xd8\xff", FileKind("JPEG", pillow="JPEG")),
    (12, b"CgBI", FileKind("a PNG of iOS apps (CgBI)", "Only Apple's programs read it. Save it as a usual PNG.")),
    (0, b"\x89PNG", FileKind("PNG", pillow="PNG")),
    (8, b"WEBP", FileKind("WEBP", pillow="WEBP")),
    (0, b"GIF8", FileKind("GIF", pillow="GIF")),
    (0, b"II*\0\x10\0\0\0CR", FileKind("a camera's raw file (CR2)", _RAW)),
    (0, b"II*\0", FileKind("TIFF", pillow="TIFF")),
    (0, b"MM\0*", FileKind("TIFF", pillow="TIFF")),
    (0, b"II+\0", FileKind("BigTIFF", _CONVERT)),
    (0, b"MM\0+", FileKind("BigTIFF", _CONVERT)),
    (0, b"\0\0\0\x0cjP  ", _JPEG_2000),
    (0, b"\xff\x4f\xff\x51", _JPEG_2000),
    (0, b"\0\0\0\x0cJXL ", _JPEG_XL),
    (0, b"\xff\x0a", _JPEG_XL),
    (0, b"II\xbc", FileKind("JPEG XR", _CONVERT)),
    (0, b"BPG\xfb", FileKind("BPG", _CONVERT)),
    (0, b"FLIF", FileKind("FLIF", _CONVERT)),
    (0, b"qoif", FileKind("QOI", _CONVERT, "QOI")),
    (0, b"8BPS", FileKind("Photoshop (PSD)", _CONVERT, "PSD")),
    (0, b"gimp xcf", FileKind("GIMP (XCF)", _CONVERT)),
    (0, b"\0\0\1\0", FileKind("an icon (ICO)", _CONVERT, "ICO")),
    (0, b"\0\0\2\0\1\0", FileKind("a cursor (CUR)", _CONVERT, "CUR")),
    (0, b"icns", FileKind("an icon (ICNS)", _CONVERT, "ICNS")),
    (0, b"DDS ", FileKind("DDS", _CONVERT, "DDS")),
    (0, b"v/1\1", FileKind("OpenEXR", _CONVERT)),
    (0, b"#?RADIANCE", FileKind("Radiance HDR", _CONVERT)),
    (128, b"DICM", FileKind("DICOM", _CONVERT)),
    (0, b"SIMPLE  =", FileKind("FITS", _CONVERT, "FITS")),
    (0, b"FUJIFILMCCD-RAW", FileKind("a camera's raw file (RAF)", _RAW)),
    (0, b"IIRO", FileKind("a camera's raw file (ORF)", _RAW)),
    (0, b"IIRS", FileKind("a camera's raw file (ORF)", _RAW)),
    (0, b"IIU\0", FileKind("a camera's raw file (RW2)", _RAW)),
    (0, b"FOVb", FileKind("a camera's raw file (X3F)", _RAW)),
    (0, b"%PDF", FileKind("PDF", _PAGE)),
    (0, b"%!PS", FileKind("PostScript", _RENDER)),
    (0, b"\xc5\xd0\xd3\xc6", FileKind("PostScript (EPS)", _RENDER)),
    (0, b"AT&TFORM", FileKind("DjVu", _PAGE)),
    (0, b"\xd7\xcd\xc6\x9a", FileKind("a Windows metafile (WMF)", _RENDER)),
    (40, b" EMF", FileKind("a Windows metafile (EMF)", _RENDER)),
    (0, b"\x1aE\xdf\xa3", FileKind("a video (WebM or Matroska)", _FRAME)),
    (8, b"AVI LIST", FileKind("a video (AVI)", _FRAME)),
    (0, b"FLV\1", FileKind("a video (FLV)", _FRAME)),
    (0, b"\0\0\1\xba", FileKind("a video (MPEG)", _FRAME)),
    (0, b"\0\0\1\xb3", FileKind("a video (MPEG)", _FRAME)),
    (0, b"0&\xb2u\x8ef\xcf\x11", FileKind("a video (WMV)", _FRAME)),
    (0, b"OggS", _other("sound or a video (Ogg)")),
    (8, b"WAVE", _other("sound (WAV)")),
    (0, b"ID3", _other("sound (MP3)")),
    (0, b"fLaC", _other("sound (FLAC)")),
    (0, b"PK\3\4", _other("ZIP, or a document packed as one", _UNPACK)),
    (0, b"\x1f\x8b", _other("gzip", _UNPACK)),
    (0, b"BZh", _other("bzip2", _UNPACK)),
    (0, b"\xfd7zXZ", _other("xz", _UNPACK)),
    (0, b"(\xb5/\xfd", _other("zstd", _UNPACK)),
    (0, b"7z\xbc\xaf", _other("7-Zip", _UNPACK)),
    (0, b"Rar!", _other("RAR", _UNPACK)),
    (257, b"ustar", _other("tar", _UNPACK)),
    (0, b"\x93NUMPY", _other("a NumPy array (.npy)", "Save what is in it as PNG, or pass the array in Python.")),
    (0, b"\x89HDF", _other("HDF5", "Save the picture in it as PNG.")),
    (0, b"PAR1", _other("Parquet", "Save the pictures in it as files.")),
    (0, b"\x7fELF", _other("a program (ELF)")),
    (0, b"MZ", _other("a program (Windows)")),
    (0, b"\xd0\xcf\x11\xe0", FileKind("an Office document", _PAGE)),
    (0, b"SQLite format 3", _other("a database (SQLite)")),
    (0, b"BM", FileKind("BMP", pillow="BMP")),
)

# Brands of ISO media files: in a file's own brand or among those it is compatible with, by what they say of it.
_BRANDS: tuple[tuple[tuple[bytes, ...], FileKind], ...] = (
    ((b"avif", b"avis", b"avio"), AVIF),
    ((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), HEIC),
    ((b"jxl ",), _JPEG_XL),
    ((b"jp2 ", b"jpx ", b"jpm ", b"jph "), _JPEG_2000),
    ((b"crx ",), FileKind("a camera's raw file (CR3)", _RAW)),
    ((b"mif1", b"mif2", b"msf1", b"miaf", b"jpeg", b"jpgs", b"avci", b"avcs", b"vvic", b"unif"), HEIF),
    ((b"qt  ",), FileKind("a video (QuickTime)", _FRAME)),
    ((b"M4A ", b"M4B ", b"M4P "), _other("sound (M4A)")),
)
# Brands that tell of a still picture only where they are the file's own: a video may be compatible with them.
_STILL = (AVIF, HEIC, _JPEG_XL, _JPEG_2000)


def kind_of(data: bytes) -> FileKind | None:
    """The kind of file that some bytes seem to be; None if it is not known."""
    start = data[:_LOOKED_AT]
    if start[4:8] == b"ftyp":
        return _of_brands(start)
    for offset, signature, kind in _SIGNATURES:
        if start.startswith(signature, offset):
            return kind
    if re.match(rb"P[1-7]\s+[\d#]", start):
        return FileKind("PPM", _CONVERT, "PPM")
    if data.endswith(b"TRUEVISION-XFILE.\0"):
        return FileKind("TGA", _CONVERT, "TGA")
    if data and not start.strip(b"\0"):
        return _other("a file of zeros", "It was not written, or not fetched, to its end. Get it again.")
    return _of_text(start)


def _of_brands(start: bytes) -> FileKind:
    length = min(int.from_bytes(start[:4], "big"), len(start))
    own, others = start[8:12], [start[k : k + 4] for k in range(16, length - 3, 4)]
    for brands, kind in _BRANDS:
        if own in brands:
            # The general brand of still pictures says less than one that it goes with.
            special = (one for names, one in _BRANDS if one in _STILL and any(name in others for name in names))
            return next(special, kind) if kind is HEIF else kind
    return _VIDEO


def _of_text(start: bytes) -> FileKind | None:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _other("text (UTF-16)")
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        if len(start) < _LOOKED_AT or exc.start < len(start) - 3:  # else a character is cut off at the end
            return None
        text = start[: exc.start].decode("utf-8-sig")
    if any(not (one.isprintable() or one in "\t\n\r\f") for one in text):
        return None
    # Comments and declarations may stand before the first tag.
    tags = re.sub(r"(?s)<!--.*?(-->|$)|<\?.*?(\?>|$)", "", text).lstrip().lower()
    if re.match(r"<svg[\s/>:]|<!doctype svg", tags):
        return _SVG
    if re.match(r"<(!doctype html|html|head|body|meta|script|title|div|p)\b", tags):
        return _WEB_PAGE
    if text.lstrip().startswith("<?xml"):
        return _other("XML")
    if text.startswith("version https://git-lfs"):
        return _other("a pointer of Git LFS", "The picture itself was not fetched: git lfs pull.")
    if re.match(r"\s*data:[\w/+.;=-]*,", text):
        return _other("the text of a data URL", "Pass it as a string, or decode it.")
    if re.fullmatch(r"[A-Za-z0-9+/_\s-]{64,}=*\s*", text) and len(text.split()) <= len(text) / 40:
        return _other("base64", "Decode it, or pass it as a string with data:image/png;base64, before it.")
    if text.lstrip()[:1] in ("{", "["):
        return _other("JSON", "A server's error may be in it.")
    return _other("text")
