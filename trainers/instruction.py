"""Stage 2, perception instruction tuning: the language model learns to answer with regions, on all task templates.

part               trains   losses (weights in the table below)        rate
language           yes      next_token                                 train.lr
region_projector   yes      next_token, match, senses, name, iou       train.lr
match_head         yes      match, senses, name                        train.lr
iou_head           yes      iou                                        train.lr
vision             no
auxiliary tower    no
"""

from fo1agent.trainers.language import Mix, StageTable

TABLE = StageTable(
    name="instruction",
    parts=("language", "region_projector", "match_head", "iou_head"),
    loss_weights={"next_token": 1.0, "match": 1.0, "senses": 0.5, "name": 0.5, "iou": 0.5},
    mix=Mix(absent=12, detect=0.7, count=0.7, everything=0.4, caption=0.7),
)
