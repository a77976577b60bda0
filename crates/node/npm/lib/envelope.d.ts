/** The fields that every event has. */
export interface Envelope<Name extends string = string> {
  /** The event's unique id: a UUID. */
  eventId: string;
  /** The record's name, such as `AuditAPICallEvent`. */
  eventType: Name;
  /** When the event happened, in milliseconds since 1970 UTC. */
  timestamp: number;
  /** The service that produced the event. */
  source: string;
  /** The version of the event's schema. */
  version: string;
  /** Shared by all events of one request or workflow. */
  correlationId: string | null;
  /** The `eventId` of the event that caused this one. */
  causationId: string | null;
}

/** The envelope of an event to send. Every field has a default. */
export interface EnvelopeInit<Name extends string = string> {
  /** A UUID. Default: a new UUIDv7. */
  eventId?: string | undefined;
  /** The record's name. */
  eventType?: Name | undefined;
  /** When the event happened, in milliseconds since 1970 UTC. Default: now. */
  timestamp?: number | bigint | Date | undefined;
  /** The service that produced the event. Default: the producer's `serviceName`. */
  source?: string | undefined;
  /** The version of the event's schema. */
  version?: string | undefined;
  /** Shared by all events of one request or workflow. */
  correlationId?: string | null | undefined;
  /** The `eventId` of the event that caused this one. */
  causationId?: string | null | undefined;
}
