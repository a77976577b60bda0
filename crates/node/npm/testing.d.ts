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

/** A kind of request that can be made to fail. */
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

/** What a failing request is answered with. */
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
  /** How many brokers; 1 unless given. */
  brokers?: number;
  /**
   * What stands before the names of the platform's topics, as for the clients' `topicPrefix`. No
   * environment variable has it: a service is given it.
   */
  topicPrefix?: string;
}

/**
 * A broker with the platform's topics and a schema registry, in this process, on free ports of
 * 127.0.0.1: for services' own tests.
 */
export class TestPlatform {
  constructor(options?: TestPlatformOptions);
  static start(options?: TestPlatformOptions): Promise<TestPlatform>;

  readonly bootstrapServers: string;
  readonly registryUrl: string;
  /** Options that connect a producer or consumer. */
  readonly options: {
    bootstrapServers: string;
    securityProtocol: 'PLAINTEXT';
    schemaRegistryUrl: string;
    topicPrefix: string;
  };
  /** Environment variables that connect a service that reads them. */
  readonly environment: Readonly<Record<string, string>>;

  /** A producer that {@link stop} closes. */
  producer(options?: ProducerOptions): TypedProducer;
  /** A producer of old that {@link stop} closes. */
  eventProducer(options?: EventProducerOptions): EventProducer;
  /** A consumer that {@link stop} closes. */
  consumer<Name extends TopicName, Longs extends 'number' | 'bigint' = 'number'>(
    options: ConsumerOptions<Name, Longs>,
  ): EventConsumer<Name, Longs>;

  /** All records that are on a topic now, those of one key in the order of their sends. */
  records<Name extends TopicName>(topic: Name): Promise<Array<EventRecord<Name>>>;

  /** Adds a topic to those of the platform. */
  createTopic(name: string, partitions?: number): void;
  /** Has every broker refuse connections. */
  takeDown(): void;
  /** Has them accept connections again. */
  bringUp(): void;
  /** Has brokers take this long for each answer. */
  delay(ms: number): void;
  /** Has the next requests of a kind fail. */
  failNext(request: Request, count: number, error: BrokerError): void;
  /** Has a topic fail for producers, until it is taken back with `null`. */
  failTopic(topic: string, error?: BrokerError | null): void;
  /** Has the registry refuse connections. */
  takeRegistryDown(): void;
  /** Has it accept connections again. */
  bringRegistryUp(): void;
  /** Has the registry's next calls fail with an HTTP status, or be slow. */
  failRegistry(calls: number, how?: { status?: number; delayMs?: number }): void;
  /** The schemas of a subject, oldest first. */
  schemas(subject: string): string[];
  /** How many calls the registry had. */
  readonly registryCalls: number;

  /** Closes its producers and consumers, and ends broker and registry. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
