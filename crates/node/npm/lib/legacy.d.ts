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

/** A number, or the text of one, or nothing: what services have at hand. */
export type Countable = number | bigint | string | null | undefined;

export interface EventProducerOptions extends ProducerOptions {}

export interface DataIngestionParameters {
  datasetName: string;
  recordCount?: Countable;
  sizeBytes?: Countable;
  location?: string | undefined;
  /** `SUCCESS`, `FAILURE` or `PARTIAL`. */
  status?: string | undefined;
  format?: string | undefined;
  metadata?: Readonly<Record<string, unknown>> | null | undefined;
}

export interface ServiceHealthParameters {
  serviceName: string;
  namespace?: string | undefined;
  /** `HEALTHY`, `DEGRADED`, `UNHEALTHY` or `UNKNOWN`. */
  healthStatus: string;
  latencyMs?: Countable;
  /** From 0.0 to 1.0. */
  errorRate?: Countable;
  message?: string | null | undefined;
}

export interface APICallParameters {
  service: string;
  endpoint?: string | undefined;
  method?: string | undefined;
  statusCode?: Countable;
  latencyMs?: Countable;
  /** In bytes. */
  requestSize?: Countable;
  /** In bytes. */
  responseSize?: Countable;
  userId?: string | number | null | undefined;
  /** Hashed before it leaves the process. */
  apiKey?: string | null | undefined;
  ipAddress?: string | undefined;
  errorMessage?: string | null | undefined;
}

export interface DataQualityParameters {
  datasetName: string;
  checkType?: string | undefined;
  checkName?: string | undefined;
  /** `PASS`, `FAIL` or `WARNING`. */
  result: string;
  /** From 0.0 to 1.0. */
  score?: Countable;
  failedRecords?: Countable;
  totalRecords?: Countable;
  message?: string | null | undefined;
}

/**
 * The producer of old: its methods, defaults and tolerances. It writes Avro where there is a
 * schema registry (`schemaRegistryUrl` or `KAFKA_SCHEMA_REGISTRY_URL`) and JSON where there is none.
 */
export class EventProducer extends TypedProducer {
  constructor(options?: EventProducerOptions);

  readonly sourceService: string;
  readonly clientId: string;
  /** Records that the brokers acknowledged. */
  readonly deliveryCount: number;
  /** Records that ended in an error. */
  readonly errorCount: number;

  /** Delivers what was sent, and disconnects; the next record connects anew. */
  disconnect(): Promise<void>;
  produceDataIngestionEvent(parameters: DataIngestionParameters): Promise<DeliveryReport>;
  produceServiceHealthEvent(parameters: ServiceHealthParameters): Promise<DeliveryReport>;
  produceAPICallEvent(parameters: APICallParameters): Promise<DeliveryReport>;
  produceDataQualityEvent(parameters: DataQualityParameters): Promise<DeliveryReport>;
  /** Any JSON on any topic. */
  produceCustomEvent(
    topic: string,
    key: string | Uint8Array | number | null | undefined,
    event: unknown,
  ): Promise<DeliveryReport>;
  getStats(): { delivered: number; errors: number };
}

/** A producer of this service. */
export function getEventProducer(
  serviceName: string,
  options?: EventProducerOptions,
): EventProducer;
