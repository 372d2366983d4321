"""Stage 2, perception instruction tuning: the language model learns to answer with regions, on all task templates.

part               trains                                              losses                             rate
language, output   yes; with LoRA only adapters beside their layers,   next_token, match, senses          train.lr
                   and token_rows as in stage 1
aux_tail           yes: the auxiliary tower's last stage; a tower      all                                part_lr
                   with a detector in it stays
region_encoder     yes                                                 all                                train.lr
region_projector   yes                                                 all                                train.lr
match_head         yes                                                 match, senses, name                train.lr
iou_head           yes                                                 iou                                train.lr
vision             no: the primary tower is the base's own

Losses and their weights: next_token 1, match 1, senses 0.5, name 0.5, iou 0.5.
"""

from fo1agent.trainers.language import Mix, StageTable

TABLE = StageTable(
    name="instruction",
    parts=("language", "output", "aux_tail", "region_encoder", "region_projector", "match_head", "iou_head"),
    loss_weights={"next_token": 1.0, "match": 1.0, "senses": 0.5, "name": 0.5, "iou": 0.5},
    mix=Mix(absent=12, detect=0.7, count=0.7, everything=0.4, caption=0.7),
)
