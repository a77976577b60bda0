/** What a caller can do about an error. */
export type ErrorKind =
  | 'InvalidEvent'
  | 'InvalidConfig'
  | 'QueueFull'
  | 'Timeout'
  | 'Closed'
  | 'Authentication'
  | 'Authorization'
  | 'UnknownTopic'
  | 'RecordTooLarge'
  | 'Undecodable'
  | 'IncompatibleSchema'
  | 'Unavailable'
  | 'Aborted'
  | 'Internal';

/** The base of all errors of this package. */
export class EventError<Kind extends ErrorKind = ErrorKind> extends Error {
  /** What a caller can do about it. */
  readonly kind: Kind;
  /** Whether the same call can succeed later with nothing changed. */
  readonly retryable: boolean;
  /** Named facts: `topic`, `partition`, `event`, `field`, `setting`, … */
  readonly context: Readonly<Record<string, string>>;
  /** The topic that it is about. */
  readonly topic: string | undefined;
  /** The event that it is about. */
  readonly event: string | undefined;
  /** The event's field that it is about. */
  readonly field: string | undefined;
  /** The setting that it is about. */
  readonly setting: string | undefined;
  /** Of a `sendMany`: each record that failed, by its index. */
  failures?: ReadonlyArray<{ readonly index: number; readonly error: Error }>;
  /** Of a `sendMany`: how many records were delivered all the same. */
  delivered?: number;
}

/** A field's value is refused: mend the event; names `event` and `field`. */
export class InvalidEventError extends EventError<'InvalidEvent'> {}
/** A setting is unknown or its value is refused: mend the configuration; names `setting`. */
export class InvalidConfigError extends EventError<'InvalidConfig'> {}
/** The queue stayed full for as long as a record may wait: send again later. */
export class QueueFullError extends EventError<'QueueFull'> {}
/** A deadline passed. Of a record nobody can say then whether the broker has it. */
export class TimeoutError extends EventError<'Timeout'> {}
/** The producer or consumer was closed: make a new one. */
export class ClosedError extends EventError<'Closed'> {}
/** The peer's certificate, our certificate or our password was refused: mend the credentials. */
export class AuthenticationError extends EventError<'Authentication'> {}
/** The broker or registry knows us and says no: mend the access rules; names `topic`. */
export class AuthorizationError extends EventError<'Authorization'> {}
/** The topic or partition does not exist: create it. */
export class UnknownTopicError extends EventError<'UnknownTopic'> {}
/** The record is larger than the client or the topic allows: make it smaller. */
export class RecordTooLargeError extends EventError<'RecordTooLarge'> {}
/** Bytes that are no event in any of the formats that are read: look at the record's writer. */
export class UndecodableError extends EventError<'Undecodable'> {}
/** The registry or a reader's schema does not accept a schema: mend the schema. */
export class IncompatibleSchemaError extends EventError<'IncompatibleSchema'> {}
/** Broker or registry cannot be reached or is not able to answer: try again later. */
export class UnavailableError extends EventError<'Unavailable'> {}
/** The record was given up before it was sent: send again. */
export class AbortedError extends EventError<'Aborted'> {}
/** A fault of this package that no input explains: report it. */
export class InternalError extends EventError<'Internal'> {}
