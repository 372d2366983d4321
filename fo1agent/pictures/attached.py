"""Pictures and files that go along with text, as chats carry them, and as the type of a field of a tool's result.

A field of the type `Attachment` is found by that type: it stands apart from the text of a result, wherever the field is
and whatever it is called.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

ENCODED = "contentEncoding"
"""The keyword by which the JSON schema of an attachment is told from another text's."""

FOR_PROGRAMS = "for_programs"
"""The keyword in the JSON schema of a field that a language model is not told: it is long, and nothing to read."""


class Attachment(bytes):
    """A file in a result, base64 in JSON; its `media_type` is `image/png` unless said otherwise."""

    media_type: str

    def __new__(cls, data: bytes, media_type: str = "image/png") -> Attachment:
        made = super().__new__(cls, data)
        made.media_type = media_type
        return made

    def __repr__(self) -> str:
        return f"<{self.media_type}, {len(self):,} bytes>"

    def base64(self) -> str:
        """The file as base64."""
        return base64.b64encode(self).decode("ascii")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema()
        telling = core_schema.plain_serializer_function_ser_schema(cls.base64, return_schema=text, when_used="json")
        return core_schema.no_info_wrap_validator_function(cls._read, text, serialization=telling)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", ENCODED: "base64"}

    @classmethod
    def _read(cls, value: Any, inner: Any) -> Attachment:
        if isinstance(value, (bytes, bytearray)):
            return value if isinstance(value, cls) else cls(bytes(value))
        try:
            return cls(base64.b64decode(inner(value), validate=True))
        except binascii.Error:
            raise ValueError("no base64") from None


def attached_fields(kind: type[BaseModel]) -> list[str]:
    """The fields of a model that hold an attachment, or may."""
    hints = {name: field.annotation for name, field in kind.model_fields.items() if not field.exclude}
    kinds = {name: (hint, *get_args(hint)) for name, hint in hints.items()}
    return [
        name
        for name, ones in kinds.items()
        if any(isinstance(one, type) and issubclass(one, Attachment) for one in ones)
    ]


@dataclass(frozen=True)
class Drawn:
    """A picture or file in a result: its media type, such as `image/png`, and the file as base64."""

    media_type: str
    base64: str

    @property
    def is_picture(self) -> bool:
        """Whether a model that takes pictures can be shown it."""
        return self.media_type.startswith("image/")

    @property
    def url(self) -> str:
        """As a `data:` URL."""
        return f"data:{self.media_type};base64,{self.base64}"
