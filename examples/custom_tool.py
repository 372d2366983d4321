"""A tool of your own in ten lines: every integration declares it, checks its arguments and calls it like ours.

Run it with: python examples/custom_tool.py
"""

from pathlib import Path

import numpy as np

import fo1agent as fo
from fo1agent.integrations.calls import call
from fo1agent.integrations.handles import Scenes
from fo1agent.integrations.schemas import render

PHOTO = Path(fo.__file__).parent / "data" / "demo" / "cat.jpg"


@fo.tool
def brightness(scene: fo.Scene, region: str) -> float:
    """How bright a region is, from 0 (black) to 1 (white).

    Args:
        region: id of the region, such as r3.
    """
    return round(float(np.asarray(scene.image.crop(scene.region(region).box)).mean()) / 255, 1)


scenes = Scenes()
scenes.open(PHOTO)
mine = fo.registry(brightness)  # or FO1Toolkit(tools=[brightness]) for LangChain

print(render("anthropic", [brightness])[0]["input_schema"]["required"])
print(call("brightness", '{"region": "b40_40_400_380"}', scenes, mine).text)
print(call("brightness", '{"region": "the cat"}', scenes, mine).text)

# prints:
# ['region']
# {"image":"img_e124d968","value":0.2}
# {"error":"'the cat' is no region id, such as r3, nor a box, [x1, y1, x2, y2]. There are r0 to r99.","retry":true}
