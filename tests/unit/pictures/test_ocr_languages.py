"""Who reads: languages, settings of RapidOCR, models that are not there, and an engine that fails."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw, ImageFont

from fo1agent.agent import Agent
from fo1agent.cli import main
from fo1agent.errors import CheckpointError, InputError, MissingExtraError, ToolFailed
from fo1agent.loading import load
from fo1agent.pictures import ocr_engine
from fo1agent.pictures.ocr import OCR
from fo1agent.scene import Model
from fo1agent.serve.app import create_app
from fo1agent.serve.settings import Settings
from fo1agent.tools.registry import registry
from tests.fakes import FakePredictor


def sign(*words: tuple[str, tuple[int, int]], size: tuple[int, int] = (400, 160), text: int = 36) -> Image.Image:
    picture = Image.new("RGB", size, "white")
    for word, at in words:
        ImageDraw.Draw(picture).text(at, word, fill="black", font=ImageFont.load_default(text))
    return picture


class Boom(Exception):
    """Stands for what RapidOCR, OpenCV or onnxruntime raise."""


@pytest.mark.parametrize("part", ["detect", "recognise"])
def test_a_failure_of_the_engine_is_an_error_of_ours(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise Boom("Traceback (most recent call last):\n  File x\nResizeImgError: no size")

    reader = OCR()
    assert reader(sign(("CITY", (40, 20))))
    if part == "detect":
        monkeypatch.setattr(reader._engine, "_rapid", fail)
    else:
        monkeypatch.setattr(reader._engine._recogniser, "_session", fail)
    with pytest.raises(ToolFailed, match=r"^The OCR engine failed: ResizeImgError: no size\.$"):
        reader(sign(("CITY", (40, 20))))


def test_a_setting_that_breaks_the_engine_is_an_error_of_ours() -> None:
    with pytest.raises(ToolFailed, match="OCR engine failed"):
        OCR(settings={"Rec.rec_batch_num": 0})(sign(("CITY", (40, 20))))


async def test_every_front_tells_of_a_failure_of_the_engine() -> None:
    model = Model(FakePredictor([((0, 0, 400, 160), "bus", 0.9)]), ocr=OCR(settings={"Rec.rec_batch_num": 0}))
    scene = model.open(sign(("CITY", (40, 20))))
    with pytest.raises(ToolFailed, match="OCR engine failed"):
        scene.read()
    assert "OCR engine failed" in registry()["read"].call(scene, {}).error
    assert "OCR engine failed" in Agent(model).ask(scene, "What is written on the bus?").text
    app = create_app(model, Settings(batching=False))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as http:
        file = io.BytesIO()
        scene.image.save(file, "PNG")
        image = (await http.post("/v1/images", files={"file": file.getvalue()})).json()["image"]
        read = await http.post("/v1/tools/read", json={"image": image})
        assert (read.status_code, read.json()["ok"]) == (200, False)
        assert "OCR engine failed" in read.json()["error"]
    app.service.close()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants to download a model fails the test."""

    def get(*_: Any, **__: Any) -> Any:
        raise AssertionError("a download was tried")

    monkeypatch.setattr("requests.get", get)


@pytest.mark.usefixtures("offline")
def test_languages_whose_model_comes_along_are_read() -> None:
    readers = [OCR(lang) for lang in ("de", "en", "zh", "FR", " no ", "ja")]
    assert [one.text for one in readers[-1](sign(("CITY", (40, 20))))] == ["CITY"]
    assert readers[0].name == "rapidocr:de"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("lang", "file"),
    [
        ("ru", "eslav_PP-OCRv5_rec_mobile.onnx"),
        ("uk", "eslav_PP-OCRv5_rec_mobile.onnx"),
        ("bg", "cyrillic_PP-OCRv5_rec_mobile.onnx"),
        ("ko", "korean_PP-OCRv5_rec_mobile.onnx"),
        ("ar", "arabic_PP-OCRv5_rec_mobile.onnx"),
        ("hi", "devanagari_PP-OCRv5_rec_mobile.onnx"),
        ("el", "el_PP-OCRv5_rec_mobile.onnx"),
        ("kn", "ka_PP-OCRv4_rec_mobile.onnx"),
    ],
)
def test_other_languages_say_where_their_model_is(lang: str, file: str, tmp_path: Path) -> None:
    folder = ocr_engine.Engine()._rapid.cfg.Global.model_root_dir
    for name in ("PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"):
        (tmp_path / name).symlink_to(Path(folder) / name)
    settings = {"Global.model_root_dir": str(tmp_path)}
    with pytest.raises(CheckpointError) as caught:
        OCR(lang, settings)
    message = str(caught.value)
    assert f"without the model that reads '{lang}'. Save https://" in message
    assert f"/{file} in the folder {tmp_path}" in message
    assert "as the setting Rec.model_path" in message


def test_languages_are_told_by_the_names_that_the_guide_has() -> None:
    known = ocr_engine.languages()
    assert {"zh", "ja", "en", "de", "fr"} <= set(known)
    assert not {"ch", "japan", "german", "french", "chinese_cht"} & set(known)
    for lang in known:
        assert ocr_engine._models_for(lang)["Rec.ocr_version"].value == "PP-OCRv6"


@pytest.mark.usefixtures("offline")
def test_a_model_that_was_saved_in_the_folder_or_is_named_is_used(tmp_path: Path) -> None:
    folder = Path(ocr_engine.Engine()._rapid.cfg.Global.model_root_dir)
    shutil.copy(folder / "PP-OCRv6_det_small.onnx", tmp_path)
    # Any recogniser will do to see that the file is used.
    shutil.copy(folder / "PP-OCRv6_rec_small.onnx", tmp_path / "eslav_PP-OCRv5_rec_mobile.onnx")
    for settings in (
        {"Global.model_root_dir": str(tmp_path)},
        {"Rec.model_path": str(tmp_path / "eslav_PP-OCRv5_rec_mobile.onnx")},
    ):
        assert [one.text for one in OCR("ru", settings)(sign(("CITY", (40, 20))))] == ["CITY"]


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("lang", "settings", "error", "message"),
    [
        ("klingon", {}, InputError, r"no model that reads the language 'klingon'.*With RapidOCR come .* de "),
        ("korea", {}, InputError, r"Did you mean ko\?"),
        ("chinese", {}, InputError, r"Did you mean zh-tw\?.* ja .* zh zh-tw\.$"),
        ("ka", {}, InputError, "no model that reads the language 'ka'"),  # Georgian; to RapidOCR it would be Kannada
        ("", {}, InputError, "no model that reads the language ''"),
        (7, {}, InputError, "the language 7"),
        (None, {"Det.box_tresh": 0.4}, InputError, "no setting 'Det.box_tresh'. Did you mean Det.box_thresh"),
        (None, {"Rec": 1}, InputError, "no setting 'Rec'"),
        (None, {"Rec.model_type": "huge"}, InputError, "one of mobile, server, tiny, small, medium; got 'huge'"),
        (None, {"Rec.model_type": "medium"}, CheckpointError, "without the model of these settings. Save https"),
        (None, {"Rec.ocr_version": "PP-OCRv4"}, InputError, "no such model"),
        (None, {"Rec.model_path": "no/such.onnx"}, CheckpointError, "no OCR model 'no/such.onnx'"),
        (None, {"Det.box_thresh": "high"}, InputError, "The setting Det.box_thresh wants a number, got 'high'"),
        (None, {"Det.thresh": float("nan")}, InputError, "Det.thresh wants a number, got nan"),
        (None, {"Det.thresh": None}, InputError, "Det.thresh wants a number, got None"),
        (None, {"Det.unclip_ratio": True}, InputError, "Det.unclip_ratio wants a number, got True"),
        (None, {"Rec.rec_batch_num": 2.5}, InputError, "Rec.rec_batch_num wants a whole number, got 2.5"),
        (None, {"Det.use_dilation": 1}, InputError, "Det.use_dilation wants true or false, got 1"),
        (None, {"Det.score_mode": 3}, InputError, "Det.score_mode wants a word, got 3"),
        (None, {"Det.mean": [0.5, float("inf"), 0.5]}, InputError, "Det.mean wants a list of 3"),
        (None, {"Rec.rec_img_shape": [3, 48]}, InputError, r"Rec.rec_img_shape wants a list of 3, got \[3, 48\]"),
        (None, {"Global.use_cls": True}, InputError, "Global.use_cls has no effect here"),
    ],
)
def test_what_cannot_be_read_with_says_so_at_once(lang: Any, settings: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        OCR(lang, settings)


def test_an_engine_that_is_not_installed_is_named() -> None:
    with pytest.raises(MissingExtraError, match="openvino is not installed"):
        OCR(settings={"Rec.engine_type": "openvino"})(sign(("CITY", (40, 20))))


def test_load_takes_a_language_and_refuses_what_is_none_before_it_loads() -> None:
    with pytest.raises(InputError, match="no model that reads the language 'klingon'"):
        load("no/such/folder", ocr="klingon")
    with pytest.raises(InputError, match="got a int"):
        load("no/such/folder", ocr=5)  # pyright: ignore[reportArgumentType]
    german = load(ocr="de").ocr
    assert isinstance(german, OCR)
    assert german.lang == "de"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["read", "x.png", "--ocr-lang", "klingon"], 1, "error: There is no model that reads the language 'klingon'"),
        (["ask", "x.png", "What is written?", "--ocr-lang", "ru"], 1, "error: RapidOCR comes without the model"),
        (["read", "x.png", "--ocr-set", "Det.box_tresh=0.4"], 1, "Did you mean Det.box_thresh"),
        (["read", "x.png", "--ocr-set", "Det.box_thresh=high"], 1, "Det.box_thresh wants a number, got 'high'"),
        (["read", "x.png", "--ocr-set", "Det.thresh=.nan"], 1, "Det.thresh wants a number, got nan"),
        (["read", "x.png", "--ocr-set", "Det.box_thresh"], 2, "write NAME=VALUE"),
        (["read", "x.png", "--ocr-set", "Det.box_thresh=[1"], 2, "--ocr-set 'Det.box_thresh=[1'"),
        (["read", "x.png", "--ocr-set", "Det.box_thresh=" + 5000 * "["], 2, "--ocr-set 'Det.box_thresh=[["),
        (["read", "x.png", "--server", "http://127.0.0.1:9", "--ocr-lang", "de"], 2, "the server's business"),
        (["mcp", "--ocr-lang", "klingon"], 1, "There is no model that reads the language 'klingon'"),
        (["serve", "--port", "0", "--ocr-lang", "klingon"], 1, "There is no model that reads the language 'klingon'"),
    ],
)
def test_the_command_says_what_is_wrong_with_a_language(arguments: list[str], code: int, says: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stdout == ""


def test_the_command_reads_with_the_settings_it_is_given(tmp_path: Path) -> None:
    sign(("CITY", (40, 20))).save(tmp_path / "x.png")
    command = ["read", str(tmp_path / "x.png"), "--ocr-set", "Det.box_thresh=0.4", "--ocr-set", "Rec.rec_batch_num=2"]
    result = CliRunner().invoke(main, command, env={"FO1AGENT_OCR_LANG": "de"})
    assert (result.exit_code, result.stdout) == (0, "CITY\n")
    result = CliRunner().invoke(main, command, env={"FO1AGENT_OCR_LANG": "klingon"})
    assert (result.exit_code, result.stdout) == (1, "")
