import { EventEmitter } from 'node:events';
import { Writable, WritableOptions } from 'node:stream';
import type { EventError } from './errors.js';
import type { EventInits, EventName } from './events/index.js';
import type { ClientOptions, ProducerSettings } from './settings.js';

/** Settings of a producer. What is left out is taken from the environment, else the default. */
export interface ProducerOptions extends ClientOptions, ProducerSettings {
  /** The service that produces: the `source` of its events. The same as `serviceName`. */
  sourceService?: string | undefined;
}

/** Where the brokers put a record. */
export interface DeliveryReport {
  topic: string;
  /** From 0. */
  partition: number;
  /** In the partition; -1 where `acks` leaves it unknown. */
  offset: number;
  /** In milliseconds since 1970 UTC. */
  timestamp: number;
}

/** What a caller chooses for a record beside its event. */
export interface RecordOptions {
  /** A key instead of the event's own; `null` is none. */
  key?: string | Uint8Array | null | undefined;
  /** A partition instead of the key's. */
  partition?: number | null | undefined;
  /** Headers by their names; several of one name as an array. */
  headers?: Readonly<Record<string, HeaderValue | readonly HeaderValue[]>> | null | undefined;
}

/** The value of a header. */
export type HeaderValue = string | Uint8Array | null;

export interface SendOptions extends RecordOptions {
  /** Rejects the promise when it aborts; a record that was sent cannot be called back. */
  signal?: AbortSignal | undefined;
}

/** A record of any bytes. */
export interface RawRecord extends RecordOptions {
  /** Without one the record is a tombstone. */
  value?: string | Uint8Array | null | undefined;
}

/** What became of a producer's records so far. */
export interface ProducerStats {
  /** Records that the brokers acknowledged. */
  delivered: number;
  /** Records that ended in an error, those that were refused at the call included. */
  failed: number;
  /** Records on their way. */
  queued: number;
}

export interface ProducerEvents {
  /** A record that was enqueued without a promise has failed. */
  error: [error: EventError];
  /** The queue has room again after `enqueue` gave false. */
  drain: [];
}

/**
 * Sends typed events, as Avro unless `format` says otherwise. Records of one key stay in the order
 * of their calls.
 */
export class TypedProducer extends EventEmitter<ProducerEvents> {
  /** Connects with the first record, or with {@link connect}. @throws InvalidConfigError */
  constructor(options?: ProducerOptions);

  /**
   * Sends an event. Resolves once the brokers have acknowledged it; waits in line while the queue is full.
   *
   * Rejects with an `InvalidEventError` that names the field, or with what the brokers said.
   */
  send<Name extends EventName>(
    name: Name,
    event: EventInits[Name],
    options?: SendOptions,
  ): Promise<DeliveryReport>;

  /**
   * Sends an event without a promise. A failure comes as an `error` event, and so does a value out
   * of its range.
   *
   * @returns false where the queue is full: stop, and go on after `drain` or {@link ready}.
   * @throws InvalidEventError naming the field, where a type is wrong or a field missing or unknown
   */
  enqueue<Name extends EventName>(
    name: Name,
    event: EventInits[Name],
    options?: RecordOptions,
  ): boolean;

  /**
   * Sends events of one record, leaving the event loop in between. Resolves when all are
   * acknowledged; rejects with the first error, which has all `failures` by their indices.
   */
  sendMany<Name extends EventName>(
    name: Name,
    events: Iterable<EventInits[Name]>,
    options?: SendOptions,
  ): Promise<{ delivered: number }>;

  /** Sends a record of any bytes to any topic. */
  sendRaw(topic: string, record?: RawRecord): Promise<DeliveryReport>;

  /** Resolves when there is room in the queue: at once where there is. */
  ready(): Promise<void>;

  /** Connects early. Rejects where no broker answers in time or one refuses us. */
  connect(options?: { timeoutMs?: number }): Promise<void>;

  /** Resolves when all records so far are settled. */
  flush(options?: { timeoutMs?: number }): Promise<void>;

  /**
   * Delivers what was sent, and ends the producer: within the setting `closeTimeoutMs` where no time is
   * given. Rejects with how many were given up.
   */
  close(options?: { timeoutMs?: number }): Promise<void>;

  /** What became of the records so far. */
  stats(): ProducerStats;

  /** The producer's metrics in Prometheus' text format. */
  metrics(): string;

  /** A stream of events of one record, with back-pressure, in object mode. */
  writable<Name extends EventName>(
    name: Name,
    options?: RecordOptions & Pick<WritableOptions, 'highWaterMark' | 'signal'>,
  ): Writable;

  [Symbol.asyncDispose](): Promise<void>;
}
