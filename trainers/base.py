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

from dataclasses import replace

from fo1agent.trainers.language import Mix, StageTable

TABLE = StageTable(
    name="base",
    parts=("language", "vision", "region_projector", "match_head", "iou_head"),
    loss_weights={"next_token": 1.0, "match": 1.0, "senses": 0.5, "name": 0.5, "iou": 0.5},
    mix=Mix(absent=10, describe=5, detect=0.5, count=0.3, everything=0.5, caption=0.5),
)

# Before it, in few and short steps: what a phrase means. As long as that is not known, the match loss is large and
# noise, and drowns `senses` (250 steps at its usual weight taught nothing, 40 of these do).
PHRASES = replace(
    TABLE,
    name="phrases",
    loss_weights={"next_token": 0.2, "match": 0.02, "senses": 1.0, "name": 0.1, "iou": 0.1},
    mix=Mix(regions=2, absent=40, describe=0, dense=0, detect=0, count=0, everything=0, caption=0, alike=0),
)
