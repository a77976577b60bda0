import { EventEmitter } from 'node:events';
import { Writable, WritableOptions } from 'node:stream';
import type { EventError } from './errors.js';
import type { EventInits, EventName } from './events/index.js';
import type { ClientOptions, ProducerSettings } from './settings.js';

/** Settings of a producer. A setting that is left out comes from the environment, then from its default. */
export interface ProducerOptions extends ClientOptions, ProducerSettings {
  /** The `source` of the producer's events. The same as `serviceName`. */
  sourceService?: string | undefined;
}

/** Where the broker wrote a record. */
export interface DeliveryReport {
  topic: string;
  /** From 0. */
  partition: number;
  /** The offset in the partition; -1 with `acks=0`. */
  offset: number;
  /** In milliseconds since 1970 UTC. */
  timestamp: number;
}

/** Options of one record. */
export interface RecordOptions {
  /** Replaces the event's own key; `null` sends the record without a key. */
  key?: string | Uint8Array | null | undefined;
  /** Replaces the partition that the key hashes to. */
  partition?: number | null | undefined;
  /** Headers by name; an array for several with one name. */
  headers?: Readonly<Record<string, HeaderValue | readonly HeaderValue[]>> | null | undefined;
}

/** The value of a header. */
export type HeaderValue = string | Uint8Array | null;

export interface SendOptions extends RecordOptions {
  /** Rejects the promise when it aborts. A record that was sent stays sent. */
  signal?: AbortSignal | undefined;
}

/** A record with any bytes as its value. */
export interface RawRecord extends RecordOptions {
  /** Without a value the record is a tombstone. */
  value?: string | Uint8Array | null | undefined;
}

/** Counts of a producer's records. */
export interface ProducerStats {
  /** Records that the broker acknowledged. */
  delivered: number;
  /** Records that failed, including those that were rejected before they were sent. */
  failed: number;
  /** Records in flight. */
  queued: number;
}

export interface ProducerEvents {
  /** A record sent by `enqueue` failed. */
  error: [error: EventError];
  /** The queue has capacity again after `enqueue` returned false. */
  drain: [];
}

/**
 * Sends typed events, as Avro or in the configured `format`. Records with the same key keep their
 * order.
 */
export class TypedProducer extends EventEmitter<ProducerEvents> {
  /** Does not connect: the first record or {@link connect} does. @throws InvalidConfigError */
  constructor(options?: ProducerOptions);

  /**
   * Sends an event. Resolves when the broker acknowledges it. While the queue is full, the record
   * waits for up to `blockTimeoutMs`.
   *
   * Rejects with an `InvalidEventError` that names the field, or with the error of the delivery.
   */
  send<Name extends EventName>(
    name: Name,
    event: EventInits[Name],
    options?: SendOptions,
  ): Promise<DeliveryReport>;

  /**
   * Sends an event without a promise. Emits `error` if the delivery fails or a value is out of range.
   *
   * @returns false if the queue is full: continue after `drain` or {@link ready}.
   * @throws InvalidEventError if a field is missing, unknown or of the wrong type; it names the field
   */
  enqueue<Name extends EventName>(
    name: Name,
    event: EventInits[Name],
    options?: RecordOptions,
  ): boolean;

  /**
   * Sends events of one type, yielding to the event loop in between. Resolves when all are
   * acknowledged. Rejects with the first error; its `failures` lists every error with its index.
   */
  sendMany<Name extends EventName>(
    name: Name,
    events: Iterable<EventInits[Name]>,
    options?: SendOptions,
  ): Promise<{ delivered: number }>;

  /** Sends any bytes to any topic. */
  sendRaw(topic: string, record?: RawRecord): Promise<DeliveryReport>;

  /** Resolves when the queue has capacity. */
  ready(): Promise<void>;

  /**
   * Optional: the first send connects as well. Rejects if no broker answers within `timeoutMs`
   * (default 30,000) or a broker refuses the credentials.
   */
  connect(options?: { timeoutMs?: number }): Promise<void>;

  /**
   * Resolves when every record sent so far is delivered or failed. Rejects with a `TimeoutError`
   * after `timeoutMs` (default 60,000).
   */
  flush(options?: { timeoutMs?: number }): Promise<void>;

  /**
   * Delivers the accepted records and closes the producer. After `timeoutMs` (default
   * `closeTimeoutMs`) the records that are left fail, and it rejects with their number.
   */
  close(options?: { timeoutMs?: number }): Promise<void>;

  /** Counts of the records so far. */
  stats(): ProducerStats;

  /** The producer's metrics in the Prometheus text format. */
  metrics(): string;

  /** A stream for events of one type, in object mode, with back-pressure. */
  writable<Name extends EventName>(
    name: Name,
    options?: RecordOptions & Pick<WritableOptions, 'highWaterMark' | 'signal'>,
  ): Writable;

  [Symbol.asyncDispose](): Promise<void>;
}
