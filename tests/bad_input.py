"""The table of hostile inputs: what is done, and the typed error that it must end in.

`python -m tests.bad_input` prints docs/bad-input.md. tests/e2e/test_bad_input.py runs every row.
"""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fo1agent.agent import Agent
from fo1agent.errors import (
    BoxError,
    CheckpointError,
    ImageError,
    InputError,
    PlanError,
    ProposalError,
    SegmentationError,
    ToolFailed,
)
from fo1agent.loading import load
from fo1agent.pictures.image import ImageLimits, LoadedImage, load_image
from fo1agent.pictures.ocr import OCR
from fo1agent.plans.language import Plan
from fo1agent.proposals import Given, resolve_proposer
from fo1agent.proposals.base import to_regions
from fo1agent.regions import geometry
from fo1agent.regions.regions import Regions
from fo1agent.runs.budget import Budget
from fo1agent.scene import Model, Scene
from fo1agent.tools.registry import registry
from tests.fakes import FakePredictor
from tests.tiny_models import reference

IDS = torch.tensor([[5, 6]])


def failing(image: LoadedImage) -> Regions:
    """A proposer."""
    return Regions(np.array([[0, 0, NAN, 9]]), np.ones(1), (None,), ("mine",))


def logits(image: LoadedImage, boxes: np.ndarray) -> np.ndarray:
    """A segmenter."""
    return np.full((len(boxes), *image.size_hw), -8.0)


class World:
    """What the rows act on: an empty folder, a picture, and a scene of it with three known regions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        objects = [
            ((60, 40, 300, 200), "bus", 0.9),
            ((5, 60, 40, 210), "person", 0.8),
            ((310, 60, 350, 200), "person", 0.7),
        ]
        self.model = Model(FakePredictor(objects))
        self.picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (240, 360, 3), dtype=np.uint8))
        self.scene: Scene = self.model.open(self.picture)
        self.path = self.file("picture.png", encoded(self.picture))

    def file(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def pipe(self) -> str:
        os.mkfifo(self.folder / "pipe")
        return str(self.folder / "pipe")

    def prompt(self, images: Any = None, text: Any = "What is it?", boxes: Any = None) -> None:
        reference()[1](images, text, boxes)

    def chat(self, conversation: Any) -> None:
        reference()[1].apply_chat_template(conversation)

    def write(self, **given: Any) -> None:
        reference()[0].generate(**{"input_ids": IDS, **given})

    def tool(self, name: str, arguments: Any) -> None:
        """A tool never raises for what its caller did; it tells the planner."""
        outcome = registry()[name].call(self.scene, arguments)
        assert outcome.result is None
        raise Told(outcome.error)


class Told(Exception):
    """Not raised by fo1agent: stands for an error that a tool hands to its planner as a result."""


@dataclass(frozen=True)
class Row:
    """`act` must raise `error`, with `says` in its message."""

    what: str
    act: Callable[[World], Any]
    error: type[Exception]
    says: str


@dataclass(frozen=True)
class Command:
    """`fo1agent` with these arguments must end in exit code 1 and one line on stderr with `says` in it."""

    what: str
    arguments: Callable[[World], list[str]]
    says: str


def encoded(image: Image.Image, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT"


def base64_url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def media(own: bytes, *others: bytes) -> bytes:
    """The beginning of an ISO media file: its own brand, and those that it is compatible with."""
    return struct.pack(">I", 16 + 4 * len(others)) + b"ftyp" + own + bytes(4) + b"".join(others) + bytes(64)


def raw_file(image: Image.Image) -> bytes:
    """A TIFF whose first page is a smaller copy of another one in it, as cameras write them."""
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", tiffinfo={254: 1, 330: 8})
    return buffer.getvalue()


def chunks(count: int) -> bytes:
    """A PNG of so many empty chunks of text."""
    return png_header(9, 9)[:33] + (struct.pack(">I", 0) + b"tEXt" + struct.pack(">I", zlib.crc32(b"tEXt"))) * count


def closed(path: str, opened: Callable[..., Any] = open) -> Any:
    file = opened(path, "rb") if opened is open else opened(path)
    file.close()
    return file


class SpentPipe(io.RawIOBase):
    """A pipe that was read to its end."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return 0


def broken_ocr() -> OCR:
    return OCR(settings={"Rec.rec_batch_num": 0})


GIT_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n"
PRIVATE = "which is not a public address"
LARGE = 10_000_000
STEPS = {"question": "", "steps": [{}] * 1_000_000}
FLIES = {"question": "", "steps": [{"op": "fly"}]}
NAN = float("nan")
SMALL = ImageLimits(max_bytes=1000)

TABLE: dict[str, list[Row]] = {
    "Pictures": [
        Row("no such file", lambda w: load_image("no/such.jpg"), ImageError, "There is no file 'no/such.jpg'"),
        Row("an empty path", lambda w: load_image(""), ImageError, "There is no file ''"),
        Row("a folder", lambda w: load_image(w.folder), ImageError, "is a folder, not a regular file"),
        Row(
            "a pipe that nobody writes to", lambda w: load_image(w.pipe()), ImageError, "is a pipe, not a regular file"
        ),
        Row("`/dev/zero`", lambda w: load_image("/dev/zero"), ImageError, "is a device, not a regular file"),
        Row("a path with a null byte", lambda w: load_image("a\0b"), ImageError, "cannot be read as a file"),
        Row("base64 in place of a path", lambda w: load_image("A" * 99_999), ImageError, "cannot be read as a file"),
        Row(
            "an empty file",
            lambda w: load_image(w.file("x.png", b"")),
            ImageError,
            "empty, 0 bytes. It was not written",
        ),
        Row("noise", lambda w: load_image(bytes(range(128, 256))), ImageError, "no picture that can be recognised"),
        Row("text called .jpg", lambda w: load_image(w.file("x.jpg", b"hello")), ImageError, "text, no picture"),
        Row("a web page called .png", lambda w: load_image(b"<!doctype html>"), ImageError, "a web page (HTML)"),
        Row("an error in JSON", lambda w: load_image(b'{"error": 404}'), ImageError, "looks like JSON"),
        Row("a pointer of Git LFS", lambda w: load_image(GIT_LFS), ImageError, "git lfs pull"),
        Row("base64 in a file", lambda w: load_image(base64.b64encode(encoded(w.picture))), ImageError, "base64"),
        Row(
            "a file of zeros", lambda w: load_image(bytes(9999)), ImageError, "not written, or not fetched, to its end"
        ),
        Row("a PDF", lambda w: load_image(b"%PDF-1.7"), ImageError, "looks like PDF"),
        Row("an SVG", lambda w: load_image(b"<svg/>"), ImageError, "looks like SVG"),
        Row("PostScript, which a decoder would run", lambda w: load_image(b"%!PS-Adobe"), ImageError, "PostScript"),
        Row("a HEIC of any brand", lambda w: load_image(media(b"mif1", b"heix")), ImageError, "looks like HEIC"),
        Row("a JPEG XL", lambda w: load_image(b"\xff\x0a" + bytes(9)), ImageError, "looks like JPEG XL"),
        Row("a JPEG 2000", lambda w: load_image(encoded(w.picture, "JPEG2000")), ImageError, "looks like JPEG 2000"),
        Row("a video", lambda w: load_image(media(b"isom", b"mp42")), ImageError, "a video (MP4)"),
        Row("a ZIP", lambda w: load_image(b"PK\3\4" + bytes(9)), ImageError, "looks like ZIP"),
        Row(
            "a camera's raw file", lambda w: load_image(raw_file(w.picture)), ImageError, "only a preview of 360 x 240"
        ),
        Row("a PNG cut in half", lambda w: load_image(encoded(w.picture)[:9000]), ImageError, "damaged or cut off"),
        Row("a JPEG cut in half", lambda w: load_image(encoded(w.picture, "JPEG")[:9000]), ImageError, "cut off"),
        Row(
            "a header of 30000 x 30000 pixels",
            lambda w: load_image(png_header(30_000, 30_000)),
            ImageError,
            "max_pixels",
        ),
        Row(
            "a header of 10 x 60000 pixels",
            lambda w: load_image(png_header(10, 60_000)),
            ImageError,
            "max_side is 16384",
        ),
        Row(
            "a header of 2³¹ x 2³¹ pixels",
            lambda w: load_image(png_header(2**31 - 1, 2**31 - 1)),
            ImageError,
            "max_pixels",
        ),
        Row("more bytes than the limit", lambda w: load_image(w.path, SMALL), ImageError, "max_bytes is 1000"),
        Row("a format that is not listed", lambda w: load_image(encoded(w.picture, "PPM")), ImageError, "Formats read"),
        Row("a PNG of a million chunks", lambda w: load_image(chunks(10**6)), ImageError, "more than 200000 chunks"),
        Row("a closed file", lambda w: load_image(closed(w.path)), ImageError, "it is closed"),
        Row("a pipe read to its end", lambda w: load_image(SpentPipe()), ImageError, "nothing is left to read"),
        Row(
            "a file open for writing", lambda w: load_image(io.BufferedWriter(io.BytesIO())), ImageError, "for reading"
        ),  # pyright: ignore
        Row("a closed PIL image", lambda w: load_image(closed(w.path, Image.open)), ImageError, "was closed before"),
        Row("a file opened as text", lambda w: load_image(io.StringIO("x")), ImageError, "binary mode"),
        Row("a number", lambda w: load_image(7), ImageError, "Pass a path, URL, bytes"),
        Row("nothing (None)", lambda w: load_image(None), ImageError, "Pass a path, URL, bytes"),
        Row(
            "an array with channels first", lambda w: load_image(np.zeros((3, 9, 9))), ImageError, "transpose(1, 2, 0)"
        ),
        Row("a float array up to 255", lambda w: load_image(np.full((9, 9), 255.0)), ImageError, "wanted 0 to 1"),
        Row("an array of NaN", lambda w: load_image(np.full((9, 9), NAN)), ImageError, "wanted 0 to 1"),
        Row("an array without pixels", lambda w: load_image(np.zeros((0, 9))), ImageError, "no picture"),
        Row(
            "a path outside the allowed folder",
            lambda w: load_image(w.folder / ".." / "x.png", ImageLimits(folders=(w.folder,))),
            ImageError,
            "outside the folders",
        ),
    ],
    "Addresses": [
        Row(
            "a scheme other than http(s)", lambda w: load_image("file:///etc/passwd"), ImageError, "only http and https"
        ),
        Row("loopback", lambda w: load_image("http://127.0.0.1/x"), ImageError, PRIVATE),
        Row("loopback by name", lambda w: load_image("http://localhost/x"), ImageError, PRIVATE),
        Row("loopback as one decimal number", lambda w: load_image("http://2130706433/x"), ImageError, PRIVATE),
        Row("loopback in hexadecimal", lambda w: load_image("http://0x7f.1/x"), ImageError, PRIVATE),
        Row("loopback of IPv6", lambda w: load_image("http://[::1]/x"), ImageError, PRIVATE),
        Row("IPv4 loopback within IPv6", lambda w: load_image("http://[::ffff:127.0.0.1]/x"), ImageError, PRIVATE),
        Row("a private network", lambda w: load_image("http://10.0.0.1/x"), ImageError, PRIVATE),
        Row("a cloud's metadata service", lambda w: load_image("http://169.254.169.254/x"), ImageError, PRIVATE),
        Row("multicast", lambda w: load_image("http://224.0.0.1/x"), ImageError, PRIVATE),
        Row("a name before @", lambda w: load_image("http://a.org@127.0.0.1/"), ImageError, "a user name or password"),
        Row("no host", lambda w: load_image("http:///x.png"), ImageError, "names no host"),
        Row("a broken URL", lambda w: load_image("http://[::1"), ImageError, "not a valid URL"),
        Row("an impossible port", lambda w: load_image("http://a.org:99999/"), ImageError, "not a valid URL"),
        Row("a data URL without data", lambda w: load_image("data:image/png"), ImageError, "no comma"),
        Row("a data URL of broken base64", lambda w: load_image("data:;base64,@@"), ImageError, "not valid base64"),
        Row("a data URL that is cut off", lambda w: load_image("data:;base64,iVBOR"), ImageError, "so it is cut off"),
        Row("a data URL over the limit", lambda w: load_image(base64_url(bytes(9999)), SMALL), ImageError, "max_bytes"),
    ],
    "Boxes": [
        Row("NaN", lambda w: w.model.open(w.picture, boxes=[[0, 0, NAN, 9]]), BoxError, "boxes[0]"),
        Row("infinity", lambda w: w.model.open(w.picture, boxes=[[0, 0, 9, float("inf")]]), BoxError, "must be finite"),
        Row("x2 < x1", lambda w: w.model.open(w.picture, boxes=[[9, 0, 5, 9]]), BoxError, "x2 = x1 + width"),
        Row(
            "wholly outside",
            lambda w: w.model.open(w.picture, boxes=[[999, 0, 1009, 9]]),
            BoxError,
            "inside the picture",
        ),
        Row("without area", lambda w: w.model.open(w.picture, boxes=[[5, 5, 5, 5]]), BoxError, "has no area inside"),
        Row(
            "parts of the picture's size",
            lambda w: w.model.open(w.picture, boxes=[[0.1, 0.1, 0.5, 0.5], [0, 0, 1, 1]]),
            BoxError,
            "(0.1, 0.1, 0.5, 0.5) looks like parts of the picture's size; give pixels",
        ),
        Row("the whole as parts", lambda w: w.scene.describe((0, 0, 1, 1)), BoxError, "multiply by width and height"),
        Row(
            "parts as text",
            lambda w: w.scene.count("bus", within="[0.1, 0.1, 0.9, 0.9]"),
            BoxError,
            "multiply by width and height",
        ),
        Row("one flat list", lambda w: w.model.open(w.picture, boxes=[0, 0, 9, 9]), BoxError, "shape [N, 4]"),
        Row("three numbers", lambda w: w.model.open(w.picture, boxes=[[0, 0, 9]]), BoxError, "shape [N, 4]"),
        Row("words", lambda w: w.model.open(w.picture, boxes="the left half"), BoxError, "must be numbers"),
        Row(
            "a number of 400 digits", lambda w: w.model.open(w.picture, boxes=[[0, 0, 10**400, 9]]), BoxError, "must be"
        ),
        Row("more scores than boxes", lambda w: Given([[0, 0, 9, 9]], scores=[1, 1]), InputError, "pass one of each"),
        Row(
            "NaN from a detector",
            lambda w: to_regions(load_image(w.picture), np.array([[0, 0, NAN, 9]]), np.ones(1), [None], "mine"),
            ProposalError,
            "mine gave boxes[0]",
        ),
    ],
    "Phrases and arguments": [
        Row("an empty phrase", lambda w: w.scene.ground(""), InputError, "must say what to look for"),
        Row("a phrase of spaces", lambda w: w.scene.count("   "), InputError, "must say what to look for"),
        Row("a number as phrase", lambda w: w.scene.ground(5), InputError, "must say what to look for"),  # pyright: ignore
        Row("a phrase of 10 MB", lambda w: w.scene.ground("b" * LARGE), InputError, "1000 characters, got 10000000"),
        Row("a string for a list", lambda w: w.scene.ground_many("bus"), InputError, "needs a list of phrases"),
        Row("neither phrase nor example", lambda w: w.scene.ground(), InputError, "one of the two"),
        Row("threshold 2", lambda w: w.scene.ground("bus", threshold=2), InputError, "a probability from 0 to 1"),
        Row("threshold NaN", lambda w: w.scene.count("bus", threshold=NAN), InputError, "a probability from 0 to 1"),
        Row("limit -1", lambda w: w.scene.ground("bus", limit=-1), InputError, "1 or more"),
        Row("an unknown region", lambda w: w.scene.read("r999"), InputError, "No region r999. There are r0 to r2."),
        Row(
            "a region of another picture", lambda w: w.scene.region("img_00000000/r0"), InputError, "of another picture"
        ),
        Row("a path as region", lambda w: w.scene.region("../../etc"), InputError, "is no region id"),
        Row("a region id of 5000 digits", lambda w: w.scene.region("r" + "9" * 5000), InputError, "is no region id"),
        Row("a box id inside out", lambda w: w.scene.region("b50_50_5_5"), BoxError, "x2 < x1"),
        Row("reading outside the picture", lambda w: w.scene.read((900, 0, 950, 9)), InputError, "shows nothing"),
        Row("an unknown source of text", lambda w: w.scene.read(source="mind"), InputError, "got source='mind'"),  # pyright: ignore
        Row("an empty question about a region", lambda w: w.scene.inspect("r0", ""), InputError, "needs a question"),
        Row(
            "an unknown relation", lambda w: w.scene.relate("bus", "beyond", "car"), InputError, "No relation 'beyond'"
        ),
        Row("nearest to nothing", lambda w: geometry.nearest(np.ones((1, 4)), np.zeros((0, 4))), InputError, "no box"),
        Row("a margin of NaN", lambda w: w.scene.zoom("r0", margin=NAN), InputError, "Pass 0 or more"),
        Row("a drawing of a million pixels' width", lambda w: w.scene.annotate(size=10**6), InputError, "1 to 16384"),
        Row("an unknown language", lambda w: OCR("klingon"), InputError, "reads the language 'klingon'"),
        Row("a language whose model is missing", lambda w: OCR("ru"), CheckpointError, "that reads 'ru'. Save https"),
        Row("a misspelt setting of the OCR", lambda w: OCR(None, {"Det.tresh": 1}), InputError, "mean Det.thresh"),
        Row(
            "a setting that makes the OCR fail", lambda w: broken_ocr()(w.picture), ToolFailed, "The OCR engine failed"
        ),
        Row("limits of nothing", lambda w: ImageLimits(max_bytes=0), InputError, "must be above 0"),
    ],
    "Agent and tools": [
        Row("a question of 10 MB", lambda w: Agent(w.model).ask(w.scene, "a" * LARGE), InputError, "4000 characters"),
        Row("a question that is not text", lambda w: Agent(w.model).ask(w.scene, None), InputError, "a NoneType"),  # pyright: ignore
        Row(
            "a question about no picture",
            lambda w: Agent(w.model).ask("no.jpg", "A bus?"),
            ImageError,
            "no file 'no.jpg'",
        ),
        Row(
            "an agent without a model", lambda w: Agent().ask(w.path, "A bus?"), InputError, "no model to open pictures"
        ),
        Row("an unknown planner", lambda w: Agent(w.model, planner="magic"), InputError, "No planner 'magic'"),
        Row("a budget of nothing", lambda w: Budget(steps=0), InputError, "must be above 0"),
        Row("a plan that is not JSON", lambda w: Plan.parse("{"), PlanError, "the JSON is wrong"),
        Row("a plan nested 100000 deep", lambda w: Plan.parse("[" * 100_000), PlanError, "longer than 64,000"),
        Row("a plan nested 10000 deep", lambda w: Plan.parse("[" * 10_000), PlanError, "nested deeper than"),
        Row("a plan of a million steps", lambda w: Plan.parse(STEPS), PlanError, "longer than 64,000"),
        Row("a plan with an unknown operation", lambda w: Plan.parse(FLIES), PlanError, "expected tags: 'find'"),
        Row("tool arguments that are not JSON", lambda w: w.tool("ground", '{"phrase":'), Told, "Invalid JSON"),
        Row("JSON nested 100000 deep", lambda w: w.tool("ground", "[" * 100_000), Told, "recursion limit"),
        Row(
            "an argument too many", lambda w: w.tool("ground", {"phrase": "bus", "x": 1}), Told, "there is no argument"
        ),
        Row(
            "a box in parts of the picture's size",
            lambda w: w.tool("count", {"phrase": "bus", "within": [0, 0, 1, 1]}),
            Told,
            "within: The box (0, 0, 1, 1) looks like parts of the picture's size",
        ),
        Row("an argument too few", lambda w: w.tool("count", {}), Told, "phrase is missing: what to count"),
        Row("an argument of the wrong kind", lambda w: w.tool("count", {"phrase": 5}), Told, "valid string"),
        Row("a region that the planner made up", lambda w: w.tool("read", {"region": "r999"}), Told, "No region r999"),
    ],
    "Models and proposers": [
        Row("a folder without a model", lambda w: load(w.folder), CheckpointError, "config.json"),
        Row("an unknown device", lambda w: load(device="gpu7"), InputError, "Cannot compute on device 'gpu7'"),
        Row("an unknown dtype", lambda w: load(dtype="int3"), InputError, "got 'int3'"),
        Row("an unknown proposer", lambda w: resolve_proposer("magic"), InputError, "No proposer 'magic'"),
        Row("a number as proposer", lambda w: resolve_proposer(5), InputError, "is no proposer"),  # pyright: ignore
        Row(
            "a detector's folder without a detector",
            lambda w: resolve_proposer(f"transformers:{w.folder}"),
            ProposalError,
            "cannot be loaded",
        ),
        Row(
            "a detector's folder that is not there",
            lambda w: resolve_proposer("transformers:/no/such/folder"),
            ProposalError,
            "there is no folder '/no/such/folder'",
        ),
        Row("a segmenter as finder", lambda w: load(finder="sam2.1-tiny"), InputError, "That is a segmenter"),
        Row("a function as finder", lambda w: load(finder=print), InputError, "Pass it as proposer"),  # pyright: ignore
        Row("a name that ends in +", lambda w: load("nano+"), InputError, "a detector is missing after +"),
        Row(
            "a proposer that fails",
            lambda w: Model(w.model.predictor, failing).open(w.path),
            ProposalError,
            "failing failed",
        ),
        Row(
            "logits from a segmenter",
            lambda w: Model(w.model.predictor, segmenter=logits).open(w.path).segment("bus"),
            SegmentationError,
            "its values go from -8 to -8",
        ),
    ],
    "The model and processor of transformers' kind": [
        Row(
            "a box outside of the picture", lambda w: w.prompt(w.picture, boxes=[[900, 0, 950, 9]]), BoxError, "no area"
        ),
        Row("a text that is a number", lambda w: w.prompt(text=5), InputError, "must be a string, got 5"),
        Row("half a character", lambda w: w.prompt(text="\ud800"), InputError, "half of a character"),
        Row("a message that is a number", lambda w: w.chat([5]), InputError, "wanted an object with role and content"),
        Row(
            "a mask that is too short",
            lambda w: w.write(attention_mask=IDS[:, :1]),
            InputError,
            "must be a tensor [1, 2]",
        ),
        Row("ids without rows", lambda w: w.write(input_ids=IDS[0]), InputError, "a tensor [B, P]"),
        Row("pictures of another kind", lambda w: w.write(images=None), InputError, "that FO1Processor made"),
        Row("a temperature of NaN", lambda w: w.write(temperature=NAN), InputError, "must be a finite number"),
        Row("half a token", lambda w: w.write(max_new_tokens=2.5), InputError, "must be a valid integer"),
        Row("more text than positions", lambda w: w.write(max_new_tokens=8191), InputError, "together 8193"),
    ],
}

COMMANDS = [
    Command("no such picture", lambda w: ["ask", "no.jpg", "Is there a bus?"], "There is no file 'no.jpg'"),
    Command(
        "a file that is not a picture", lambda w: ["read", w.file("x.jpg", b"hello")], "looks like text, no picture"
    ),
    Command("a phone's picture", lambda w: ["read", w.file("x.heic", media(b"heic"))], "looks like HEIC"),
    Command("a private address", lambda w: ["count", "http://10.0.0.1/x.jpg", "bus"], PRIVATE),
    Command("an empty phrase", lambda w: ["ground", w.path, ""], "must say what to look for"),
    Command(
        "a language without a model", lambda w: ["read", w.path, "--ocr-lang", "ru"], "that reads 'ru'. Save https"
    ),
    Command(
        "a box in parts of the picture's size",
        lambda w: ["count", w.path, "bus", "--within", "0.1,0.1,0.9,0.9"],
        "multiply by width and height",
    ),
    Command(
        "reading with a model that only has names",
        lambda w: ["read", w.path, "--source", "model"],
        "can name things but not read",
    ),
    Command("an unknown region", lambda w: ["describe", w.path, "--region", "r999"], "No region r999"),
    Command(
        "boxes that are not JSON",
        lambda w: ["ground", w.path, "bus", "--boxes", w.file("boxes.json", b"[[1, 2")],
        "no list of boxes",
    ),
    Command(
        "boxes nested 100000 deep",
        lambda w: ["count", w.path, "bus", "--boxes", w.file("deep.json", b"[" * 100_000)],
        "nested deeper than 64 levels",
    ),
    Command("boxes without end", lambda w: ["count", w.path, "bus", "--boxes", "/dev/zero"], "a device, not a regular"),
    Command("boxes of a pipe", lambda w: ["count", w.path, "bus", "--boxes", w.pipe()], "a pipe, not a regular file"),
    Command("a trace that is a pipe", lambda w: ["report", w.pipe(), "out.html"], "a pipe, not a regular file"),
    Command("a trace without end", lambda w: ["report", "/dev/zero", "out.html"], "a device, not a regular file"),
    Command(
        "COCO data nested 100000 deep",
        lambda w: ["eval", "detection", "--instances", w.file("deep.json", b"[" * 100_000), "--images", str(w.folder)],
        "nested too deep",
    ),
    Command(
        "a question nested 100000 deep",
        lambda w: ["eval", "qa", w.file("deep.jsonl", b"[" * 100_000), "--images", str(w.folder)],
        "not JSON",
    ),
    Command(
        "a box with NaN in a file",
        lambda w: ["ground", w.path, "bus", "--boxes", w.file("nan.json", json.dumps([[0, 0, NAN, 9]]).encode())],
        "NaN is no number of JSON",
    ),
]


def document() -> str:
    """docs/bad-input.md."""
    parts = [
        "# Bad input, and the error it ends in\n",
        "The tests run every row; none ends in a traceback or a hang. `python -m tests.bad_input` writes this page.\n",
        f"{sum(map(len, TABLE.values())) + len(COMMANDS)} inputs.",
    ]
    for title, rows in TABLE.items():
        parts += [f"\n## {title}\n", "| input | error | its message says |", "|---|---|---|"]
        for row in rows:
            error = "returned to the planner" if row.error is Told else f"`{row.error.__name__}`"
            parts.append(f"| {row.what} | {error} | {row.says} |")
    parts += ["\n## The command", "\nOne line on stderr, nothing on stdout, exit code 1.\n"]
    parts += ["| input | the line says |", "|---|---|", *(f"| {row.what} | {row.says} |" for row in COMMANDS)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(document(), end="")
