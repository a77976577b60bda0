
class Event:
    """What all events have: an immutable record, equal by content, picklable.

    Sensitive fields are treated when the event is made, as they are on the wire: hashed, masked or
    null.
    """

    @property
    def event_id(self) -> str:
        """Identifies this event and no other: a UUID, version 7 where the library makes it."""

    @property
    def event_type(self) -> str:
        """The record's name, such as `AuditAPICallEvent`."""

    @property
    def timestamp(self) -> int:
        """When it happened: milliseconds since 1970-01-01T00:00:00 UTC."""

    @property
    def time(self) -> datetime:
        """`timestamp` as a datetime in UTC."""

    @property
    def source(self) -> str:
        """The service that produced the event; empty until a producer fills it."""

    @property
    def version(self) -> str:
        """The version of the event's schema."""

    @property
    def correlation_id(self) -> str | None:
        """Shared by all events of one request or workflow."""

    @property
    def causation_id(self) -> str | None:
        """The `event_id` of the event that caused this one."""

    @property
    def topic(self) -> str:
        """The topic that it belongs on."""

    def to_dict(self) -> dict[str, Any]:
        """The fields by the names of the attributes, ready for `from_dict` and for dataclasses."""

    def to_json(self) -> str:
        """The flat JSON object, by the names of the schema."""

    def to_avro(self) -> bytes:
        """The Avro body, without any framing."""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], /) -> Self:
        """An event of what `to_dict` gave, or of a mapping by the schema's names.

        Raises:
            InvalidEventError: a value is refused; `context` names the field.
        """

    @classmethod
    def from_json(cls, text: str | bytes, /) -> Self:
        """An event of its flat JSON object, every field of the right JSON type.

        Raises:
            InvalidEventError: a value is refused; `context` names the field.
        """

    @classmethod
    def from_avro(cls, body: bytes, /) -> Self:
        """An event of its Avro body in this very schema.

        Raises:
            UndecodableError: the bytes are no such event.
        """

    def replace(self, **changes: Any) -> Self:
        """The same event with some fields changed; its id stays unless it is changed too."""

    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: Any, /) -> Self: ...
    def __replace__(self, **changes: Any) -> Self: ...
