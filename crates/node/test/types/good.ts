// Must pass `tsc --strict`.

import {
  EventConsumer,
  EventProducer,
  InvalidEventError,
  Topic,
  TypedProducer,
  getEventProducer,
  type AnyEvent,
  type AuditAPICallEvent,
  type ServiceHealthEventInit,
} from '@254carbon/event-producer';
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
