import type { EventError } from './errors.js';
import type { TopicEvents, TopicName } from './events/index.js';
import type { ClientOptions, ConsumerSettings } from './settings.js';

/** Settings of a consumer. What is left out is taken from the environment, else the default. */
export interface ConsumerOptions<
  Name extends TopicName = TopicName,
  Longs extends 'number' | 'bigint' = 'number',
> extends ClientOptions,
    Omit<ConsumerSettings, 'topics'> {
  /** The topics to read. */
  topics: Name | readonly Name[];
  /**
   * What 64-bit integers become. With `number`, an event whose number is beyond
   * `Number.MAX_SAFE_INTEGER` is an error, never a wrong number.
   */
  longs?: Longs | undefined;
}

/** The headers of a record by their names; of several of one name the last. */
export type Headers = Readonly<Record<string, Buffer | null>>;

interface Place<Name extends string> {
  topic: Name;
  partition: number;
  offset: number;
  /** The record's own, in milliseconds since 1970 UTC. */
  timestamp: number | null;
  /** Bytes where they are no text. */
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
  /** Why the record is no event. Reading goes on. */
  error: EventError;
  /** The record's bytes. */
  value: Buffer | null;
  tombstone: false;
}

/** A record without a value, with which a compacted topic deletes what has the same key. */
interface Tombstone<Name extends string> extends Place<Name> {
  event: null;
  error: null;
  value: null;
  tombstone: true;
}

/** A record of one of these topics: `topic` tells which event it has, `event` whether it has one. */
export type EventRecord<
  Name extends TopicName = TopicName,
  Long extends number | bigint = number,
> = { [Topic in Name]: Decoded<Topic, Long> | Undecoded<Topic> | Tombstone<Topic> }[Name];

/**
 * Reads typed events as a member of a consumer group, or alone: each record at least once.
 *
 * Reading on acknowledges what the same reader was given before, and nothing else does: not `close`,
 * not leaving a loop, not another loop. Each iterator and each call of {@link eachBatch} is a reader of
 * its own, the calls of {@link nextBatch} together are one. What is acknowledged is committed from time
 * to time and by {@link close}; what is not is read again, by the next loop or by the group.
 */
export class EventConsumer<
  Name extends TopicName = TopicName,
  Longs extends 'number' | 'bigint' = 'number',
> implements AsyncIterable<EventRecord<Name, Longs extends 'bigint' ? bigint : number>>
{
  /** Begins to read. @throws InvalidConfigError */
  constructor(options: ConsumerOptions<Name, Longs>);

  /** The records one by one. It ends when the consumer is closed. */
  [Symbol.asyncIterator](): AsyncIterator<
    EventRecord<Name, Longs extends 'bigint' ? bigint : number>,
    undefined
  >;

  /**
   * The next records; `null` where there will be no more. Acknowledges those that it gave before. End a
   * wait with a signal: of a call that is left alone the records count as received. Several callers at
   * once acknowledge by {@link acknowledge}; better, each uses {@link eachBatch}.
   */
  nextBatch(options?: {
    signal?: AbortSignal | undefined;
  }): Promise<Array<EventRecord<Name, Longs extends 'bigint' ? bigint : number>> | null>;

  /** Calls `handler` with batches. Where it throws, reading ends, and the batch comes at the next read. */
  eachBatch(
    handler: (
      records: Array<EventRecord<Name, Longs extends 'bigint' ? bigint : number>>,
    ) => void | Promise<void>,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<void>;

  /** Acknowledges every record that was given, without reading on. */
  acknowledge(): void;

  /** Commits what is acknowledged, and what {@link nextBatch} gave last. Waits for the answer. */
  commit(options?: { timeoutMs?: number }): Promise<void>;

  /** The partitions that are ours now. */
  assignment(): Array<{ topic: string; partition: number }>;

  /** The consumer's metrics in Prometheus' text format, with its lag. */
  metrics(): string;

  /**
   * Commits what is acknowledged and leaves the group, within `timeoutMs` or else the setting
   * `closeTimeoutMs`. Acknowledges nothing itself.
   *
   * @throws TimeoutError where the brokers do not answer in time; leaving goes on in the background.
   */
  close(options?: { timeoutMs?: number }): Promise<void>;

  [Symbol.asyncDispose](): Promise<void>;
}
