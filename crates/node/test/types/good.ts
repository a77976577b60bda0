// Must pass `tsc --strict`.

import {
  EventConsumer,
  EventProducer,
  EventType,
  InvalidEventError,
  Topic,
  TypedProducer,
  getEventProducer,
  type AnyEvent,
  type AuditAPICallEvent,
  type ServiceHealthEventInit,
} from '@254carbon/event-producer';
import * as file from '@254carbon/event-producer/event-producer.js';
import type { Express, Request, Response } from 'express';
import { TestPlatform } from '@254carbon/event-producer/testing';

export async function produce(): Promise<number> {
  await using producer = new TypedProducer({ sourceService: 'billing', compression: 'zstd' });
  const event: ServiceHealthEventInit = {
    serviceName: 'billing',
    namespace: 'data-platform',
    healthStatus: 'HEALTHY',
    latencyMs: 12n,
    errorRate: 0.002,
    timestamp: new Date(),
  };
  const report = await producer.send('ServiceHealthEvent', event, {
    headers: { traceparent: '00-…' },
    signal: AbortSignal.timeout(1_000),
  });
  producer.on('error', (error) => console.error(error.kind, error.topic));
  producer.enqueue('ServiceHealthEvent', event);
  const { delivered } = await producer.sendMany('ServiceHealthEvent', [event]);
  producer.writable('ServiceHealthEvent').end(event);
  await producer.sendRaw('any', { key: 'k', value: new Uint8Array(3) });
  return report.offset + delivered;
}

export async function consume(): Promise<void> {
  const consumer = new EventConsumer({ topics: ['system-health', 'data-quality'], groupId: 'g' });
  for await (const record of consumer) {
    if (record.error !== null) {
      const value: Buffer | null = record.value;
      console.error(record.error.message, value?.length);
    } else if (record.tombstone) {
      const nothing: null = record.event;
      console.log(record.key, nothing);
    } else if (record.topic === 'system-health') {
      const status: 'HEALTHY' | 'DEGRADED' | 'UNHEALTHY' | 'UNKNOWN' = record.event.healthStatus;
      console.log(status, record.event.latencyMs + 1);
    } else {
      console.log(record.event.score.toFixed(2));
    }
  }
  const wide = new EventConsumer({ topics: 'audit-api-calls', longs: 'bigint' });
  await wide.eachBatch((records) => {
    for (const { event } of records) if (event) console.log(event.latencyMs + 1n);
  });
  const all = new EventConsumer({ topics: Object.values(Topic).filter((topic) => topic !== 'market-data') });
  for await (const { event } of all) if (event) console.log(describe(event));
}

export function describe(event: AnyEvent): string {
  switch (event.eventType) {
    case 'AuditAPICallEvent':
      return event.endpoint;
    case 'DataLineageEvent':
      return event.columns.map((column) => column.sourceColumn).join();
    default:
      return event.source;
  }
}

export async function moved(): Promise<void> {
  const same: typeof EventProducer = file.EventProducer;
  console.log(same);
  const producer: EventProducer = getEventProducer('orders', { tls: { ca: ['pem'], cert: Buffer.from('') } });
  await producer.produceAPICallEvent({
    service: 'orders',
    statusCode: '200',
    requestSize: undefined,
    userId: 7,
  });
  await producer.produceCustomEvent('market-data', null, { any: 'thing' });
  const { delivered, errors }: { delivered: number; errors: number } = producer.getStats();
  console.log(delivered, errors);
  await producer.disconnect();
}

/** A service's subclass of the drop-in. */
export class Correlating extends EventProducer {
  override _createBaseEvent(eventType: string, fields = {}) {
    return { ...super._createBaseEvent(eventType, fields), correlationId: 'c-1' };
  }
  override async _produce(topic: string, key: unknown, event: unknown): Promise<void> {
    await super._produce(topic, key, event);
  }
}

export function express(app: Express): void {
  const producer = new EventProducer({ sourceService: 'api', tls: null });
  app.get('/api/data', async (request: Request, response: Response) => {
    const start = Date.now();
    await producer.produceAPICallEvent({
      service: 'api',
      endpoint: request.path,
      method: request.method,
      statusCode: response.statusCode,
      latencyMs: Date.now() - start,
      requestSize: request.headers['content-length'] || 0,
      responseSize: response.get('content-length'),
      userId: request.headers['x-user-id'],
      apiKey: request.headers['x-api-key'],
      ipAddress: request.ip,
      errorMessage: request.query['error']?.toString(),
    });
    await producer.produceCustomEvent('clicks', request.headers['x-user-id'], request.body);
    producer.deliveryCount = 0;
    producer.errorCount++;
    producer.connected = false;
    const event = producer._createBaseEvent(EventType.USER_ACTION, { userId: 'u' });
    await producer._produce(Topic.AUDIT_ADMIN_OPS, event.eventId, event);
    await producer.producer.send({ topic: 'clicks', messages: [{ key: 'k', value: JSON.stringify(event) }] });
    await producer.producer.sendBatch({ topicMessages: [{ topic: 'clicks', messages: [{ value: null }] }] });
    const off: () => void = producer.producer.on(producer.producer.events.CONNECT, () => {});
    off();
    await producer.kafka.producer().connect();
  });
}

export async function testing(): Promise<AuditAPICallEvent | null> {
  const platform = await TestPlatform.start();
  platform.failNext('Produce', 2, 'NotLeader');
  const [record] = await platform.records('audit-api-calls');
  try {
    await platform.stop();
  } catch (error) {
    if (error instanceof InvalidEventError) console.log(error.field, error.kind satisfies 'InvalidEvent');
  }
  return record?.event ?? null;
}
