"""Stage 1, region-language alignment: region tokens learn to mean something to a language model that stays as it is.

part               trains   losses (weights in the table below)        rate
region_projector   yes      next_token, match, senses, name, iou       train.lr
match_head         yes      match, senses, name                        train.lr
iou_head           yes      iou                                        train.lr
base               no: not one bit of it changes
auxiliary tower    no
"""

from fo1agent.trainers.language import Mix, StageTable

TABLE = StageTable(
    name="alignment",
    parts=("region_projector", "match_head", "iou_head"),
    loss_weights={"next_token": 1.0, "match": 1.0, "senses": 0.5, "name": 0.5, "iou": 0.5},
    mix=Mix(absent=16, detect=0.5, count=0.0, everything=0.5, caption=0.0),
)
