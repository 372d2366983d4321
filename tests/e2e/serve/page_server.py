"""A server for the page's tests, in a process of its own: `python -m tests.e2e.serve.page_server KIND SETTINGS`.

KIND is `nano`; `signs`, a model that knows two buses and reads, on everything, text that would do harm if it became
part of a page; or `masks`, one with a segmenter that knows the things of `tests.segmenting.drawn`. SETTINGS is JSON, as
in {"token": …}. Once it listens, its address is printed.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from fo1agent.loading import load
from fo1agent.pictures.ocr import TextLine
from fo1agent.scene import Model
from fo1agent.serve.run import serve
from fo1agent.serve.settings import Settings
from fo1agent.untrusted import UntrustedText
from tests import segmenting
from tests.fakes import FakePredictor

HARMFUL = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


def main(kind: str, settings: str = "{}") -> None:
    """Serve until terminated."""
    chosen = Settings(**{"batching": kind == "nano", **json.loads(settings)})
    made = {"nano": load, "signs": signs, "masks": segmenting.model}[kind]()
    serve(made, chosen, port=0, ready=lambda url: print(url, flush=True))


def signs() -> Model:
    """Two buses, and harmful text on everything."""
    objects = (((20.0, 20.0, 200.0, 200.0), "bus", 0.95), ((220.0, 40.0, 390.0, 210.0), "bus", 0.9))
    return Model(FakePredictor(objects), ocr=_read)


def _read(image: Any, **_: Any) -> list[TextLine]:
    return [TextLine(UntrustedText(HARMFUL), (2.0, 2.0, image.width - 2.0, 20.0), 0.99)]


if __name__ == "__main__":
    main(*sys.argv[1:])
