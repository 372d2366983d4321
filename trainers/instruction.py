"""Stage 2, perception instruction tuning: the language model learns to answer with regions, on all task templates.

part               trains   losses (weight)                                          rate
language           yes      next_token (1)                                           train.lr
region_projector   yes      next_token (1), match (1), senses (0.5), iou (0.5)       train.lr
match_head         yes      match (1), senses (0.5)                                  train.lr
iou_head           yes      iou (0.5)                                                train.lr
vision             no
auxiliary tower    no
"""

from fo1agent.trainers.language import Mix, StageTable

TABLE = StageTable(
    name="instruction",
    parts=("language", "region_projector", "match_head", "iou_head"),
    loss_weights={"next_token": 1.0, "match": 1.0, "senses": 0.5, "iou": 0.5},
    mix=Mix(absent=12, detect=0.7, count=0.7, everything=0.4, caption=0.7),
)
