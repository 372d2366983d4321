"""Any ultralytics detector as proposer and finder: YOLO, YOLO-World, YOLOE, RT-DETR, with weights that the user names.

ultralytics is AGPL-3.0, which binds programs that are built on it; fo1agent is Apache-2.0, does not depend on it, and
imports it only here, when one of its models is asked for. Nothing that fo1agent ships was trained with it. It is kept
from installing packages by itself, from sending usage data, and from unpickling classes it does not know.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fo1agent.errors import InputError, MissingExtraError, ProposalError
from fo1agent.extras import install_line
from fo1agent.pictures.image import LoadedImage
from fo1agent.presets import PARTS
from fo1agent.proposals.base import alike, to_regions
from fo1agent.proposals.kept import LOOKS, Kept, identity
from fo1agent.proposals.labels import names_of
from fo1agent.proposals.trust import Trust
from fo1agent.regions.boxes import nms
from fo1agent.regions.regions import LIMIT, Regions

# Read by ultralytics when it is imported. VERBOSE: its log goes to stdout, where our answers go.
_SETTINGS = {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}


_PER_BOX = 3  # so many classes may have the same box
_KEEPS = 0.25  # `conf`, by default, of ultralytics' own `predict`
_SAME_IOU = 0.7  # `iou`, likewise
_Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes [N, 4] in pixels, scores [N], classes [N]


class UltralyticsProposer:
    """One ultralytics model: its boxes, all classes together, and where it finds names or phrases. Threads that share
    it wait for each other.

    Attributes:
        name: `ultralytics:` and the file's name without its ending.
        names: of its classes; None for one that reads text, of which any phrase can be found.
        phrases: what its boxes are of, for one that reads text; else None.
        trust: what its scores are worth, by ultralytics' own threshold.
        identity: hash of the file.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str],
        *,
        phrases: Sequence[str] | None = None,
        min_score: float = 0.01,
        image_size: int = 640,
        limit: int = LIMIT,
        device: str = "cpu",
    ) -> None:
        """Load the weights.

        Args:
            weights: a local file, or the name of one of ultralytics' released weights such as `yolo11n.pt`, which it
                then downloads into its own folder. Nothing else is ever downloaded.
            phrases: what to look for, for models that read text (YOLO-World, YOLOE); None for the classes in the
                weights. Reading text needs the CLIP package that ultralytics asks for.
            min_score: boxes below are not proposed. Low, because FO1 judges them again.
            image_size: the longer side, pixels, that the detector resizes the picture to.
            limit: at most so many boxes, and so many of a name or phrase.
            device: as torch names it.

        Raises:
            MissingExtraError: ultralytics, or what it needs for these weights, is not installed.
            ProposalError: the weights cannot be loaded, or are of a model that makes no boxes.
            InputError: no such file and no such release, or phrases for a model that reads no text.
        """
        ultralytics = import_ultralytics("A proposer of ultralytics")
        path = existing(os.fspath(weights))
        self.name = f"ultralytics:{Path(path).stem}"
        # Classes do not suppress each other here, so that each has boxes of its own: more are needed.
        self._options: dict[str, Any] = {
            "conf": min_score,
            "imgsz": image_size,
            "max_det": _PER_BOX * limit,
            "device": device,
        }
        self._limit, self._path = limit, str(fetch(path))
        self._model = self._opened(ultralytics, phrases)
        labels = [self._model.names[k] for k in sorted(self._model.names)]
        self._classes = names_of(labels, len(labels))
        reads = _reads_text(self._model)
        self.names = None if reads else tuple(self._classes)
        self.phrases = tuple(labels) if reads else None
        self.trust = Trust.at(_KEEPS)
        self.identity = identity([Path(path)]) if os.path.exists(path) else ""
        self._pictures, self._lock = Kept(LOOKS), threading.Lock()
        self._reader: Any = None  # the model that is asked for phrases, once it is

    def __call__(self, image: LoadedImage) -> Regions:
        """Boxes in original pixels, best first, named by the detector's classes.

        Raises:
            ProposalError: the detector failed.
        """
        return self.propose_many([image])[0]

    def propose_many(self, images: Sequence[LoadedImage]) -> list[Regions]:
        """What a call gives of each; pictures of one size go through the detector together.

        Others do not: it would pad all of a batch to squares, in which it finds other boxes.

        Raises:
            ProposalError: as for a call.
        """
        return [self._best(*pair) for pair in zip(images, self._found(images), strict=True)]

    def _best(self, image: LoadedImage, found: _Found) -> Regions:
        """All boxes, each as the likeliest of its classes."""
        boxes, scores, classes = found
        kept = nms(boxes, scores, _SAME_IOU)
        labels = [self._model.names[k] for k in classes[kept].tolist()]
        return to_regions(image, boxes[kept], scores[kept], labels, self.name, self._limit)

    def find(self, image: LoadedImage, phrases: Sequence[str]) -> list[Regions]:
        """The boxes of each of its names; or of each phrase, by a look at the picture for each.

        Raises:
            ProposalError: the detector failed.
            MissingExtraError: reading text needs a package that is not installed.
        """
        if self.names is None:
            return [self._regions(image, self._look_for(image, one), one) for one in phrases]
        ((boxes, scores, classes),) = self._found([image])
        of_names = [np.isin(classes, self._classes[one]) for one in phrases]
        return [
            self._regions(image, (boxes[own], scores[own], classes[own]), one)
            for one, own in zip(phrases, of_names, strict=True)
        ]

    def _regions(self, image: LoadedImage, found: _Found, label: str) -> Regions:
        boxes, scores, _ = found
        return to_regions(image, boxes, scores, [label] * len(boxes), self.name, self._limit)

    def _found(self, images: Sequence[LoadedImage]) -> list[_Found]:
        """What is found of all classes, by one look at each picture."""
        with self._lock:
            return self._pictures.get_or_make_many(
                [image.sha256 for image in images], lambda new: self._look(self._model, [images[k] for k in new])
            )

    def _look_for(self, image: LoadedImage, phrase: str) -> _Found:
        with self._lock:
            # A model of its own, as going back to its classes would have to read them as text again.
            self._reader = self._reader or self._opened(import_ultralytics("A finder of ultralytics"), None)
            try:
                self._reader.set_classes([phrase.strip() or "object"])
            except ImportError as exc:
                raise MissingExtraError(f"{self.name} needs a package that is not installed: {exc}") from exc
            except Exception as exc:  # what reads text is downloaded, and may be anything
                raise ProposalError(f"{self.name} cannot read “{phrase[:40]}”: {_one_line(exc)}") from exc
            return self._look(self._reader, [image])[0]

    def _look(self, model: Any, images: Sequence[LoadedImage]) -> list[_Found]:
        found: dict[int, _Found] = {}
        for batch in alike([image.size_hw for image in images], [self._options["imgsz"] ** 2] * len(images)):
            pictures = [images[k].pixels for k in batch]
            try:
                results = model.predict(
                    pictures, agnostic_nms=False, iou=_SAME_IOU, verbose=False, save=False, **self._options
                )
            except Exception as exc:  # a detector's failure, whatever it is, is one for the caller
                raise ProposalError(f"{self.name} failed: {_one_line(exc)}") from exc
            found.update((k, _told(result)) for k, result in zip(batch, results, strict=True))
        return [found[k] for k in range(len(images))]

    def _opened(self, ultralytics: Any, phrases: Sequence[str] | None) -> Any:
        try:
            model = _open(ultralytics, self._path, phrases)
        except InputError:
            raise
        except ImportError as exc:
            raise MissingExtraError(f"{self.name} needs a package that is not installed: {exc}") from exc
        except Exception as exc:  # whatever a stranger's pickle or its loader comes to
            raise ProposalError(f"{self.name} cannot be loaded: {_one_line(exc)}") from exc
        if model.task not in ("detect", "segment", "pose", "obb"):
            raise ProposalError(f"{self.name} is for the task {model.task!r}, which makes no boxes.")
        model.clear_callback("on_predict_end")  # where usage data would be sent, also if it was imported before
        return model


def _told(result: Any) -> _Found:
    found = result.obb if result.obb is not None else result.boxes
    return _numpy(found.xyxy), _numpy(found.conf), _numpy(found.cls).astype(int)


def import_ultralytics(what: str) -> Any:
    """The package, kept to itself.

    Args:
        what: what needs it, as the first words of the message that it is not installed.

    Raises:
        MissingExtraError: it is not.
    """
    with _environment(_SETTINGS):
        try:
            import ultralytics
        except ImportError as exc:
            raise MissingExtraError(
                f"{what} needs one more package (mind its licence, AGPL-3.0): {install_line('ultralytics')}"
            ) from exc
        return ultralytics


@contextlib.contextmanager
def _environment(defaults: dict[str, str]) -> Iterator[None]:
    """Set variables that the user has not set, for a moment; child processes started later do not inherit them."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def existing(weights: str) -> str:
    """The local file, or the name of a release; checked here because ultralytics would search the internet for it.

    Raises:
        InputError: it is neither.
    """
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES

    if os.path.exists(weights):
        return weights
    if weights in GITHUB_ASSETS_NAMES:
        return weights
    raise InputError(
        f"There is no file {weights!r}, and ultralytics has released no weights of that name. "
        "Pass a local file, or a name such as 'yolo11n.pt'."
    )


def fetch(weights: str) -> Path:
    """The file of released weights in ultralytics' own folder, fetched if it is not there; whole or not at all.

    Raises:
        MissingExtraError: ultralytics is not installed.
        InputError: it has released nothing of that name.
        ProposalError: it cannot be fetched.
    """
    import_ultralytics("Fetching its weights")
    from ultralytics.utils import SETTINGS
    from ultralytics.utils.downloads import attempt_download_asset

    path = existing(weights)
    if os.path.exists(path):
        return Path(path)
    try:
        found = Path(attempt_download_asset(Path(SETTINGS["weights_dir"]) / path))
    except Exception as exc:  # of the network, by whichever library, or of the disk
        raise _unfetched(weights, f": {_one_line(exc).rstrip('.')}") from exc
    if not found.is_file():
        raise _unfetched(weights, "")
    return found


def _unfetched(weights: str, why: str) -> ProposalError:
    name = next((part.name for part in PARTS.values() if part.released == weights), None)
    get = f" When there is a network, `fo1agent models get {name}` fetches it." if name else ""
    return ProposalError(f"{weights} could not be fetched from ultralytics' releases{why}.{get}")


def _open(ultralytics: Any, path: str, phrases: Sequence[str] | None) -> Any:
    """The model in its own class: `YOLO` finds most by itself, but text models only by the file's name."""
    with safe_unpickling():
        model = ultralytics.YOLO(path)
        network = type(model.model).__name__
        if network == "WorldModel" and not isinstance(model, ultralytics.YOLOWorld):
            model = ultralytics.YOLOWorld(path)
        elif network.startswith("YOLOE") and not isinstance(model, ultralytics.YOLOE):
            model = ultralytics.YOLOE(path)
    if phrases is not None:
        if not hasattr(model, "set_classes"):
            raise InputError(f"{Path(path).name} reads no text; phrases are for YOLO-World and YOLOE weights.")
        model.set_classes(list(phrases))
    return model


def _reads_text(model: Any) -> bool:
    """Whether it takes phrases: YOLO-World and YOLOE do, but not a YOLOE whose names were put in ("prompt-free")."""
    return hasattr(model, "set_classes") and not hasattr(model.model.model[-1], "lrpc")


@contextlib.contextmanager
def safe_unpickling() -> Iterator[None]:
    """A .pt file is a pickle, which can run code: build nothing from it but ultralytics' and torch's own classes.

    ULTRALYTICS_SAFE_LOAD=false in the environment allows the rest, for weights whose maker you trust.
    """
    tasks: Any = importlib.import_module("ultralytics.nn.tasks")

    before = tasks.SAFE_LOAD
    tasks.SAFE_LOAD = not unpickles_all()
    try:
        yield
    finally:
        tasks.SAFE_LOAD = before


def unpickles_all() -> bool:
    """Whether the user allows what a .pt file may hold besides weights and models; see `safe_unpickling`."""
    return os.environ.get("ULTRALYTICS_SAFE_LOAD", "true").lower() in ("0", "false", "no", "off")


def _numpy(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else np.asarray(tensor)


def _one_line(exc: Exception) -> str:
    return (" ".join(str(exc).split()) or type(exc).__name__)[:300]
