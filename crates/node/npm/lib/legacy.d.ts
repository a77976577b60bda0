import type { DeliveryReport, ProducerOptions } from './producer.js';
import { TypedProducer } from './producer.js';

/** TLS options as for Node's `tls.connect`, as PEM text. */
export interface TlsOptions {
  /** The certificate authorities of the brokers. */
  ca?: Pem | readonly Pem[] | undefined;
  /** The client certificate. */
  cert?: Pem | undefined;
  /** The private key of `cert`. */
  key?: Pem | undefined;
  /** The password of `key`. */
  passphrase?: string | undefined;
  /** `false` accepts every broker certificate. */
  rejectUnauthorized?: boolean | undefined;
}

export type Pem = string | Buffer;

/** A number, or what services pass for one: text, a request header, nothing. */
export type Countable = number | bigint | string | readonly string[] | null | undefined;

/** A string, or what services pass for one. */
export type Textual = string | readonly string[] | number | boolean | null | undefined;

export interface EventProducerOptions extends ProducerOptions {}

export interface DataIngestionParameters {
  datasetName: Textual;
  recordCount?: Countable;
  sizeBytes?: Countable;
  location?: Textual;
  /** `SUCCESS`, `FAILURE` or `PARTIAL`. */
  status?: Textual;
  format?: Textual;
  metadata?: Readonly<Record<string, unknown>> | null | undefined;
}

export interface ServiceHealthParameters {
  serviceName: Textual;
  namespace?: Textual;
  /** `HEALTHY`, `DEGRADED`, `UNHEALTHY` or `UNKNOWN`. */
  healthStatus: Textual;
  latencyMs?: Countable;
  /** From 0.0 to 1.0. */
  errorRate?: Countable;
  message?: Textual;
}

export interface APICallParameters {
  service: Textual;
  endpoint?: Textual;
  method?: Textual;
  statusCode?: Countable;
  latencyMs?: Countable;
  /** In bytes. */
  requestSize?: Countable;
  /** In bytes. */
  responseSize?: Countable;
  userId?: Textual;
  /** Hashed before it leaves the process. */
  apiKey?: Textual;
  ipAddress?: Textual;
  errorMessage?: Textual;
}

export interface DataQualityParameters {
  datasetName: Textual;
  checkType?: Textual;
  checkName?: Textual;
  /** `PASS`, `FAIL` or `WARNING`. */
  result: Textual;
  /** From 0.0 to 1.0. */
  score?: Countable;
  failedRecords?: Countable;
  totalRecords?: Countable;
  message?: Textual;
}

/** The result of `_createBaseEvent`: the envelope and the event's own fields. */
export interface BaseEvent {
  eventId: string;
  eventType: string;
  /** In milliseconds since 1970 UTC. */
  timestamp: number;
  source: string;
  version: string;
  [field: string]: unknown;
}

export type MessageHeader = Buffer | string | (Buffer | string)[] | undefined;

/** A message of kafkajs. */
export interface Message {
  key?: Buffer | string | null;
  value: Buffer | string | null;
  partition?: number;
  headers?: Readonly<Record<string, MessageHeader>>;
  timestamp?: string;
}

/** The argument of kafkajs' `send`. The producer's settings override `acks`, `timeout` and `compression`. */
export interface ProducerRecord {
  topic: string;
  messages: Message[];
  acks?: number;
  timeout?: number;
  compression?: number;
}

/** Where the first record of a partition was written. */
export interface RecordMetadata {
  topicName: string;
  partition: number;
  errorCode: number;
  baseOffset?: string;
  logAppendTime?: string;
  logStartOffset?: string;
}

/** The type of `producer.producer`: the methods of kafkajs' producer that services call. */
export interface LowLevelProducer {
  readonly events: Readonly<
    Record<'CONNECT' | 'DISCONNECT' | 'REQUEST' | 'REQUEST_TIMEOUT' | 'REQUEST_QUEUE_SIZE', string>
  >;
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  send(record: ProducerRecord): Promise<RecordMetadata[]>;
  sendBatch(batch: { topicMessages?: ProducerRecord[] }): Promise<RecordMetadata[]>;
  /** Adds a listener for `CONNECT` or `DISCONNECT`. Returns a function that removes it. */
  on(name: string, listener: (event: { type: string; timestamp: number; payload: object }) => void): () => void;
  isIdempotent(): boolean;
  /** Rejects: there are no transactions. */
  transaction(): Promise<never>;
  /** Rejects: there are no transactions. */
  sendOffsets(): Promise<never>;
}

/** The type of `producer.kafka`. Its producers share one connection. */
export interface KafkaClient {
  producer(options?: object): LowLevelProducer;
  /** Throws: install kafkajs for its admin client. */
  admin(): never;
  /** Throws: use `EventConsumer`. */
  consumer(): never;
}

/**
 * Drop-in replacement for the kafkajs-based `EventProducer`, with the same methods and defaults. It
 * writes Avro with a schema registry (`schemaRegistryUrl` or `KAFKA_SCHEMA_REGISTRY_URL`) and JSON
 * without one.
 */
export class EventProducer extends TypedProducer {
  constructor(options?: EventProducerOptions);

  /** The `source` of the events. May be assigned. */
  sourceService: string;
  readonly clientId: string;
  /** Records that the broker acknowledged. */
  deliveryCount: number;
  /** Records that failed. */
  errorCount: number;
  /** Whether `connect` or a delivery succeeded since the last `disconnect`. */
  connected: boolean;
  kafka: KafkaClient;
  /** May be replaced, and its `send` too: every event then goes through the replacement. */
  producer: LowLevelProducer;

  /** Rejects if no broker answers within `timeoutMs` (default 18,000). */
  connect(options?: { timeoutMs?: number | undefined }): Promise<void>;
  /**
   * Delivers the accepted records, for up to 9 seconds. Records that are left stay in flight, with
   * their promises. The next record connects again.
   */
  disconnect(): Promise<void>;
  produceDataIngestionEvent(parameters: DataIngestionParameters): Promise<DeliveryReport>;
  produceServiceHealthEvent(parameters: ServiceHealthParameters): Promise<DeliveryReport>;
  produceAPICallEvent(parameters: APICallParameters): Promise<DeliveryReport>;
  produceDataQualityEvent(parameters: DataQualityParameters): Promise<DeliveryReport>;
  /** Sends any JSON value to any topic. */
  produceCustomEvent(
    topic: string,
    key: string | readonly string[] | Uint8Array | number | null | undefined,
    event: unknown,
  ): Promise<DeliveryReport>;
  getStats(): { delivered: number; errors: number };
  /** Creates the envelope, with these fields added. May be overridden: it creates every typed event. */
  _createBaseEvent(eventType: string, additionalFields?: Readonly<Record<string, unknown>>): BaseEvent;
  /** Sends an event. May be overridden: every event goes through it. */
  _produce(topic: string, key: unknown, event: unknown): Promise<unknown>;
}

/** Creates a producer for this service. */
export function getEventProducer(
  serviceName: string,
  options?: EventProducerOptions,
): EventProducer;
