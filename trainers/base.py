"""Stage base, for a language model that has no pretraining of its own (fo1-nano): everything but the towers learns.

    part               trains   losses (weight)                                          rate
    language           yes      next_token (1)                                           train.lr
    vision             yes      next_token (1)                                           train.lr
    region_projector   yes      next_token (1), match (1), senses (0.5), iou (0.5)       train.lr
    match_head         yes      match (1), senses (0.5)                                  train.lr
    iou_head           yes      iou (0.5)                                                train.lr
    auxiliary tower    no

A pretrained base never sees this stage: it starts with `alignment`.
"""

from fo1agent.trainers.language import Mix, StageTable

TABLE = StageTable(
    name="base",
    parts=("language", "vision", "region_projector", "match_head", "iou_head"),
    loss_weights={"next_token": 1.0, "match": 1.0, "senses": 0.5, "iou": 0.5},
    mix=Mix(absent=10, describe=5, detect=0.5, count=0.3, everything=0.5, caption=1.0),
)
