// Real services that fail: acknowledged records are in the log, the others are reported.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventConsumer, TypedProducer } from '@254carbon/event-producer';
import { Services } from './services.mjs';
import { sleep } from './support.mjs';

const event = (latencyMs) => ({
  serviceName: `s${latencyMs % 5}`,
  namespace: 'shop',
  healthStatus: 'HEALTHY',
  latencyMs,
  errorRate: 0,
});

test('a broker is killed and restarted under load: every acknowledged record is where it was said', async (t) => {
  const services = await Services.start();
  t.after(() => services.stop());
  await services.order('create-topic system-health 3');
  const { plain, registry } = services.addresses;
  const options = {
    bootstrapServers: plain,
    securityProtocol: 'PLAINTEXT',
    schemaRegistryUrl: registry,
  };
  const producer = new TypedProducer(options);
  const places = new Map();
  const failures = [];
  let next = 0;
  let going = true;
  const load = (async () => {
    while (going) {
      const burst = Array.from({ length: 200 }, () => {
        const number = next++;
        return producer.send('ServiceHealthEvent', event(number)).then(
          ({ partition, offset }) => places.set(`${partition}/${offset}`, number),
          (error) => failures.push(error),
        );
      });
      await Promise.race([Promise.all(burst), sleep(20)]);
    }
  })();
  await sleep(1_000);
  await services.order('kill 1');
  await sleep(1_500);
  await services.order('restart 1');
  await services.order('registry kill');
  await sleep(1_500);
  going = false;
  await load;
  await producer.close({ timeoutMs: 60_000 });
  assert.equal(failures.length, 0, String(failures[0]));
  assert.equal(places.size, next);
  await services.order('registry restart');
  const consumer = new EventConsumer({ ...options, topics: 'system-health', standalone: true, detectEnd: true });
  let seen = 0;
  await consumer.eachBatch((records) => {
    for (const { partition, offset, event: found } of records) {
      assert.equal(found.latencyMs, places.get(`${partition}/${offset}`));
      seen++;
    }
  });
  await consumer.close();
  t.diagnostic(`${seen} records`);
  assert.equal(seen, next);
});
