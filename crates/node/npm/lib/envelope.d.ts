/** What every event carries, whatever it is about. */
export interface Envelope<Name extends string = string> {
  /** Identifies this event and no other: a UUID. */
  eventId: string;
  /** The record's name, such as `AuditAPICallEvent`. */
  eventType: Name;
  /** When it happened: milliseconds since 1970-01-01T00:00:00 UTC. */
  timestamp: number;
  /** The service that produced the event. */
  source: string;
  /** The version of the event's schema. */
  version: string;
  /** Shared by all events of one request or workflow; null where there is none. */
  correlationId: string | null;
  /** The `eventId` of the event that caused this one; null where none did. */
  causationId: string | null;
}

/** The envelope of an event to be sent: all of it is filled where it is left out. */
export interface EnvelopeInit<Name extends string = string> {
  /** A UUID; a new one, version 7, where it is left out. */
  eventId?: string | undefined;
  /** The record's name. */
  eventType?: Name | undefined;
  /** When it happened, in milliseconds since 1970 UTC; now where it is left out. */
  timestamp?: number | bigint | Date | undefined;
  /** The service that produces the event; the producer's where it is left out. */
  source?: string | undefined;
  /** The version of the event's schema. */
  version?: string | undefined;
  /** Shared by all events of one request or workflow. */
  correlationId?: string | null | undefined;
  /** The `eventId` of the event that caused this one. */
  causationId?: string | null | undefined;
}
