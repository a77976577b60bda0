// Each line under an `expect` must be an error, and no other line may be.

import { EventConsumer, EventProducer, TypedProducer } from '@254carbon/event-producer';

const producer = new TypedProducer();
const event = {
  serviceName: 's',
  namespace: 'n',
  healthStatus: 'HEALTHY' as const,
  latencyMs: 1,
  errorRate: 0,
};

// @ts-expect-error: no such event
producer.send('ServiceHelthEvent', event);
// @ts-expect-error: a field is missing
producer.send('ServiceHealthEvent', { serviceName: 's' });
// @ts-expect-error: no such field
producer.send('ServiceHealthEvent', { ...event, latency: 1 });
// @ts-expect-error: no such symbol
producer.send('ServiceHealthEvent', { ...event, healthStatus: 'FINE' });
// @ts-expect-error: a string for a number
producer.send('ServiceHealthEvent', { ...event, latencyMs: '1' });
// @ts-expect-error: null for a required field
producer.send('ServiceHealthEvent', { ...event, namespace: null });
// @ts-expect-error: another event's name in the envelope
producer.send('ServiceHealthEvent', { ...event, eventType: 'DataQualityEvent' });
// @ts-expect-error: a map of numbers
producer.send('DataIngestionEvent', { metadata: { a: 1 } });
// @ts-expect-error: a bigint for an int
producer.send('DeploymentEvent', { replicas: 3n });
// @ts-expect-error: no such option
new TypedProducer({ bootstrapServer: 'a:1' });
// @ts-expect-error: no such choice
new TypedProducer({ compression: 'lz5' });
// @ts-expect-error: a header of a number
producer.send('ServiceHealthEvent', event, { headers: { a: 1 } });
// @ts-expect-error: topics are required
new EventConsumer({ groupId: 'g' });
// @ts-expect-error: no such topic
new EventConsumer({ topics: ['system-healt'] });
// @ts-expect-error: longs are numbers or bigints
new EventConsumer({ topics: 'system-health', longs: 'string' });
// @ts-expect-error: no such method
new EventProducer().produceHealthEvent({});
// @ts-expect-error: the dataset is required
new EventProducer().produceDataIngestionEvent({ recordCount: 1 });

export async function consume(): Promise<void> {
  for await (const record of new EventConsumer({ topics: ['system-health', 'data-quality'] })) {
    // @ts-expect-error: the event may be null
    record.event.eventId;
    if (record.error !== null) continue;
    // @ts-expect-error: not in both events
    record.event.score;
    // @ts-expect-error: another topic's event
    if (record.topic === 'system-health') record.event.score;
    // @ts-expect-error: never read
    if (record.topic === 'audit-api-calls') console.log(record);
  }
}
