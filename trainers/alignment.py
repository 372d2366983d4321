"""Stage 1, region-language alignment: region tokens learn to mean something to a language model that stays as it is.

part               trains                                              losses                             rate
region_encoder     yes: SimpleFP, where the model has it               all                                train.lr
region_projector   yes                                                 all                                train.lr
match_head         yes                                                 match, senses, name                train.lr
iou_head           yes                                                 iou                                train.lr
token_rows         only the rows of <regionN>, <ground>, … in the      next_token, match, senses          part_lr
                   word embedding and the output layer
base               no: not one bit of any other number in it changes
auxiliary tower    no

Losses and their weights: next_token 1, match 1, senses 0.5, name 0.5, iou 0.5. A part or loss that a model has no place
for (SimpleFP of a nano, heads of the public checkpoint) is left out. Token rows train where a run attaches them
(`rows.attach`), as `tuning.py` does.
"""

from fo1agent.trainers.language import Mix, StageTable

TABLE = StageTable(
    name="alignment",
    parts=("region_encoder", "region_projector", "match_head", "iou_head", "token_rows"),
    loss_weights={"next_token": 1.0, "match": 1.0, "senses": 0.5, "name": 0.5, "iou": 0.5},
    mix=Mix(absent=16, detect=0.5, count=0.0, everything=0.5, caption=0.0),
)
