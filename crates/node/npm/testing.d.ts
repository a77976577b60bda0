import type {
  ConsumerOptions,
  EventConsumer,
  EventProducer,
  EventProducerOptions,
  EventRecord,
  ProducerOptions,
  TopicName,
  TypedProducer,
} from './index.js';

/** A request that the brokers can fail. */
export type Request =
  | 'Produce'
  | 'Fetch'
  | 'ListOffsets'
  | 'Metadata'
  | 'OffsetCommit'
  | 'OffsetFetch'
  | 'FindCoordinator'
  | 'JoinGroup'
  | 'Heartbeat'
  | 'LeaveGroup'
  | 'SyncGroup'
  | 'ApiVersions'
  | 'InitProducerId';

/** The error that a broker answers with. */
export type BrokerError =
  | 'Disconnect'
  | 'UnknownTopic'
  | 'NotLeader'
  | 'LeaderNotAvailable'
  | 'RequestTimedOut'
  | 'NotEnoughReplicas'
  | 'MessageTooLarge'
  | 'CorruptMessage'
  | 'TopicAuthorizationFailed'
  | 'GroupAuthorizationFailed'
  | 'ClusterAuthorizationFailed'
  | 'CoordinatorNotAvailable'
  | 'NotCoordinator'
  | 'RebalanceInProgress'
  | 'UnknownMember'
  | 'OffsetOutOfRange'
  | 'StorageError'
  | 'UnknownServerError';

export interface TestPlatformOptions {
  /** The number of brokers. Default: 1. */
  brokers?: number;
  /**
   * The prefix of the platform's topic names, as the setting `topicPrefix` of a client. It is not in
   * `environment`: pass it to the service.
   */
  topicPrefix?: string;
}

/**
 * A Kafka broker with the platform's topics and a schema registry, for the tests of a service. Both
 * run in this process, on free ports of 127.0.0.1.
 */
export class TestPlatform {
  constructor(options?: TestPlatformOptions);
  static start(options?: TestPlatformOptions): Promise<TestPlatform>;

  readonly bootstrapServers: string;
  readonly registryUrl: string;
  /** Options that connect a producer or consumer to it. */
  readonly options: {
    bootstrapServers: string;
    securityProtocol: 'PLAINTEXT';
    schemaRegistryUrl: string;
    topicPrefix: string;
  };
  /** Environment variables that connect a service to it. */
  readonly environment: Readonly<Record<string, string>>;

  /** A producer that {@link stop} closes. */
  producer(options?: ProducerOptions): TypedProducer;
  /** A drop-in `EventProducer` that {@link stop} closes. */
  eventProducer(options?: EventProducerOptions): EventProducer;
  /** A consumer that {@link stop} closes. */
  consumer<Name extends TopicName, Longs extends 'number' | 'bigint' = 'number'>(
    options: ConsumerOptions<Name, Longs>,
  ): EventConsumer<Name, Longs>;

  /** All records of a topic. Records with the same key are in the order of their sends. */
  records<Name extends TopicName>(topic: Name): Promise<Array<EventRecord<Name>>>;

  /** Creates a topic. */
  createTopic(name: string, partitions?: number): void;
  /** Closes every connection to the brokers and refuses new ones. */
  takeDown(): void;
  /** Accepts connections again. The records are kept. */
  bringUp(): void;
  /** Delays each answer of the brokers; 0 ends the delay. */
  delay(ms: number): void;
  /** Answers the next `count` requests of this type with an error. */
  failNext(request: Request, count: number, error: BrokerError): void;
  /** Answers metadata requests for a topic with an error; `null` ends it. */
  failTopic(topic: string, error?: BrokerError | null): void;
  /** Refuses connections to the registry. */
  takeRegistryDown(): void;
  /** Accepts connections to the registry again. */
  bringRegistryUp(): void;
  /** Answers the registry's next calls with an HTTP status or after a delay; by default disconnects. */
  failRegistry(calls: number, how?: { status?: number; delayMs?: number }): void;
  /** The schemas of a subject, oldest first. */
  schemas(subject: string): string[];
  /** The number of calls to the registry so far. */
  readonly registryCalls: number;

  /** Closes the producers and consumers that it created, and stops broker and registry. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
