"""One way in for every picture.

`load_image` takes whatever people hold a picture in and gives an upright RGB one with a content id, or an `ImageError`
that names the cause and the limit. Limits are checked on the source and on the file's header, before any pixel is
decoded. Colour profiles are not applied; models and detectors come later and are unknown here.
"""

from __future__ import annotations

import binascii
import contextlib
import hashlib
import importlib.util
import inspect
import io
import logging
import os
import re
import threading
import urllib.parse
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from fo1agent import bounded
from fo1agent.errors import ImageError, InputError
from fo1agent.pictures.filekinds import kind_of
from fo1agent.pictures.metadata import without_metadata

ImageSource = Any
"""A path (str or Path), http(s) or data URL, bytes, binary file object, PIL image, numpy array, or `LoadedImage`."""


@lru_cache(maxsize=1)
def formats_read() -> tuple[str, ...]:
    """Pillow's names of the formats that are read unless others are named; HEIF where pillow-heif is installed."""
    for plugin in ("Jpeg", "Png", "WebP", "Gif", "Bmp", "Tiff", "Avif"):
        import_module(f"PIL.{plugin}ImagePlugin")
    if "HEIF" not in Image.OPEN and importlib.util.find_spec("pillow_heif"):

        def open_heif(file: IO[bytes], name: str | bytes) -> Any:
            # Imported when it is first needed: it takes a tenth of a second.
            from pillow_heif import HeifImageFile  # pyright: ignore[reportMissingImports]

            return HeifImageFile(file, name)

        Image.register_open("HEIF", open_heif, lambda start: start[4:8] == b"ftyp")
    usual = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
    return (*usual, "HEIF") if "HEIF" in Image.OPEN else usual


@dataclass(frozen=True)
class ImageLimits:
    """What a picture may cost. All are checked before it is decoded.

    Attributes:
        max_bytes: of the file, the download or the decoded data URL.
        max_pixels: width times height.
        max_side: the longer side, pixels.
        formats: Pillow's names of the formats that are read; nothing else is even tried. Unless given, `formats_read`.
        timeout_s: seconds for a whole download, redirects included.
        max_redirects: of a download.
        allow_private_hosts: also fetch from private, loopback and other addresses that are not public.
        folders: the only folders that paths may lead into, links followed; None allows every path, () none.
        hosts: the only hosts that URLs may name, on any port, redirects followed; None allows every host, () none.
    """

    max_bytes: int = 50_000_000
    max_pixels: int = 64_000_000
    max_side: int = 16_384
    formats: tuple[str, ...] = field(default_factory=formats_read)
    timeout_s: float = 20.0
    max_redirects: int = 5
    allow_private_hosts: bool = False
    folders: tuple[str | os.PathLike[str], ...] | None = None
    hosts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels", "max_side", "timeout_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"ImageLimits.{name} must be above 0, got {getattr(self, name)!r}.")
        if self.max_redirects < 0:
            raise InputError(f"ImageLimits.max_redirects must be 0 or more, got {self.max_redirects!r}.")
        if not Image.OPEN.keys() >= set(self.formats):
            Image.init()  # which knows all formats, and takes a while to
        unknown = [name for name in self.formats if name not in Image.OPEN]
        if unknown or not self.formats:
            raise InputError(f"ImageLimits.formats got {unknown or 'nothing'}. Pass names Pillow reads, such as 'PNG'.")
        if isinstance(self.folders, str):
            raise InputError("ImageLimits.folders must be a tuple of folders, not one string.")
        if isinstance(self.hosts, str):
            raise InputError("ImageLimits.hosts must be a tuple of host names, not one string.")
        for host in self.hosts or ():
            if not re.fullmatch(r"[^\s/@:?#\[\]]+|\[[0-9A-Fa-f:.]+\]", host):
                raise InputError(f"ImageLimits.hosts got {host!r}. Pass the bare name, such as 'example.com'; no port.")


DIGITS = 8
"""How many an id has, as long as no other picture wants the same one."""


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """A picture, ready for everything else.

    Attributes:
        pixels: RGB, upright, decoded; not shared with the source. Do not draw on it; `pixels.copy()` first.
        sha256: of "WIDTHxHEIGHT:" and the RGB bytes, 64 hex digits. What is kept for a picture is kept under this.
        source: where it came from, for people: a path, a URL without its query, `bytes`, `data URL`, `file`,
            `PIL image` or `array`.
        digits: how many digits of the hash are in the id.
        boxes: hash of the boxes that a caller sent with it, 64 hex digits, where it is kept apart by them; else "".
    """

    pixels: Image.Image
    sha256: str
    source: str
    digits: int = DIGITS
    boxes: str = ""

    @property
    def id(self) -> str:
        """`img_` and the first digits of the hash, 8 of them: the same picture has the same id everywhere.

        Anybody can make two pictures of one such id. Where that matters, `integrations.handles` gives one of them more.
        With boxes of a caller's, a dash and as many digits of theirs follow: region 3 is another one then.
        """
        return "-".join([f"img_{self.sha256[: self.digits]}", *([self.boxes[: self.digits]] if self.boxes else [])])

    @property
    def key(self) -> str:
        """The id with all digits, which no other picture has."""
        return "-".join([f"img_{self.sha256}", *([self.boxes] if self.boxes else [])])

    @property
    def width(self) -> int:
        return self.pixels.width

    @property
    def height(self) -> int:
        return self.pixels.height

    @property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.pixels.height, self.pixels.width


def load_image(source: ImageSource, limits: ImageLimits | None = None, *, name: str = "") -> LoadedImage:
    """Open a picture from any source.

    Args:
        source: one of

            - a path as str or Path, to a regular file;
            - an `http://` or `https://` URL, fetched under the rules of `fetch.fetch`;
            - a `data:` URL, or the bytes of an image file;
            - a binary file object, read from where it stands, or where nothing is left to read from its start;
            - a PIL image of any mode;
            - a numpy array [H, W], [H, W, 1], [H, W, 3] (RGB order) or [H, W, 4] (RGBA), uint8, uint16 (full range),
              bool, or float from 0 to 1;
            - a `LoadedImage`, which is returned as it is.
        limits: None for the defaults.
        name: for a source without a name: what messages call it, and the `source` of the result.

    Returns:
        The picture upright by its EXIF orientation, RGB, transparent parts on white, 16-bit values scaled from the
        full range, and the first frame of an animation or the first page of a document. A picture that is transparent
        throughout becomes white, except a BMP, DIB or TGA file, in which a fourth byte of zeros means nothing.

    Raises:
        ImageError: it cannot be found, reached or read, is not a picture or a damaged one, or breaks a limit.
    """
    limits = limits or ImageLimits()
    if isinstance(source, LoadedImage):
        _check_size(source.pixels.size, limits, source.source)
        return source
    if isinstance(source, Image.Image):
        return _finish(source, limits, "PIL image")
    if isinstance(source, np.ndarray):
        return _finish(_from_array(source, limits), limits, "array")
    data, own = _read_bytes(source, limits)
    name = name or own
    return _finish(_open(data, limits, name), limits, name)


def is_data_url(text: str) -> bool:
    """Whether `load_image` takes a string for the data: URL of a picture, which has its bytes in it."""
    return re.match(r"\s*data:", text, re.IGNORECASE) is not None


# From a source to bytes.


def _read_bytes(source: ImageSource, limits: ImageLimits) -> tuple[bytes, str]:
    """The bytes of an image file, at most `max_bytes`, and their name for people."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        if memoryview(source).nbytes > limits.max_bytes:
            raise _too_many_bytes("The bytes given", memoryview(source).nbytes, limits)
        return bytes(source), "bytes"
    if isinstance(source, str):
        # Blanks are part of a path, but not of an address.
        if is_data_url(source):
            return _from_data_url(source.strip(), limits), "data URL"
        if re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]+://", source):
            return _from_url(source.strip(), limits)
    if isinstance(source, (str, os.PathLike)):
        return _from_path(source, limits), _shorten(str(source))
    if hasattr(source, "read"):
        return _from_file(source, limits, "file"), "file"
    raise ImageError(
        f"An object of type {type(source).__name__} is no picture. "
        "Pass a path, URL, bytes, binary file, PIL image or numpy array."
    )


def _from_data_url(url: str, limits: ImageLimits) -> bytes:
    head, comma, body = url.partition(",")
    if not comma:
        raise ImageError("The data URL has no comma, so no data. It looks like data:image/png;base64,iVBOR….")
    # Four characters of base64 carry three bytes; percent-encoding takes up to three characters a byte.
    if len(body) > 3 * limits.max_bytes:
        raise _too_many_bytes("The data URL", len(body) * 3 // 4, limits)
    raw = urllib.parse.unquote_to_bytes(body)
    if "base64" in (part.strip().lower() for part in head.split(";")[1:]):
        raw = _from_base64(raw)
    elif raw.isascii():
        # No bytes of a picture are ASCII throughout, so what is one without the mark is one with the mark forgotten.
        with contextlib.suppress(ImageError):
            decoded = _from_base64(raw)
            raw = decoded if kind_of(decoded) else raw
    if len(raw) > limits.max_bytes:
        raise _too_many_bytes("The data URL", len(raw), limits)
    return raw


def _from_base64(text: bytes) -> bytes:
    """The bytes of base64 in either alphabet, with blanks or without, padded or not."""
    letters = b"".join(text.split(b"#", 1)[0].split()).rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    strange = re.search(rb"[^A-Za-z0-9+/]", letters)
    if strange:
        where = f"the character {chr(strange[0][0])!r} at {strange.start()}"
        raise ImageError(f"The data URL is not valid base64: {where}. Pass the file in standard base64.")
    if len(letters) % 4 == 1:
        blanks = " Blanks stand in it: were they + signs?" if b" " in text.strip() else ""
        raise ImageError(f"The data URL is not valid base64: {len(letters)} letters, so it is cut off.{blanks}")
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _from_url(url: str, limits: ImageLimits) -> tuple[bytes, str]:
    # httpx takes a tenth of a second to import; most pictures are files.
    from fo1agent.pictures.fetch import fetch

    data = fetch(
        url,
        max_bytes=limits.max_bytes,
        timeout_s=limits.timeout_s,
        max_redirects=limits.max_redirects,
        allow_private_hosts=limits.allow_private_hosts,
        hosts=limits.hosts,
    )
    return data, _shorten(url.split("?", 1)[0].split("#", 1)[0])


def _from_path(path: str | os.PathLike[str], limits: ImageLimits) -> bytes:
    name = _short_path(path)
    try:
        if limits.folders is not None:
            path = _within_folders(path, limits.folders)
        descriptor = bounded.open_regular(path)
        with os.fdopen(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            if size > limits.max_bytes:
                raise _too_many_bytes(name, size, limits)
            return _from_file(file, limits, name)
    except FileNotFoundError as exc:
        raise ImageError(f"There is no file {name}. Check the path.") from exc
    except bounded.NotRegularError as exc:
        where = " in it" if exc.kind == "a folder" else ""
        raise ImageError(f"{name} is {exc}. Pass the path of a picture{where}.") from exc
    except PermissionError as exc:
        raise ImageError(f"{name} may not be read: permission denied.") from exc
    except (OSError, ValueError) as exc:
        if isinstance(exc, ImageError):
            raise
        # Too long a name, a null byte, a loop of links, a failing disk.
        why = f"{name} cannot be read as a file: {getattr(exc, 'strerror', None) or exc}."
        text = os.fspath(path)
        if isinstance(text, str) and len(text) > 255 and re.fullmatch(r"[A-Za-z0-9+/=_\s-]+", text):
            why += " If it is base64, put data:image/png;base64, before it."
        elif isinstance(text, str) and re.match(r"\W{1,8}data:", text):
            why += " If it is a data URL, begin it with data:"
        raise ImageError(why) from exc


def _within_folders(path: str | os.PathLike[str], folders: Sequence[str | os.PathLike[str]]) -> Path:
    real = Path(os.path.realpath(path))
    if not any(real.is_relative_to(os.path.realpath(folder)) for folder in folders):
        raise ImageError(f"{_short_path(path)} is outside the folders that pictures may be read from.")
    return real


def _from_file(file: IO[bytes] | Any, limits: ImageLimits, name: str) -> bytes:
    if getattr(file, "closed", False) is True:
        raise ImageError(f"{name}: it is closed. Open it again, or pass its path.")
    data = _rest_of(file, limits, name)
    if data:
        return data
    # Whoever looked at it before us has most likely read it to its end.
    try:
        at = file.tell() if file.seekable() else None
        if at:
            file.seek(0)
    except Exception:  # not every object that can be read can do that
        at = None
    if at is None:
        raise ImageError(f"{name}: nothing is left to read. It is empty, or was read before; open it again.")
    return _rest_of(file, limits, name) if at else data


def _rest_of(file: IO[bytes] | Any, limits: ImageLimits, name: str) -> bytes:
    parts: list[bytes] = []
    left = limits.max_bytes + 1
    while left > 0:
        try:
            part = file.read(left)
        except io.UnsupportedOperation as exc:
            raise ImageError(f"{name}: not open for reading. Open it in mode 'rb'.") from exc
        except Exception as exc:  # any object with a `read` may come
            raise ImageError(f"{name}: cannot be read ({_cause(exc)}).") from exc
        if isinstance(part, str):
            raise ImageError(f"{name}: opened as text. Open it in binary mode ('rb').")
        if inspect.isawaitable(part):
            if inspect.iscoroutine(part):
                part.close()
            raise ImageError(f"{name}: its read() has to be awaited. Pass the bytes: await it yourself.")
        if part is None:
            raise ImageError(
                f"{name}: has no bytes yet, and does not wait for them. Pass the bytes when all are there."
            )
        if not isinstance(part, (bytes, bytearray, memoryview)):
            raise ImageError(f"{name}: its read() gave a {type(part).__name__}, not bytes.")
        if not len(part):
            break
        parts.append(bytes(part))
        left -= len(parts[-1])
    if left <= 0:
        raise _too_many_bytes(name, limits.max_bytes + 1, limits)
    return b"".join(parts)


# From bytes to pixels.

_quiet_lock = threading.Lock()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings of large sizes, for which we have limits, and of odd tags, which change no pixel.

    Under a lock, because the filters of warnings belong to all threads. So only for parsing, not for decoding.
    """
    log = logging.getLogger("PIL")
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = log.level
        log.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            log.setLevel(level)


def _open(data: bytes, limits: ImageLimits, name: str) -> Image.Image:
    """Parse the header and check the size; no pixel is decoded yet."""
    if not data:
        raise ImageError(f"{name}: empty, 0 bytes. It was not written, or not sent, to its end: get it again.")
    if data[12:16] == b"CgBI":  # Pillow takes it for a PNG, and its pixels for damaged
        raise _not_read(data, limits, name)
    try:
        with _quiet():
            image = Image.open(io.BytesIO(without_metadata(data)), formats=limits.formats)
    except Image.DecompressionBombError as exc:
        # Pillow's own last line, above any limit of ours unless that was set very high.
        raise ImageError(f"{name}: too many pixels (limit max_pixels = {limits.max_pixels}): {exc}") from exc
    except (UnidentifiedImageError, ImportError) as exc:
        # Where ultralytics is loaded, Pillow's open is its own, and looks for a HEIF reader where there may be none.
        raise _not_read(data, limits, name) from exc
    except Exception as exc:  # decoders raise almost anything on bytes made to hurt
        raise ImageError(f"{name}: damaged or cut off ({_cause(exc)}).") from exc
    if image.format == "TIFF" and _is_preview(image):
        width, height = image.size
        raise ImageError(
            f"{name}: looks like a camera's raw file, of which only a preview of {width} x {height} pixels can be "
            "read. Develop it to JPEG, PNG or TIFF."
        )
    _check_size(image.size, limits, name)
    return image


def _is_preview(image: Any) -> bool:
    """Whether the first page of a TIFF says that it is a smaller copy of another one within it (DNG, NEF, ARW, …)."""
    tags = image.tag_v2
    kind = tags.get(254, 0)  # NewSubfileType; 330: SubIFDs
    return isinstance(kind, int) and bool(kind & 1) and 330 in tags


def _check_size(size: tuple[int, int], limits: ImageLimits, name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name}: {width} x {height} pixels, so no picture.")
    if max(size) > limits.max_side:
        raise ImageError(f"{name}: {width} x {height} pixels; the limit max_side is {limits.max_side}. Resize it.")
    if width * height > limits.max_pixels:
        raise ImageError(f"{name}: {width} x {height} pixels; the limit max_pixels is {limits.max_pixels}. Resize it.")


def _finish(image: Image.Image, limits: ImageLimits, name: str) -> LoadedImage:
    """Decode if need be, turn upright, convert to RGB, and name by content."""
    _check_size(image.size, limits, name)
    try:
        # Pillow parses a TIFF's tags again, and turns it upright, when it decodes it.
        with _quiet() if image.format == "TIFF" else contextlib.nullcontext():
            image.load()
        rgb = _to_rgb(_upright(image), name)
    except ImageError:
        raise
    except Exception as exc:  # decoders raise almost anything on bytes made to hurt
        if isinstance(exc, ValueError) and "closed" in str(exc):
            raise ImageError(f"{name}: it, or its file, was closed before it was loaded. Open it again.") from exc
        raise ImageError(f"{name}: damaged or cut off ({_cause(exc)}).") from exc
    data = rgb.tobytes()
    digest = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode())
    digest.update(data)
    # Made anew, without the metadata: an EXIF orientation left behind would turn the picture a second time.
    return LoadedImage(Image.frombytes("RGB", rgb.size, data), digest.hexdigest(), name)


_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF (or XMP) says. A picture with unreadable EXIF is taken as upright, as viewers do.

    `ImageOps.exif_transpose` is not used: it also rewrites all other EXIF tags, and stops at some that are malformed.
    """
    try:
        with _quiet():
            orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # EXIF is a file format of its own, damaged in as many ways
        return image
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


# Formats whose programs often leave the byte for transparency at 0 where they mean none, and whose viewers know that.
_FOURTH_BYTE = ("BMP", "DIB", "TGA")


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """An 8-bit RGB image."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _grey_to_rgb(np.asarray(image), name)
    if image.mode == "La":  # the one mode of transparency that Pillow turns into RGBA only in two steps
        image = image.convert("LA")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if image.format in _FOURTH_BYTE and rgba.getchannel("A").getextrema() == (0, 0):
            return rgba.convert("RGB")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _grey_to_rgb(grey: np.ndarray, name: str) -> Image.Image:
    """[H, W] of 16-bit integers, of 32-bit ones whose values fit 8 or else 16 bits, or of floats from 0 to 1."""
    if grey.dtype.kind == "f":
        grey = _unit_to_bytes(grey, name)
    elif grey.min() < 0 or grey.max() > 65535:
        raise ImageError(
            f"{name}: 32-bit grey values {grey.min()}..{grey.max()} have no known range. Scale them to 0..65535."
        )
    elif grey.dtype.itemsize > 2 and grey.max() <= 255:
        grey = grey.astype(np.uint8)
    else:
        grey = _words_to_bytes(grey)
    return Image.fromarray(grey).convert("RGB")


def _from_array(array: np.ndarray, limits: ImageLimits) -> Image.Image:
    """An RGB, RGBA or grey image of an array; size is checked before any conversion makes copies."""
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        hint = " Move the channels to the end: array.transpose(1, 2, 0)." if _channels_first(array.shape) else ""
        raise ImageError(f"array: shape {list(array.shape)}; wanted [H, W], [H, W, 1], [H, W, 3] or [H, W, 4].{hint}")
    _check_size((array.shape[1], array.shape[0]), limits, "array")
    if array.dtype.kind == "f":
        array = _unit_to_bytes(array, "array")
    elif array.dtype == np.uint16:
        array = _words_to_bytes(array)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype != np.uint8:
        raise ImageError(f"array: dtype {array.dtype}; wanted uint8, uint16, bool, or float from 0 to 1.")
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.ndim == 3 and channels == 1 else array))


def _channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] in (1, 3, 4)


def _unit_to_bytes(values: np.ndarray, name: str) -> np.ndarray:
    """Floats from 0 to 1 as bytes, rounded; what rounding errors put just outside is cut."""
    # float32 keeps a large picture's copies small, and has digits to spare for 256 steps.
    values = values.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # so that NaN fails
        raise ImageError(f"{name}: float values {low:g}..{high:g}; wanted 0 to 1. Divide by the largest value.")
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)


def _words_to_bytes(values: np.ndarray) -> np.ndarray:
    """0..65535 to 0..255, rounded: 65535 = 257 * 255."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


# For messages.


def _not_read(data: bytes, limits: ImageLimits, name: str) -> ImageError:
    """Bytes that no decoder took: what they seem to be, and what to do."""
    kind = kind_of(data)
    if kind is None:
        seems = "no picture that can be recognised."
    elif kind.pillow in limits.formats:
        seems = f"looks like {kind.name}, damaged, cut off or of a kind that is not read."
    else:
        seems = (
            f"looks like {kind.name}, {'which is not read' if kind.picture else 'no picture'}. {kind.advice}".rstrip()
        )
    return ImageError(f"{name}: {seems} Formats read: {', '.join(limits.formats)}.")


def _too_many_bytes(name: str, size: int, limits: ImageLimits) -> ImageError:
    return ImageError(f"{name}: {size} bytes or more; the limit max_bytes is {limits.max_bytes}.")


def _cause(exc: Exception) -> str:
    return _shorten(" ".join(str(exc).split()) or type(exc).__name__)


def _short_path(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    return _shorten(repr(text))


def _shorten(text: str) -> str:
    """At most 120 printable characters on one line."""
    text = "".join(c if c.isprintable() else "?" for c in text[:121])
    return text if len(text) <= 120 else text[:117] + "…"
