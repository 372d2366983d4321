"""Stage base, for a language model that has no pretraining of its own (fo1-nano): everything but the towers learns.

    part               trains   losses (weights in the table below)        rate
    language           yes      next_token                                 train.lr
    vision             yes      next_token                                 train.lr
    region_projector   yes      next_token, match, senses, name, iou       train.lr
    match_head         yes      match, senses, name                        train.lr
    iou_head           yes      iou                                        train.lr
    auxiliary tower    no

A pretrained base never sees this stage: it starts with `alignment`.
"""

from fo1agent.trainers.language import Mix, StageTable

TABLE = StageTable(
    name="base",
    parts=("language", "vision", "region_projector", "match_head", "iou_head"),
    loss_weights={"next_token": 1.0, "match": 1.0, "senses": 0.5, "name": 0.5, "iou": 0.5},
    mix=Mix(absent=10, describe=5, detect=0.5, count=0.3, everything=0.5, caption=0.5),
)
