import type { DeliveryReport, ProducerOptions } from './producer.js';
import { TypedProducer } from './producer.js';

/** TLS as Node's own `tls.connect` has it: PEM text. */
export interface TlsOptions {
  /** The authorities that sign the brokers' certificates. */
  ca?: Pem | readonly Pem[] | undefined;
  /** Our certificate. */
  cert?: Pem | undefined;
  /** Its private key. */
  key?: Pem | undefined;
  /** The key's password. */
  passphrase?: string | undefined;
  /** `false` takes any broker for the right one. */
  rejectUnauthorized?: boolean | undefined;
}

export type Pem = string | Buffer;

/** A number, or what services have in the place of one: its text, a request's header, nothing. */
export type Countable = number | bigint | string | readonly string[] | null | undefined;

/** A text, or what a request has in the place of one. */
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

/** What `_createBaseEvent` gives: what all events have, and the fields of this one. */
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

/** A message as kafkajs has it. */
export interface Message {
  key?: Buffer | string | null;
  value: Buffer | string | null;
  partition?: number;
  headers?: Readonly<Record<string, MessageHeader>>;
  timestamp?: string;
}

/** What kafkajs' `send` is given; the settings of the producer decide `acks`, `timeout` and `compression`. */
export interface ProducerRecord {
  topic: string;
  messages: Message[];
  acks?: number;
  timeout?: number;
  compression?: number;
}

/** Where the first record of a partition was put. */
export interface RecordMetadata {
  topicName: string;
  partition: number;
  errorCode: number;
  baseOffset?: string;
  logAppendTime?: string;
  logStartOffset?: string;
}

/** `producer.producer`: the methods of kafkajs' producer that services call. */
export interface LowLevelProducer {
  readonly events: Readonly<
    Record<'CONNECT' | 'DISCONNECT' | 'REQUEST' | 'REQUEST_TIMEOUT' | 'REQUEST_QUEUE_SIZE', string>
  >;
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  send(record: ProducerRecord): Promise<RecordMetadata[]>;
  sendBatch(batch: { topicMessages?: ProducerRecord[] }): Promise<RecordMetadata[]>;
  /** Listens to `CONNECT` and `DISCONNECT`; gives what removes the listener. */
  on(name: string, listener: (event: { type: string; timestamp: number; payload: object }) => void): () => void;
  isIdempotent(): boolean;
  /** Rejects: there are no transactions. */
  transaction(): Promise<never>;
  /** Rejects: there are no transactions. */
  sendOffsets(): Promise<never>;
}

/** `producer.kafka`: gives low-level producers on the same connection. */
export interface KafkaClient {
  producer(options?: object): LowLevelProducer;
  /** Throws: install kafkajs for its admin client. */
  admin(): never;
  /** Throws: there is `EventConsumer`. */
  consumer(): never;
}

/**
 * The producer of old: its methods, defaults and tolerances. It writes Avro where there is a
 * schema registry (`schemaRegistryUrl` or `KAFKA_SCHEMA_REGISTRY_URL`) and JSON where there is none.
 */
export class EventProducer extends TypedProducer {
  constructor(options?: EventProducerOptions);

  /** The `source` of all events from now on. */
  sourceService: string;
  readonly clientId: string;
  /** Records that the brokers acknowledged. */
  deliveryCount: number;
  /** Records that ended in an error. */
  errorCount: number;
  /** From `connect`, or the first acknowledgement, to `disconnect`. */
  connected: boolean;
  kafka: KafkaClient;
  /** Every event goes through another one that is put here, or through its `send` where that is replaced. */
  producer: LowLevelProducer;

  /** Rejects where no broker answers in 18 seconds. */
  connect(options?: { timeoutMs?: number | undefined }): Promise<void>;
  /**
   * Delivers what was sent, for up to 9 seconds; the next record connects again. What is not
   * delivered by then goes on, and its own promise tells.
   */
  disconnect(): Promise<void>;
  produceDataIngestionEvent(parameters: DataIngestionParameters): Promise<DeliveryReport>;
  produceServiceHealthEvent(parameters: ServiceHealthParameters): Promise<DeliveryReport>;
  produceAPICallEvent(parameters: APICallParameters): Promise<DeliveryReport>;
  produceDataQualityEvent(parameters: DataQualityParameters): Promise<DeliveryReport>;
  /** Any JSON on any topic. */
  produceCustomEvent(
    topic: string,
    key: string | readonly string[] | Uint8Array | number | null | undefined,
    event: unknown,
  ): Promise<DeliveryReport>;
  getStats(): { delivered: number; errors: number };
  /** What all events have, and then these fields. May be overridden: every typed event is made by it. */
  _createBaseEvent(eventType: string, additionalFields?: Readonly<Record<string, unknown>>): BaseEvent;
  /** Produces an event. May be overridden: every event goes through it. */
  _produce(topic: string, key: unknown, event: unknown): Promise<unknown>;
}

/** A producer of this service. */
export function getEventProducer(
  serviceName: string,
  options?: EventProducerOptions,
): EventProducer;
