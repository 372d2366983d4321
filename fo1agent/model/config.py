"""`FO1Config`: everything that `config.json` says about an FO1 model, in one Hugging Face configuration.

Nested parts are plain JSON objects, checked when the part is built from them. The public checkpoint's own, flat
configuration is read by `reading.py`, never here.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from fo1agent.errors import CheckpointError


class FO1Config(PreTrainedConfig):
    """Configuration of `FO1`.

    Attributes:
        base_config: configuration of the vision-language model that FO1 is plugged into.
        aux: auxiliary tower: `{"type": "davit", …Florence2VisionConfig fields}`, `{"type": "mobilenet_v2_ssd"}`, or
            `{"type": "backbone", "config": …}` with the configuration of any backbone of transformers, and `image_mean`
            and `image_std` if its pixels are normalised by others than its own; see `aux_backbones.py`.
        region: fields of `region_encoder.RegionConfig`.
        image_projector: `{"layers": n, "hidden_size": width}` after the base's own merger; 0 layers: the identity.
        region_projector: the same, from region vectors to region tokens.
        first_mention: id of `<region0>`, behind which those of `<region1>`, … follow. If given, a region's number
            carries its token wherever it stands, as in GPT4RoI (arXiv 2307.03601): a language model too small to look
            regions up by their numbers need not. None is the reference's way: only the slot behind the number does.
        heads: constructor arguments of the optional heads: `match`, `iou`, `proposal`. Absent: no such head.
        lessons: names that were taught beside the model, oldest first: `names` and `finder` of each; see `lesson.py`.
        processing: fields of `prompting.ProcessingConfig`.
        vocabulary: phrases that a closed-vocabulary model was trained to name, lessons apart; None for an open one.
        thresholds: default score thresholds per tool: `ground`, `count`, `exists`.
        calibration: numbers that turn raw scores into probabilities; see `predictor.py` and `heads.py`.
    """

    model_type = "fo1"
    is_composition = True

    base_config: Any = None
    aux: Any = None
    region: Any = None
    image_projector: Any = None
    region_projector: Any = None
    first_mention: int | None = None
    heads: Any = None
    lessons: Any = None
    processing: Any = None
    vocabulary: Any = None
    thresholds: Any = None
    calibration: Any = None

    def __post_init__(self, **kwargs: Any) -> None:
        if isinstance(self.base_config, dict):
            values = dict(self.base_config)
            self.base_config = AutoConfig.for_model(values.pop("model_type", "qwen2_5_vl"), **values)
        self.aux = dict(self.aux or {"type": "davit"})
        if isinstance(own := self.aux.get("config"), PreTrainedConfig):
            self.aux["config"] = {**own.to_diff_dict(), "model_type": own.model_type}
        self.region = dict(self.region or {})
        self.image_projector = dict(self.image_projector or {"layers": 0})
        self.region_projector = dict(self.region_projector or {"layers": 2})
        self.heads = dict(self.heads or {})
        self.lessons = [dict(lesson) for lesson in self.lessons or ()]
        self.processing = dict(self.processing or {})
        self.vocabulary = None if self.vocabulary is None else list(self.vocabulary)
        self.thresholds = dict(self.thresholds or {})
        self.calibration = dict(self.calibration or {})
        unknown = set(self.heads) - {"match", "iou", "proposal"}
        if unknown:
            raise CheckpointError(f"config.heads knows match, iou and proposal, not {', '.join(sorted(unknown))}.")
        super().__post_init__(**kwargs)

    @classmethod
    def get_config_dict(cls, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Hugging Face's, of a folder that fo1agent saved.

        Raises:
            CheckpointError: the folder is of another layout; says what reads it.
        """
        said, left = super().get_config_dict(*args, **kwargs)
        return _own(said), left

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Hugging Face's, of what such a folder's config.json says.

        Raises:
            CheckpointError: see `get_config_dict`.
        """
        return super().from_dict(_own(config_dict), **kwargs)

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PreTrainedConfig:
        """The base's language model configuration."""
        return self if self.base_config is None else self.base_config.get_text_config()

    @property
    def hidden_size(self) -> int:
        """Width of the language model, of image tokens and of region tokens."""
        return self.get_text_config().hidden_size


def _own(said: dict[str, Any]) -> dict[str, Any]:
    if said.get("model_type", FO1Config.model_type) != FO1Config.model_type:
        raise CheckpointError(
            f"FO1Config reads a config.json of model_type {FO1Config.model_type!r}, got {said['model_type']!r}. "
            "A public layout is read with its weights: FO1.from_pretrained(name_or_folder).config; or by fo1agent.load."
        )
    return said
