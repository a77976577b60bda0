import type { EventError } from './errors.js';
import type { TopicEvents, TopicName } from './events/index.js';
import type { ClientOptions, ConsumerSettings } from './settings.js';

/** Settings of a consumer. A setting that is left out comes from the environment, then from its default. */
export interface ConsumerOptions<
  Name extends TopicName = TopicName,
  Longs extends 'number' | 'bigint' = 'number',
> extends ClientOptions,
    Omit<ConsumerSettings, 'topics'> {
  /** The topics to read. */
  topics: Name | readonly Name[];
  /**
   * The type of 64-bit integers. With `number`, a record with an integer beyond
   * `Number.MAX_SAFE_INTEGER` is undecodable.
   */
  longs?: Longs | undefined;
}

/** The headers of a record by name. If a name repeats, its last value. */
export type Headers = Readonly<Record<string, Buffer | null>>;

interface Place<Name extends string> {
  topic: Name;
  partition: number;
  offset: number;
  /** The record's timestamp, in milliseconds since 1970 UTC. */
  timestamp: number | null;
  /** A string, or bytes if the key is not valid UTF-8. */
  key: string | Buffer | null;
  headers: Headers;
}

interface Decoded<Name extends TopicName, Long extends number | bigint> extends Place<Name> {
  event: TopicEvents<Long>[Name];
  error: null;
  value: null;
  tombstone: false;
}

interface Undecoded<Name extends string> extends Place<Name> {
  event: null;
  /** Why the record is undecodable. Reading continues. */
  error: EventError;
  /** The record's bytes. */
  value: Buffer | null;
  tombstone: false;
}

/** A record without a value. On a compacted topic it deletes the records with its key. */
interface Tombstone<Name extends string> extends Place<Name> {
  event: null;
  error: null;
  value: null;
  tombstone: true;
}

/** A record of one of these topics. `topic` determines the type of `event`. */
export type EventRecord<
  Name extends TopicName = TopicName,
  Long extends number | bigint = number,
> = { [Topic in Name]: Decoded<Topic, Long> | Undecoded<Topic> | Tombstone<Topic> }[Name];

/**
 * Reads typed events at least once, as a member of a consumer group or without one.
 *
 * Reading on acknowledges the records that the same reader received before. `close`, leaving a loop
 * and other readers do not. Each iterator and each call of {@link eachBatch} is a reader; the calls of
 * {@link nextBatch} together are one. Acknowledged records are committed periodically and by
 * {@link close}; the others are read again, by the next reader or by the group.
 */
export class EventConsumer<
  Name extends TopicName = TopicName,
  Longs extends 'number' | 'bigint' = 'number',
> implements AsyncIterable<EventRecord<Name, Longs extends 'bigint' ? bigint : number>>
{
  /** Starts to read. @throws InvalidConfigError */
  constructor(options: ConsumerOptions<Name, Longs>);

  /** The records one by one. The loop ends when the consumer is closed. */
  [Symbol.asyncIterator](): AsyncIterator<
    EventRecord<Name, Longs extends 'bigint' ? bigint : number>,
    undefined
  >;

  /**
   * Resolves with the next records, or with `null` once there are no more. Acknowledges the records
   * of the call before. To stop waiting, abort `signal`: the records of an abandoned call count as
   * received. Several callers at once use {@link eachBatch}, or {@link acknowledge} themselves.
   */
  nextBatch(options?: {
    signal?: AbortSignal | undefined;
  }): Promise<Array<EventRecord<Name, Longs extends 'bigint' ? bigint : number>> | null>;

  /** Calls `handler` with each batch. If it throws, reading ends and the next read returns the batch again. */
  eachBatch(
    handler: (
      records: Array<EventRecord<Name, Longs extends 'bigint' ? bigint : number>>,
    ) => void | Promise<void>,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<void>;

  /** Acknowledges every record that was received, without reading on. */
  acknowledge(): void;

  /**
   * Commits what is acknowledged, and the last batch of {@link nextBatch}. Waits up to `timeoutMs`
   * (default 30,000) for the broker's answer.
   */
  commit(options?: { timeoutMs?: number }): Promise<void>;

  /** The assigned partitions. */
  assignment(): Array<{ topic: string; partition: number }>;

  /** The consumer's metrics in the Prometheus text format, lag included. */
  metrics(): string;

  /**
   * Commits what is acknowledged and leaves the group. Waits up to `timeoutMs` (default
   * `closeTimeoutMs`). Acknowledges nothing itself.
   *
   * Rejects with a `TimeoutError` if the broker does not answer in time; leaving goes on in the
   * background.
   */
  close(options?: { timeoutMs?: number }): Promise<void>;

  [Symbol.asyncDispose](): Promise<void>;
}
