
class Event:
    """The base class of the events. They are immutable, picklable, and equal by content.

    The constructor protects sensitive fields as the schema says: it hashes, masks or drops them.
    """

    @property
    def event_id(self) -> str:
        """The event's unique id: a UUID, by default version 7."""

    @property
    def event_type(self) -> str:
        """The record's name, such as `AuditAPICallEvent`."""

    @property
    def timestamp(self) -> int:
        """When the event happened, in milliseconds since 1970 UTC."""

    @property
    def time(self) -> datetime:
        """`timestamp` as a datetime in UTC."""

    @property
    def source(self) -> str:
        """The service that produced the event. Empty until a producer sets it."""

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
        """The event's topic."""

    def to_dict(self) -> dict[str, Any]:
        """The fields by attribute name, for `from_dict` or a dataclass."""

    def to_json(self) -> str:
        """The event as a flat JSON object, with the schema's names."""

    def to_avro(self) -> bytes:
        """The event's Avro body, without framing."""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], /) -> Self:
        """Creates an event from a `to_dict` result, or from a mapping with the schema's names.

        Raises:
            InvalidEventError: a value is invalid; `context` names the field.
        """

    @classmethod
    def from_json(cls, text: str | bytes, /) -> Self:
        """Creates an event from a flat JSON object. Every field must have the right JSON type.

        Raises:
            InvalidEventError: a value is invalid; `context` names the field.
        """

    @classmethod
    def from_avro(cls, body: bytes, /) -> Self:
        """Creates an event from an Avro body written with this schema.

        Raises:
            UndecodableError: the bytes are not an Avro body of this schema.
        """

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed. It keeps the `event_id` unless that is changed."""

    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: Any, /) -> Self: ...
    def __replace__(self, **changes: Any) -> Self: ...
