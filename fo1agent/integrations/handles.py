"""The pictures that a caller may look at, by handle: `img_3fa9c1d2`, or the name that the host opened one by.

The host opens what it likes. What a language model names is opened only from the folders that the host allows, and from
addresses only if it allows those: a model does what it reads, and it reads pictures. Everything goes through the one
intake of pictures and its limits.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from fo1agent.errors import InputError
from fo1agent.image import ImageLimits, ImageSource, load_image
from fo1agent.scene import Model, Scene, load

_ID = re.compile(r"img_[0-9a-f]{8}")


class Scenes:
    """Opened pictures, each encoded once.

    Args:
        model: what opens them; None for fo1-nano, loaded when the first picture is opened.
        folders: the folders from which a caller may open pictures by path; none if empty.
        urls: whether a caller may open pictures from public http(s) addresses.
        limits: what a picture may cost; its `folders` are not looked at.
        keep: how many pictures that callers opened stay open; those that the host opened stay until `close`.

    Attributes:
        lock: held while a tool runs: the model computes one thing at a time.
    """

    def __init__(
        self,
        model: Model | None = None,
        *,
        folders: Sequence[str | os.PathLike[str]] = (),
        urls: bool = False,
        limits: ImageLimits | None = None,
        keep: int = 8,
    ) -> None:
        if isinstance(folders, (str, os.PathLike)):
            raise InputError(f"folders must be a list of folders, got {folders!r}. Pass [{folders!r}].")
        if keep < 1:
            raise InputError(f"keep must be 1 or more, got {keep!r}.")
        self.lock = threading.RLock()
        self._model = model
        self._urls = urls
        self._limits = limits or ImageLimits()
        self._folders = tuple(folders)
        self._keep = keep
        self._pinned: dict[str, Scene] = {}
        self._visited: OrderedDict[str, Scene] = OrderedDict()
        self._names: dict[str, str] = {}

    @property
    def model(self) -> Model:
        """What opens the pictures."""
        with self.lock:
            if self._model is None:
                self._model = load()
            return self._model

    @property
    def handles(self) -> dict[str, str]:
        """Id → what the picture came from, of every open picture, the host's first."""
        with self.lock:
            return {scene.id: scene.loaded.source for scene in (*self._pinned.values(), *self._visited.values())}

    def open(self, source: ImageSource | Scene) -> Scene:
        """Open a picture for callers to look at; only for the host's own sources, never for what a caller names.

        Args:
            source: anything that `load_image` takes, or an open `Scene`. A path or address is from then on a handle
                as well, and so is its last part, "cat.jpg", as long as no other picture has that name.

        Raises:
            ImageError: it cannot be read or breaks a limit.
        """
        with self.lock:
            scene = source if isinstance(source, Scene) else self._encoded(source, replace(self._limits, folders=None))
            self._pinned[scene.id] = scene
            self._visited.pop(scene.id, None)
            if isinstance(source, (str, os.PathLike)) and not str(source).startswith("data:"):
                name = os.fspath(source)
                self._names[name] = scene.id
                self._names.setdefault(re.split(r"[/\\]", name)[-1], scene.id)
            return scene

    def close(self, handle: str) -> None:
        """Forget a picture; one that is not open is no error."""
        with self.lock:
            known = self._names.get(handle, handle)
            self._pinned.pop(known, None)
            self._visited.pop(known, None)
            self._names = {name: picture for name, picture in self._names.items() if picture != known}

    def get(self, handle: str | None = None) -> Scene:
        """The picture that a caller means.

        Args:
            handle: its id, the name that the host opened it by, a path or an address; None for the only open one.

        Raises:
            InputError: it is not open and may not be opened, or None does not say which; the message lists the open
                ones.
        """
        with self.lock:
            if not handle:
                return self._only()
            known = self._names.get(handle, handle).partition("/")[0]
            if known in self._pinned:
                return self._pinned[known]
            if known in self._visited:
                self._visited.move_to_end(known)
                return self._visited[known]
            return self._visit(handle)

    def _only(self) -> Scene:
        known = {**self._visited, **self._pinned}
        if len(known) != 1:
            raise InputError(f"Say which picture is meant, as image. {self._told()}")
        return next(iter(known.values()))

    def _visit(self, handle: str) -> Scene:
        address = re.match(r"[a-z][a-z0-9+.-]+:", handle, re.IGNORECASE)
        if _ID.fullmatch(handle) or (not self._urls if address else not self._folders):
            raise InputError(f"No picture {handle[:200]!r} is open, and it may not be opened. {self._told()}")
        scene = self._encoded(handle, replace(self._limits, folders=self._folders))
        if scene.id not in self._pinned:
            self._visited[scene.id] = scene
            while len(self._visited) > self._keep:
                self._visited.popitem(last=False)
        return scene

    def _encoded(self, source: ImageSource, limits: ImageLimits) -> Scene:
        image = load_image(source, limits)
        known = self._pinned.get(image.id) or self._visited.get(image.id)
        return known or self.model.open(image, limits=limits)

    def _told(self) -> str:
        return f"Open are: {', '.join(self.handles)}." if self.handles else "None is open."
