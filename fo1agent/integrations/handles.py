"""The pictures that a caller may look at, by handle: `img_3fa9c1d2`, or the name by which the host opened one.

The host opens any picture. Pictures that a language model names are opened only from the folders that the host allows,
and from addresses only if it allows those, because a model does what it reads, and it reads pictures. All pass the
usual checks and limits.

Handles are short, and two pictures with the same short handle can be made on purpose. So pictures are kept under their
whole hash, the key. A handle means the key for which it was first given out, even after that picture is closed; another
picture gets a longer handle.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import dropwhile
from typing import Any, Self

from fo1agent.errors import InputError
from fo1agent.loading import load
from fo1agent.pictures.image import DIGITS, ImageLimits, ImageSource, LoadedImage, is_data_url, load_image
from fo1agent.regions.regions import check_boxes
from fo1agent.scene import Model, Scene

_LENGTHS = (DIGITS, 16, 32, 64)
_REMEMBERED = 65_536
"""Handles whose meaning is kept after their pictures were closed; some 20 MB."""


def looks_like_handle(text: str) -> bool:
    """Whether a text is a handle, or a misspelt one (capitals, blanks around it, too short), and so not a path."""
    return len(text) <= 200 and re.fullmatch(r"img_[0-9a-f-]*", text.strip().lower()) is not None


class Scenes:
    """Opened pictures, each encoded once.

    Args:
        model: what opens them; None for `load()`'s, when the first picture is opened.
        folders: the folders from which a caller may open pictures by path; none if empty.
        urls: whether a caller may open pictures from public http(s) addresses.
        limits: what a picture may cost; its `folders` are ignored.
        keep: how many pictures that callers opened stay open; those that the host opened stay until `close`.
        keep_bytes: how much memory those may take, pixels and encodings together; None for no limit but `keep`.
        together: whether tools may run at the same time, because the model itself keeps them apart.
        telling: whether messages list the open pictures; False where callers are strangers to each other.
        digits: how many digits of a picture's hash its handle has, more where another picture has those. With all 64 it
            is the same at every server.

    Attributes:
        lock: held while a tool runs, because the model computes one thing at a time; without effect with `together`.
    """

    def __init__(
        self,
        model: Model | None = None,
        *,
        folders: Sequence[str | os.PathLike[str]] = (),
        urls: bool = False,
        limits: ImageLimits | None = None,
        keep: int = 8,
        keep_bytes: int | None = None,
        together: bool = False,
        telling: bool = True,
        digits: int = DIGITS,
    ) -> None:
        if isinstance(folders, (str, os.PathLike)):
            raise InputError(f"folders must be a list of folders, got {folders!r}. Pass [{folders!r}].")
        if keep < 1:
            raise InputError(f"keep must be 1 or more, got {keep!r}.")
        self.lock: AbstractContextManager[Any] = nullcontext() if together else threading.RLock()
        self._settings = {
            "folders": tuple(folders),
            "urls": urls,
            "limits": limits,
            "keep": keep,
            "keep_bytes": keep_bytes,
            "together": together,
            "telling": telling,
            "digits": digits,
        }
        self._lazy = model is None  # nothing here needs a model that somebody made elsewhere
        self._guard = threading.RLock()  # of the pictures below, never held while one is read or encoded
        self._model = model
        self._urls = urls
        self._limits = limits or ImageLimits()
        self._folders = tuple(folders)
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._telling = telling
        self._digits = digits
        self._opened: dict[str, Scene] = {}  # by key, as all that follows; `_pinned` is how to get at it
        self._asleep: dict[str, LoadedImage] = {}  # to be encoded first: they came out of a pickle
        self._visited: OrderedDict[str, Scene] = OrderedDict()
        self._names: dict[str, str] = {}
        self._keys: OrderedDict[str, str] = OrderedDict()  # handle → key, open or not, those used long ago first
        self._handles: dict[str, str] = {}  # the same, key → handle

    # Open pictures are shared: a copy looks at the same ones. A pickle holds the host's pictures and no model.

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Raises InputError: a model, or a scene that one had opened, was passed, and no pickle holds a model."""
        if not self._lazy:
            raise InputError(
                "Open pictures cannot be pickled with the model that they were given. Leave the model out, for "
                "fo1-nano, which is loaded again where it is needed, and open pictures by path, not as scenes; or make "
                "the tools anew in the other process."
            )
        with self._guard:
            pictures = {key: scene.loaded for key, scene in self._opened.items()} | self._asleep
            known = {"_names": dict(self._names), "_keys": self._keys.copy(), "_handles": dict(self._handles)}
            return {"settings": self._settings, "pictures": pictures, "known": known}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(None, **state["settings"])
        self._asleep = state["pictures"]
        vars(self).update(state["known"])

    @property
    def _pinned(self) -> dict[str, Scene]:
        """The host's pictures, by key."""
        if self._asleep:
            with self._guard:
                for key, image in list(self._asleep.items()):
                    self._opened[key] = self.model.open(image, limits=replace(self._limits, folders=None))
                    del self._asleep[key]
        return self._opened

    @property
    def model(self) -> Model:
        """What opens the pictures."""
        with self._guard:
            if self._model is None:
                self._model = load()
            return self._model

    @property
    def handles(self) -> dict[str, str]:
        """Id → what the picture came from, of every open picture, the host's first."""
        with self._guard:
            opened = (*self._pinned.items(), *self._visited.items())
            return {self._handles[key]: scene.loaded.source for key, scene in opened}

    @property
    def nbytes(self) -> int:
        """Memory that the pictures of callers take, pixels and encodings together."""
        with self._guard:
            return sum(map(_nbytes, self._visited.values()))

    def open(self, source: ImageSource | Scene) -> Scene:
        """Open a picture for callers. For the host's own sources only, never for what a caller names.

        Args:
            source: anything that `load_image` takes, or an open `Scene`. A path or address is from then on a handle
                as well, and so is its last part, "cat.jpg", as long as no other picture has that name.

        Raises:
            ImageError: it cannot be read or breaks a limit.
        """
        with self.lock:
            limits = replace(self._limits, folders=None)
            self._lazy = self._lazy and not isinstance(source, Scene)
            scene = self._told_apart(source) if isinstance(source, Scene) else self._encoded(source, limits)
            key = scene.loaded.key
            with self._guard:
                self._handle(key)
                self._pinned[key] = scene
                self._visited.pop(key, None)
                if isinstance(source, (str, os.PathLike)) and not is_data_url(str(source)):
                    name = os.fspath(source)
                    self._names[name] = key
                    self._names.setdefault(re.split(r"[/\\]", name)[-1], key)
            return scene

    def receive(self, picture: bytes | str | LoadedImage, boxes: Any = None) -> tuple[str, Scene]:
        """Open a picture that a caller sent; it stays open as long as those that callers name.

        Args:
            picture: the bytes of the file, a `data:` URL, or what `load_image` made of either.
            boxes: [N, 4] xyxy pixels to use instead of proposals, as for `Model.open`.

        Returns:
            Its handle and itself. With boxes the handle is the picture's id, a dash, and hex digits of the boxes, 8
            unless others have those.

        Raises:
            ImageError: it is no picture or breaks a limit.
            BoxError: a box is malformed or lies outside the picture, or all are parts of its size instead of pixels.
        """
        if isinstance(picture, str) and not is_data_url(picture):
            raise InputError(f"A picture that is sent along is bytes or a data: URL, got {picture[:80]!r}.")
        limits = replace(self._limits, folders=())
        with self.lock:
            if boxes is None:
                scene = self._kept(self._encoded(picture, limits))
                return scene.id, scene
            checked = check_boxes(boxes)
            apart = hashlib.sha256(checked.tobytes()).hexdigest()
            image = self._under_its_id(replace(load_image(picture, limits), boxes=apart))
            scene = self._kept(self.known(image.key) or self.model.open(image, boxes=checked, limits=limits))
            return scene.id, scene

    def close(self, handle: str) -> None:
        """Close a picture; nothing happens if it is not open."""
        with self._guard:
            key = self.key(handle)
            self._pinned.pop(key, None)
            self._visited.pop(key, None)
            self._names = {name: picture for name, picture in self._names.items() if picture != key}

    def get(self, handle: str | None = None) -> Scene:
        """The picture that a caller means.

        Args:
            handle: its id, the name that the host opened it by, a path or an address; None for the only open one.

        Raises:
            InputError: it is not open and may not be opened, or None does not say which; with `telling` the message
                lists the open ones.
        """
        with self.lock:
            if not handle:
                return self._only()
            return self.known(handle) or self._visit(handle)

    def known(self, handle: str) -> Scene | None:
        """The open picture of an id, of a region's id, or of a name that the host opened it by; None if there is none.

        Nothing is opened.
        """
        with self._guard:
            key = self.key(handle)
            if key in self._visited:
                self._visited.move_to_end(key)
            return self._pinned.get(key) or self._visited.get(key)

    def handle(self, name: str) -> str:
        """The short handle of what a name stands for, itself if none was given out."""
        with self._guard:
            key = self.key(name)
            return self._handles.get(key, key)

    def key(self, handle: str) -> str:
        """What a handle stands for, in full: a handle as well, and one that no other picture can have.

        A handle that was never given out stands for itself.
        """
        with self._guard:
            known = self._names.get(handle, handle).partition("/")[0]
            return self._keys.get(known, known)

    def _only(self) -> Scene:
        with self._guard:
            known = {**self._visited, **self._pinned}
            if len(known) != 1:
                raise InputError(f"Say which picture is meant, as image. {self._told()}".rstrip())
            return next(iter(known.values()))

    def _visit(self, handle: str) -> Scene:
        address = re.match(r"\s*[a-z][a-z0-9+.-]+:", handle, re.IGNORECASE)
        if looks_like_handle(handle) or (not self._urls if address else not self._folders):
            raise InputError(f"No picture {handle[:200]!r} is open, and it may not be opened. {self._told()}".rstrip())
        return self._kept(self._encoded(handle, replace(self._limits, folders=self._folders)))

    def _kept(self, scene: Scene) -> Scene:
        """The scene, which is kept as a caller's, or the one of the same picture that is kept already."""
        key = scene.loaded.key
        with self._guard:
            if known := self.known(key):
                return known
            self._handle(key)
            self._visited[key] = scene
            while len(self._visited) > self._keep or (
                self._keep_bytes is not None and len(self._visited) > 1 and self.nbytes > self._keep_bytes
            ):
                self._visited.popitem(last=False)
            return scene

    def _encoded(self, source: ImageSource, limits: ImageLimits) -> Scene:
        image = self._under_its_id(replace(load_image(source, limits), boxes=""))
        return self.known(image.key) or self.model.open(image, limits=limits)

    def _under_its_id(self, image: LoadedImage, digits: int = 0) -> LoadedImage:
        """A picture, under an id of so many digits or more that no other one has here."""
        handle = self._handle(image.key, digits)
        return replace(image, digits=len(handle.partition("-")[0]) - len("img_"))

    def _told_apart(self, scene: Scene) -> Scene:
        """The scene, or where its id is another picture's here, one like it under an id of its own."""
        loaded = self._under_its_id(scene.loaded, scene.loaded.digits)
        if loaded.id == scene.id:
            return scene
        kept = {"note": scene.note, "parent": scene.parent, "offset_xy": scene.offset_xy}
        return Scene(scene.model, loaded, scene.encoding, **kept)

    def _handle(self, key: str, digits: int = 0) -> str:
        """The handle of a key: the one that it has, else the shortest, of so many digits or more, that is free."""
        digits = max(digits, self._digits)
        with self._guard:
            if (handle := self._handles.get(key)) is None:
                parts = key.split("-")
                shorter = (
                    "-".join([parts[0][: len("img_") + n], *(part[:n] for part in parts[1:])])
                    for n in dropwhile(lambda n: n < digits, _LENGTHS)
                )
                handle = next(one for one in shorter if one not in self._keys)
                self._keys[handle], self._handles[key] = key, handle
                if len(self._keys) > _REMEMBERED:
                    self._forget_one()
            self._keys.move_to_end(handle)
            return handle

    def _forget_one(self) -> None:
        """Let go of the handle that was used longest ago and whose picture is not open."""
        open_ = {key.partition("-")[0] for key in (*self._pinned, *self._visited, next(reversed(self._handles)))}
        for handle, key in self._keys.items():
            if key.partition("-")[0] not in open_:
                del self._keys[handle], self._handles[key]
                return

    def _told(self) -> str:
        if not self._telling:
            return ""
        return f"Open are: {', '.join(self.handles)}." if self.handles else "None is open."


def _nbytes(scene: Scene) -> int:
    """Of its pixels, for which Pillow takes four bytes each, and of its encoding as far as that tells."""
    return 4 * scene.width * scene.height + getattr(scene.encoding, "nbytes", 0)
