// Written by crates/node/test/settings.mjs from the settings of the core. Do not edit.

import type { TlsOptions } from './legacy.js';

/** How to reach the brokers and the registry, and who we are to them. */
export interface ConnectionSettings {
  /**
   * Comma-separated `host:port` addresses of some of the cluster's brokers.
   *
   * Environment: `KAFKA_BOOTSTRAP_SERVERS`. Default: `kafka-service.data-platform.svc.cluster.local:9093`.
   */
  bootstrapServers?: string | readonly string[] | undefined;
  /**
   * How the connection is protected.
   *
   * Environment: `KAFKA_SECURITY_PROTOCOL`. Default: `SSL`.
   */
  securityProtocol?: 'PLAINTEXT' | 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL' | undefined;
  /**
   * A PEM file (or a directory) of the authorities that sign the brokers' certificates.
   * Without one, those of the system. A file that is replaced holds for new connections.
   *
   * Environment: `KAFKA_SSL_CA_LOCATION`.
   */
  sslCaLocation?: string | undefined;
  /**
   * The authorities' certificates as PEM text.
   */
  sslCaPem?: string | undefined;
  /**
   * A PEM file with our certificate, for clusters that ask for one. One that is replaced,
   * with its key, holds for new connections.
   *
   * Environment: `KAFKA_SSL_CERTIFICATE_LOCATION`.
   */
  sslCertificateLocation?: string | undefined;
  /**
   * Our certificate as PEM text.
   */
  sslCertificatePem?: string | undefined;
  /**
   * A PEM file with the private key of our certificate.
   *
   * Environment: `KAFKA_SSL_KEY_LOCATION`.
   */
  sslKeyLocation?: string | undefined;
  /**
   * The private key as PEM text.
   */
  sslKeyPem?: string | undefined;
  /**
   * The password of the private key.
   *
   * Environment: `KAFKA_SSL_KEY_PASSWORD`.
   */
  sslKeyPassword?: string | undefined;
  /**
   * A PKCS#12 file with our certificate and its key, instead of the two PEM files. One that is
   * replaced holds for new connections.
   *
   * Environment: `KAFKA_SSL_KEYSTORE_LOCATION`.
   */
  sslKeystoreLocation?: string | undefined;
  /**
   * The password of the PKCS#12 file.
   *
   * Environment: `KAFKA_SSL_KEYSTORE_PASSWORD`.
   */
  sslKeystorePassword?: string | undefined;
  /**
   * Whether a broker whose certificate does not check out is refused. `false` is for
   * development only: anyone can then stand in for the broker.
   *
   * Environment: `KAFKA_SSL_REJECT_UNAUTHORIZED`. Default: `true`.
   */
  rejectUnauthorized?: boolean | undefined;
  /**
   * How we log in under `SASL_SSL` and `SASL_PLAINTEXT`.
   */
  saslMechanism?: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512' | 'OAUTHBEARER' | undefined;
  /**
   * The name for `PLAIN` and `SCRAM`.
   */
  saslUsername?: string | undefined;
  /**
   * The password for `PLAIN` and `SCRAM`.
   */
  saslPassword?: string | undefined;
  /**
   * The name the brokers log for this client; `<service_name>-producer` (or `-consumer`,
   * `-admin`) unless given.
   */
  clientId?: string | undefined;
  /**
   * The service that runs this client: the `source` of its events.
   *
   * Environment: `SERVICE_NAME`. Default: `unknown-service`.
   */
  serviceName?: string | undefined;
  /**
   * The namespace that the service runs in.
   *
   * Environment: `SERVICE_NAMESPACE`.
   */
  serviceNamespace?: string | undefined;
  /**
   * What stands before the names of the twelve topics on this cluster, for one that several
   * environments share. Typed events, consumers and the topic table go by it; raw records
   * and topics of other names are named in full.
   */
  topicPrefix?: string | undefined;
  /**
   * librdkafka properties by name. They win over every other setting; a name that librdkafka
   * does not know is refused with the nearest one that it does.
   */
  properties?: Readonly<Record<string, string | number | boolean>> | undefined;
}

/** The schema registry. */
export interface RegistrySettings {
  /**
   * The registry's addresses, tried in turn. `user:password@` before the host is used to log
   * in where `username` is not set. Without an address there is no registry.
   *
   * Environment: `KAFKA_SCHEMA_REGISTRY_URL`.
   */
  urls?: string | readonly string[] | undefined;
  /**
   * The name for basic authentication.
   */
  username?: string | undefined;
  /**
   * The password for basic authentication.
   */
  password?: string | undefined;
  /**
   * A token for bearer authentication; wins over name and password.
   */
  bearerToken?: string | undefined;
  /**
   * A PEM file of the authorities that sign the registry's certificate, besides the system's.
   */
  sslCaLocation?: string | undefined;
  /**
   * The authorities' certificates as PEM text.
   */
  sslCaPem?: string | undefined;
  /**
   * A PEM file with our certificate, for a registry that asks for one.
   */
  sslCertificateLocation?: string | undefined;
  /**
   * Our certificate as PEM text.
   */
  sslCertificatePem?: string | undefined;
  /**
   * A PEM file with the private key of our certificate (PKCS#8).
   */
  sslKeyLocation?: string | undefined;
  /**
   * The private key as PEM text (PKCS#8).
   */
  sslKeyPem?: string | undefined;
  /**
   * Whether a registry whose certificate does not check out is refused.
   *
   * Default: `true`.
   */
  rejectUnauthorized?: boolean | undefined;
  /**
   * How long one HTTP call may take, connecting included.
   *
   * Default: `5000`.
   */
  timeoutMs?: number | undefined;
  /**
   * How often a call is tried again, after every address failed, where the registry cannot be
   * reached or answers 429, 5xx or what is no registry's answer. Other answers are final.
   *
   * Default: `3`.
   */
  retries?: number | undefined;
  /**
   * The wait before the first retry; it doubles up to 20 times itself, and up to half of it is
   * random.
   *
   * Default: `100`.
   */
  backoffMs?: number | undefined;
  /**
   * How long an answer "there is no such schema", or a failure, is remembered before the
   * registry is asked again.
   *
   * Default: `5000`.
   */
  failureTtlMs?: number | undefined;
  /**
   * Whether a schema that the registry does not have is registered. `false` only looks up.
   *
   * Default: `true`.
   */
  autoRegister?: boolean | undefined;
  /**
   * Whether the registry is asked for compatibility before a schema is registered, for a
   * message that says what differs.
   *
   * Default: `false`.
   */
  checkCompatibility?: boolean | undefined;
  /**
   * Schema ids by topic that hold without asking the registry, so that a service starts while
   * it is out of reach.
   *
   * Environment: `KAFKA_SCHEMA_IDS`.
   */
  schemaIds?: Readonly<Record<string, number>> | undefined;
}

/** How records are gathered, bounded, written and given up. */
export interface ProducerSettings {
  /**
   * How typed events are written; Avro unless given.
   */
  format?: 'avro' | 'json' | undefined;
  /**
   * The format of the environment, which stands above `format` and every other choice.
   *
   * Environment: `KAFKA_EVENT_FORMAT`.
   */
  formatOverride?: 'avro' | 'json' | undefined;
  /**
   * How long a record may take from being accepted to its acknowledgement, its time in the
   * queue and retries included, before it fails with `Timeout`, at most a second later.
   *
   * Default: `120000`.
   */
  deliveryTimeoutMs?: number | undefined;
  /**
   * How long a send waits for room in a full queue before it fails with `QueueFull`.
   *
   * Default: `60000`.
   */
  blockTimeoutMs?: number | undefined;
  /**
   * How long closing waits for records in flight before it gives up and counts the rest.
   *
   * Default: `30000`.
   */
  closeTimeoutMs?: number | undefined;
  /**
   * How many records may wait for their acknowledgement; 0 is no bound of their number.
   *
   * Default: `500000`.
   */
  queueMaxRecords?: number | undefined;
  /**
   * How many bytes of records may wait for their acknowledgement.
   *
   * Default: `134217728`.
   */
  queueMaxBytes?: number | undefined;
  /**
   * How batches are compressed.
   *
   * Default: `lz4`.
   */
  compression?: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd' | undefined;
  /**
   * Which brokers must have a record before it counts as delivered. Less than `all` gives up
   * idempotence.
   *
   * Default: `all`.
   */
  acks?: 'all' | '1' | '0' | undefined;
  /**
   * Whether a retry never writes a record twice nor out of order.
   *
   * Default: `true`.
   */
  idempotence?: boolean | undefined;
  /**
   * The largest batch of one partition, in bytes before compression. Batches of a topic with a
   * lower `max.message.bytes` are no larger than that.
   *
   * Default: `1000000`.
   */
  batchMaxBytes?: number | undefined;
  /**
   * The most records in one batch of one partition.
   *
   * Default: `10000`.
   */
  batchMaxRecords?: number | undefined;
  /**
   * How long a batch gathers while others are on their way. A lone record never waits.
   *
   * Default: `5`.
   */
  lingerMs?: number | undefined;
}

/** What is read, by which group, from where and with how much memory. */
export interface ConsumerSettings {
  /**
   * The consumer group; the service's name unless given.
   */
  groupId?: string | undefined;
  /**
   * The topics to read.
   */
  topics?: readonly string[] | undefined;
  /**
   * Where reading starts in a partition for which the group has no committed offset.
   *
   * Default: `earliest`.
   */
  start?: string | undefined;
  /**
   * Whether reading starts at `start` even where the group has committed offsets: once a
   * partition for each consumer that is made.
   *
   * Default: `false`.
   */
  ignoreCommitted?: boolean | undefined;
  /**
   * Whether every partition of the topics is read without joining a group. Nothing is
   * committed then.
   *
   * Default: `false`.
   */
  standalone?: boolean | undefined;
  /**
   * Whether to notice that everything has been read that there is.
   *
   * Default: `false`.
   */
  detectEnd?: boolean | undefined;
  /**
   * Whether the offsets of handled records are committed from time to time. `false` leaves
   * every commit to the caller.
   *
   * Default: `true`.
   */
  autoCommit?: boolean | undefined;
  /**
   * How often handled offsets are committed.
   *
   * Default: `5000`.
   */
  commitIntervalMs?: number | undefined;
  /**
   * Who shares out the partitions.
   *
   * Default: `classic`.
   */
  groupProtocol?: 'classic' | 'consumer' | undefined;
  /**
   * How long the group hears nothing of a member before its partitions go to others. With
   * `group_protocol` `consumer` the broker says how long.
   *
   * Default: `45000`.
   */
  sessionTimeoutMs?: number | undefined;
  /**
   * Which records of transactional producers are seen.
   *
   * Default: `read_committed`.
   */
  isolationLevel?: 'read_committed' | 'read_uncommitted' | undefined;
  /**
   * How many bytes of records may wait to be handled before fetching pauses. What was asked for
   * by then still comes: a quarter of this, or a megabyte, as it is compressed. Text may take a
   * hundred times that once it is not; `partition_fetch_max_bytes` bounds it more tightly.
   *
   * Default: `67108864`.
   */
  maxBufferedBytes?: number | undefined;
  /**
   * How many bytes, as they are compressed, one answer of a broker holds of a partition. A larger
   * batch of records still comes, alone. Lower it where writers are not trusted: an answer
   * is decompressed whole, each of its batches to at most librdkafka's
   * `receive.message.max.bytes` (100 MB). With 1 an answer is one batch.
   *
   * Default: `1048576`.
   */
  partitionFetchMaxBytes?: number | undefined;
  /**
   * The most records that one batch holds.
   *
   * Default: `4096`.
   */
  maxBatchRecords?: number | undefined;
  /**
   * The fewest bytes a broker gathers before it answers a fetch.
   *
   * Default: `1`.
   */
  fetchMinBytes?: number | undefined;
  /**
   * How long a broker waits for `fetch_min_bytes`.
   *
   * Default: `500`.
   */
  fetchMaxWaitMs?: number | undefined;
  /**
   * How long fetching waits once the buffer is full. librdkafka's own default of a second
   * starves a consumer that does any work with its records.
   *
   * Default: `10`.
   */
  fetchQueueBackoffMs?: number | undefined;
  /**
   * How long no broker may answer, or the schema registry not give the schemas of fetched records,
   * before reading fails. Both are tried again all the while, and the records stay: the next read
   * gives them. What only a person can mend, such as a refused login, fails sooner.
   *
   * Default: `60000`.
   */
  unreachableAfterMs?: number | undefined;
  /**
   * How long a rebalance waits for the batches in hand of partitions that are to be given up,
   * so that their next owner does not read those records again.
   *
   * Default: `5000`.
   */
  revokeTimeoutMs?: number | undefined;
  /**
   * How long closing may take to commit what was handled and to leave the group.
   *
   * Default: `10000`.
   */
  closeTimeoutMs?: number | undefined;
}

/** What producers and consumers have in common. */
export interface ClientOptions extends ConnectionSettings {
  /** The registry's URL, or several. */
  schemaRegistryUrl?: string | readonly string[] | undefined;
  /** Everything else about the registry. */
  registry?: RegistrySettings | undefined;
  /** PEM texts, as Node's own `tls.connect` takes them; `false` is no TLS. */
  tls?: TlsOptions | boolean | null | undefined;
}
