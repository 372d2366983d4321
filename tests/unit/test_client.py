"""A server used from Python: what it gives is what a scene here gives."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fo1agent.agent import Agent
from fo1agent.client import Client, _Heard, connect
from fo1agent.errors import BoxError, ImageError, InputError, ServerError, ToolFailed
from fo1agent.pictures.ocr import TextLine
from fo1agent.runs.events import AnswerEvent, Opening
from fo1agent.runs.step import StepEnd
from fo1agent.scene import Model, Scene
from fo1agent.serve.app import App, create_app
from fo1agent.serve.settings import Settings
from fo1agent.untrusted import UntrustedText
from tests import forged, segmenting
from tests.fakes import ComparingPredictor, FakePredictor
from tests.serving import in_thread, until

OBJECTS = [
    ((30.0, 10.0, 60.0, 40.0), "bus", 0.9),
    ((5.0, 5.0, 20.0, 40.0), "person", 0.8),
    ((2.0, 30.0, 9.0, 46.0), "dog", 0.7),
]
QUESTION = "How many people are to the left of the bus?"


def model() -> Model:
    def read(image: Any, min_score: float = 0.5) -> list[TextLine]:
        return [TextLine(UntrustedText("STOP"), (2.0, 3.0, 20.0, 9.0), 0.9)]

    return Model(FakePredictor(OBJECTS), ocr=read)


def gray(color: str = "gray") -> Image.Image:
    return Image.new("RGB", (64, 48), color)


@pytest.fixture(scope="module")
def app() -> App:
    return create_app(model(), Settings(batching=False, keep=2))


@pytest.fixture(scope="module")
def server(app: App) -> Iterator[Client]:
    with in_thread(app) as url, connect(url) as client:
        yield client


@pytest.fixture
def here() -> Scene:
    return model().open(gray())


def same(remote: Any, local: Any) -> bool:
    return remote.to_dicts() == local.to_dicts() and remote.note == local.note


def test_a_remote_scene_is_as_one_here(server: Client, here: Scene) -> None:
    scene = server.open(gray())
    assert server.name == "fake"
    assert (scene.id, scene.width, scene.height, scene.note) == (here.id, 64, 48, "")
    assert same(scene.regions, here.regions)
    assert same(scene.named(), here.named())
    assert dict(scene.thresholds) == dict(here.thresholds)
    assert scene.region("r1").id == here.region("r1").id
    assert scene.annotate(size=96).size == here.annotate(size=96).size


def test_every_tool_gives_what_it_gives_here(server: Client, here: Scene) -> None:
    scene = server.open(gray())
    bus = here.ground("bus")[0]
    assert same(scene.ground("bus"), here.ground("bus"))
    assert scene.ground("bus").none_score == pytest.approx(here.ground("bus").none_score, abs=1e-3)
    assert same(scene.ground(like=bus), here.ground(like=bus))
    assert same(scene.ground("ostrich"), here.ground("ostrich"))
    assert same(scene.ground("dog", within=(0, 20, 30, 48)), here.ground("dog", within=(0, 20, 30, 48)))
    assert scene.ground_many(["bus", "dog"]).keys() == {"bus", "dog"}
    assert scene.count("person").value == here.count("person").value == 1
    related, expected = scene.relate("person", "left_of", bus), here.relate("person", "left_of", bus)
    assert (related.pairs, related.relation) == (expected.pairs, expected.relation)
    assert same(related.regions, expected.regions)
    apart = scene.relate("person", "between", bus, "dog"), here.relate("person", "between", bus, "dog")
    assert apart[0].pairs == apart[1].pairs
    read, expected = scene.read(), here.read()
    assert (read.text, read.lines, read.regions.ids) == (expected.text, expected.lines, expected.regions.ids)
    described, expected = scene.describe(bus), here.describe(bus)
    assert (described.text, described.label, described.source) == (expected.text, expected.label, expected.source)
    assert scene.inspect(bus, "What colour is it?").text == here.inspect(bus, "What colour is it?").text


def test_many_asked_at_once_are_as_each_alone_and_in_order(server: Client, here: Scene) -> None:
    scene = server.open(gray("silver"))
    targets = ["r1", "r0", (1.0, 1.0, 9.0, 9.0)]
    assert [one.text for one in scene.describe_many(targets)] == [one.text for one in here.describe_many(targets)]
    asked = [(target, "What colour is it?") for target in targets[1:]]
    assert [one.text for one in scene.inspect_many(asked)] == [scene.inspect(*pair).text for pair in asked]
    questions = ["How many people are there?", "Is there a bus?", "Is there an ostrich?"]
    assert [one.text for one in scene.ask_many(questions)] == [scene.ask(question).text for question in questions]
    assert scene.ask_many([]) == []
    with pytest.raises(InputError, match="No region r9"):
        scene.describe_many(["r0", "r9", "r1"])
    for wrong in (lambda: scene.describe_many("r0"), lambda: scene.ask_many("Why?")):
        with pytest.raises(InputError, match="needs a list of"):
            wrong()


@pytest.mark.parametrize("phrase", ["sleepy person", "women on a bench", "stolen dog", "people and dogs", "bus"])
def test_what_could_not_be_judged_comes_over(server: Client, here: Scene, phrase: str) -> None:
    scene = server.open(gray())
    for found, expected in [
        (scene.ground(phrase), here.ground(phrase)),
        (scene.ground_many([phrase])[phrase], here.ground_many([phrase])[phrase]),
        (scene.count(phrase).regions, here.count(phrase).regions),
    ]:
        assert same(found, expected)
        assert (found.judged, found.not_judged) == (expected.judged, expected.not_judged)
    counted, expected = scene.count(phrase), here.count(phrase)
    assert (counted.value, counted.at_least, counted.at_most) == (expected.value, expected.at_least, expected.at_most)
    assert counted.not_judged == expected.not_judged
    assert scene.relate(phrase, "near", "bus").not_judged == here.relate(phrase, "near", "bus").not_judged


def test_an_answer_that_hangs_on_such_words_comes_over(server: Client, here: Scene) -> None:
    question = "How many sleepy people are there, and is there a bus?"
    events = list(server.open(gray()).stream(question))
    last = events[-1]
    assert isinstance(last, AnswerEvent)
    expected = Agent().ask(here, question)
    assert last.answer.not_judged == expected.not_judged == ("sleepy",)
    assert last.answer.bounds == expected.bounds == [{"at_least": 0, "at_most": 1}, None]
    assert last.answer.value == expected.value == [None, True]
    assert [step.not_judged for step in last.answer.trace] == [step.not_judged for step in expected.trace]
    assert ("sleepy",) in [event.record.not_judged for event in events if isinstance(event, StepEnd)]


def noise() -> Image.Image:
    """A picture no two parts of which look the same."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


def test_a_part_is_opened_as_one_here(server: Client) -> None:
    scene, here = server.open(noise()), model().open(noise())
    for target, margin in [
        ("r0", 0.1),
        (scene.regions[1], 0),
        ("b1_2_33_44", 0.25),
        ((2, 3, 20.4, 30.7), 3),
        ((30.1, 10.0, 60.0, 40.0), 0),  # as good as r0
        (None, 0),
    ]:
        part, expected = scene.zoom(target, margin), here.zoom(target, margin)
        assert (part.id, part.width, part.height) == (expected.id, expected.width, expected.height)
        assert (part.parent, part.offset_xy) == (scene, expected.offset_xy)
        assert same(part.regions, expected.regions)
        assert same(part.to_parent(part.regions), expected.to_parent(expected.regions))
    inner, expected = scene.zoom("r0", 0).zoom("r0", 0), here.zoom("r0", 0).zoom("r0", 0)
    assert same(inner.to_parent(inner.regions), expected.to_parent(expected.regions))


def test_boxes_that_are_told_in_hundredths_of_a_pixel_give_the_same_part() -> None:
    thin = Model(FakePredictor([((9.996, 9.994, 40.004, 40.006), "bus", 0.9)]), ocr=lambda image, min_score=0.5: [])
    with in_thread(create_app(thin, Settings(batching=False))) as url, connect(url) as client:
        assert client.open(noise()).zoom("r0", 0).id == thin.open(noise()).zoom("r0", 0).id


def test_a_part_that_cannot_be_is_told_as_here(server: Client, here: Scene) -> None:
    for scene in (server.open(gray()), here):
        for wrong in (
            lambda scene=scene: scene.zoom("r0", margin=-1),
            lambda scene=scene: scene.zoom("r99"),
            lambda scene=scene: scene.zoom((100, 100, 120, 120)),
            lambda scene=scene: scene.to_parent(scene.regions),
        ):
            with pytest.raises(InputError):
                wrong()


def test_an_answer_is_as_one_here(server: Client, here: Scene, tmp_path: Path) -> None:
    steps: list[int] = []
    answer = server.ask(gray(), QUESTION, on_step=lambda number, step: steps.append(number))
    expected = Agent().ask(here, QUESTION)
    told, wanted = answer.to_dict(), expected.to_dict()
    for fields in (told, wanted):
        for step in fields["steps"]:
            step.pop("seconds")
    assert told == wanted
    assert steps == [step.number for step in _ends(expected)]
    assert answer.plan == expected.plan
    assert answer.save(tmp_path / "answer.png").is_file()
    assert server.ask(gray(), "How many ostriches are there?").abstained


def _ends(answer: Any) -> list[Any]:
    return [StepEnd(number, record) for number, record in enumerate(answer.trace, 1)]


def test_a_question_is_told_as_events(server: Client) -> None:
    events = list(server.open(gray()).stream(QUESTION))
    assert events[0].type == "plan"
    assert isinstance(events[-1], AnswerEvent)


def test_a_question_goes_back_to_those_before_as_one_here(server: Client, here: Scene, app: App) -> None:
    scene = server.open(gray("blue"))
    questions = ["How many people are there?", "How many of them are left of the bus?", "What about dogs?"]
    for at, question in enumerate(questions):
        before = questions[:at]
        expected = Agent().ask(here, question, before=before)
        assert expected.value == 1
        assert scene.ask(question, before=before).text == expected.text
        assert server.ask(scene, question, before=before).text == expected.text
        for events in (scene.stream(question, before=before), server.stream(scene, question, before=before)):
            (last,) = [event for event in events if isinstance(event, AnswerEvent)]
            assert last.answer.text == expected.text
    app.service.scenes.close(scene.handle)  # the picture is sent again, and what was before it, too
    assert scene.ask(questions[1], before=questions[:1]).value == 1
    assert scene.ask("How many of them are left of the bus?").abstained
    assert Agent().talk(scene).ask(questions[0]).value == 1
    with pytest.raises(InputError, match="before"):
        scene.ask("Where is it?", before=["Is there a bus?"] * 65)


def test_an_agent_here_may_use_the_eyes_there(server: Client, here: Scene) -> None:
    assert Agent(server).ask(gray(), QUESTION).text == Agent().ask(here, QUESTION).text


def test_pictures_come_in_whatever_people_hold_them(server: Client, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    gray().save(path)
    file = io.BytesIO(path.read_bytes())
    sources = [path, str(path), path.read_bytes(), file, gray(), np.asarray(gray())]
    assert len({server.open(source).id for source in sources}) == 1
    with pytest.raises(ImageError):
        server.open(tmp_path / "absent.png")


def test_boxes_replace_proposals(server: Client) -> None:
    boxes = [[1.0, 2.0, 30.0, 40.0]]
    scene, there = server.open(gray(), boxes=boxes), model().open(gray(), boxes=boxes)
    assert same(scene.regions, there.regions)
    assert same(scene.ground("person", threshold=0), there.ground("person", threshold=0))
    with pytest.raises(BoxError):
        server.open(gray(), boxes=[[9, 9, 1, 1]])


def test_events_of_the_opening_are_taken_from_a_server(server: Client) -> None:
    heard = _Heard(server.open(gray()), QUESTION)
    assert heard.event("opening", {"type": "opening", "done": 1, "count": 3}) == Opening(1, 3)
    with pytest.raises(ServerError, match="'opening' in a form that is not known here"):
        heard.event("opening", {"type": "opening", "done": -1, "count": 3})


def test_a_picture_with_boxes_takes_its_id_here_and_the_servers(server: Client) -> None:
    scene = server.open(gray(), boxes=[[1.0, 2.0, 30.0, 40.0]])
    there = scene.call("look").image
    assert scene.handle.startswith(there[:12])
    assert "-" in there
    for name in ("r0", f"{there}/r0", f"{scene.handle}/r0", scene.regions[0].id):
        assert scene.region(name) == scene.regions[0]
        assert scene.describe(name).regions.ids == scene.call("describe", region=name).regions.ids == scene.regions.ids
    with pytest.raises(InputError, match="another picture"):
        scene.describe("img_00000000/r0")
    assert scene.ask("How many people are there?").text


def test_a_region_of_the_same_picture_with_other_boxes_means_its_own_box(server: Client) -> None:
    boxes = [[1.0, 2.0, 30.0, 40.0], [30.0, 10.0, 60.0, 40.0]]
    plain, given = server.open(gray()), server.open(gray(), boxes=boxes)
    bus, person = plain.regions[:2]
    assert (bus.id, bus.box) == (given.regions[0].id, tuple(boxes[1]))  # one id for two boxes
    for asked in (given.describe(bus), given.call("describe", region=bus)):
        assert asked.regions.boxes.tolist() == [boxes[1]]
        assert asked.regions.ids == (given.regions[1].id,)
    assert given.describe(person).regions.ids == (f"{given.id}/b5_5_20_40",)
    assert plain.describe(given.regions[1]).regions.ids == (bus.id,)
    assert given.describe(given.regions[0]).regions.boxes.tolist() == [boxes[0]]
    with pytest.raises(InputError, match="another picture"):
        given.describe(server.open(gray("white")).regions[0])


def test_a_forgotten_picture_is_sent_again(server: Client, app: App) -> None:
    scene = server.open(gray("red"))
    for ask in (lambda: scene.count("bus").value, lambda: scene.ask("How many buses are there?").value):
        app.service.scenes.close(scene.handle)
        assert ask() == 1


def test_a_server_that_forgets_at_once_is_not_asked_for_ever(
    server: Client, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = server.open(gray("green"))
    app.service.scenes.close(scene.handle)
    monkeypatch.setattr(scene, "_send_picture", lambda: None)
    for ask in (lambda: scene.count("bus"), lambda: scene.ask("How many buses are there?")):
        with pytest.raises(ServerError, match="forgets the picture at once"):
            ask()


def test_examples_are_found_in_other_pictures_at_the_server_also_when_it_has_forgotten_theirs() -> None:
    app = create_app(Model(ComparingPredictor(OBJECTS)), Settings(batching=False))
    with in_thread(app) as url, connect(url) as client:
        scene, other = client.open(gray()), client.open(gray("white"))
        here, there = (Model(ComparingPredictor(OBJECTS)).open(gray(color)) for color in ("gray", "white"))
        wanted = here.ground(like=there.example("r0"))
        bus, dog = other.example("r0"), other.example((2.0, 30.0, 9.0, 46.0))
        assert (bus.id, dog.id) == (f"{other.id}/r0", f"{other.id}/r2")
        for ask in (
            lambda: scene.ground(like=bus),
            lambda: scene.ground(like=[bus], unlike=[dog, "r1"]),
            lambda: scene.call("ground", like=[bus]).regions,
        ):
            assert same(ask(), wanted)
        assert len(wanted) == 1
        app.service.scenes.close(other.handle)
        assert same(scene.ground(like=bus), wanted)
        assert not len(scene.ground(like=scene.example("r0")))
        with pytest.raises(InputError, match=r"like=other\.example\('r0'\)"):
            scene.ground(like=other.regions[0])
        with pytest.raises(InputError, match="made by a model here; make it at the server"):
            scene.ground(like=here.example("r0"))
        with in_thread(create_app(model(), Settings(batching=False))) as another, connect(another) as elsewhere:
            foreign = elsewhere.open(gray("white")).example("r0")
            with pytest.raises(InputError, match="is of a picture at http"):
                scene.ground(like=foreign)


def test_a_server_with_another_picture_of_that_id_answers_for_this_one() -> None:
    with in_thread(create_app(model(), Settings(batching=False))) as url, connect(url) as client:
        scenes = [client.open(one) for one in (forged.red(), forged.blue())]
        assert scenes[0].id == scenes[1].id == forged.SHORT_ID
        assert scenes[0].handle != scenes[1].handle
        for scene, here in zip(scenes, (model().open(forged.red()), model().open(forged.blue())), strict=True):
            assert same(scene.ground("bus"), here.ground("bus"))
            assert scene.ask(QUESTION).evidence.ids == Agent().ask(here, QUESTION).evidence.ids


def test_what_does_not_fit_is_an_input_error(server: Client) -> None:
    scene = server.open(gray())
    for wrong in (
        lambda: scene.ground("bus", threshold=2),
        lambda: scene.read("r99"),
        lambda: scene.region("r99"),
        lambda: scene.ground(),
        lambda: scene.ask("x" * 5000),
        lambda: scene.count("bus", within=server.open(gray("blue")).regions[0]),
    ):
        with pytest.raises(InputError):
            wrong()
    with pytest.raises(ToolFailed):
        scene.inspect("r0", "Who is driving?")


def test_no_server_says_what_to_do() -> None:
    with pytest.raises(ServerError, match="fo1agent serve"):
        connect("http://127.0.0.1:9")
    with pytest.raises(InputError, match="http"):
        connect("ftp://127.0.0.1")


def test_a_wrong_token_is_told() -> None:
    with in_thread(create_app(model(), Settings(batching=False, token="t"))) as url:
        for token, said in (
            (None, r"A bearer token is needed.* Pass one as token, at a shell as --token or in FO1AGENT_TOKEN\."),
            ("x", r"This is not the bearer token.* Pass another one as token, at a shell as --token or in FO1AGENT"),
        ):
            with connect(url, token) as client, pytest.raises(ServerError, match=said) as refused:
                client.open(gray())
            assert refused.value.status == 401
        with connect(url, " t\n") as client:
            assert client.ask(gray(), QUESTION).value == 1


@pytest.mark.parametrize("token", ["é", "sec\nret", "sec\x00ret", "s\u200b"])
def test_a_token_that_no_header_can_hold_is_refused_and_not_told(token: str) -> None:
    for make in (lambda: connect("http://127.0.0.1:9", token), lambda: Settings(token=token)):
        with pytest.raises(InputError) as refused:
            make()
        assert str(refused.value).startswith("The token may hold only letters, digits, blanks and signs of ASCII")
        assert token not in str(refused.value)


def test_a_busy_server_is_asked_again() -> None:
    app = create_app(model(), Settings(batching=False, running=1, waiting=0))
    go = threading.Event()
    with in_thread(app) as url, connect(url) as client:
        scene = client.open(gray())
        inner = app.service.model.predictor._inner  # pyright: ignore[reportAttributeAccessIssue]
        match = inner.match
        inner.match = lambda *args: go.wait(60) and match(*args)
        holding = threading.Thread(target=lambda: scene.count("bus"))
        holding.start()
        until(lambda: app.service.gate.running > 0)
        impatient = Client(url, patience_s=0)
        with pytest.raises(ServerError, match="Too many") as refused:
            impatient.open(gray())
        assert refused.value.status == 429
        threading.Timer(0.1, go.set).start()
        assert client.open(gray()).id == scene.id
        holding.join(60)
        impatient.close()


def test_phrases_that_are_there_once_are_all_looked_for(server: Client) -> None:
    found = server.open(gray()).ground_many(iter(["bus", "dog", "bus"]))
    assert {phrase: len(regions) for phrase, regions in found.items()} == {"bus": 1, "dog": 1}


def test_one_thing_where_several_are_meant_is_told_of(server: Client) -> None:
    scene = server.open(gray())
    for wrong in (None, 5, "bus"):
        with pytest.raises(InputError, match="ask_many needs a list of questions, got"):
            scene.ask_many(wrong)  # pyright: ignore[reportArgumentType]
        with pytest.raises(InputError, match="ground_many needs a list of phrases, got"):
            scene.ground_many(wrong)  # pyright: ignore[reportArgumentType]
    for wrong in ([["bus"]], [None], ["bus", " "]):
        with pytest.raises(InputError, match="A phrase must say what to look for"):
            scene.ground_many(wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="A question is a text, got 7"):
        scene.ask_many([QUESTION, 7])  # pyright: ignore[reportArgumentType]


def test_a_closed_client_says_that_it_is_closed(server: Client) -> None:
    client = connect(server.url)
    scene = client.open(gray())
    client.close()
    asks = [
        lambda: scene.ask_many([QUESTION] * 3),
        lambda: scene.ask(QUESTION),
        lambda: scene.count("bus"),
        lambda: scene.ground_many(["bus", "dog"]),
        lambda: client.open(gray()),
        client.tools,
    ]
    for ask in asks:
        with pytest.raises(ServerError, match=f"^This client of {server.url} is closed and asks nothing more. Connect"):
            ask()


def test_masks_and_points_are_those_of_a_scene_here() -> None:
    made = segmenting.model()
    with in_thread(create_app(made, Settings(batching=False))) as url, connect(url) as client:
        there, here = client.open(segmenting.drawn()), made.open(segmenting.drawn())
        for what in ("frisbee", "r1", ["r0", "r2"], list(segmenting.DISC), here.regions[1], None):
            segmented, expected = there.segment(what), here.segment(what)
            assert segmented.model_dump_json() == expected.model_dump_json()
            for mask, same_mask in zip(segmented.regions.masks, expected.regions.masks, strict=True):
                assert mask is not None
                assert same_mask is not None
                assert (mask.runs == same_mask.runs).all()
            pointed = there.point(what)
            assert pointed.model_dump_json() == here.point(what).model_dump_json()
            assert {point.by for point in pointed.points} == {"mask"}
        assert there.segment("zebra").masks == ()
    with in_thread(create_app(model(), Settings(batching=False))) as url, connect(url) as client:
        with pytest.raises(ToolFailed, match="No segmenter is loaded"):
            client.open(gray()).segment("bus")
        assert client.open(gray()).point("bus").points[0].by == "middle"
