'use strict';

// One pass through the installed package, with nothing else: what a platform for which the addon was
// built on another machine must be able to do. Events of both APIs go through the broker and the
// registry that come with the package.

const assert = require('node:assert/strict');
const { TypedProducer } = require('@254carbon/event-producer');
const { TestPlatform } = require('@254carbon/event-producer/testing');

const health = {
  serviceName: 'billing',
  namespace: 'data-platform',
  healthStatus: 'HEALTHY',
  latencyMs: 12,
  errorRate: 0.002,
};

async function main() {
  const platform = await TestPlatform.start();
  try {
    const producer = platform.producer({ sourceService: 'billing', compression: 'zstd' });
    const sent = Array.from({ length: 100 }, (_, n) =>
      producer.send('ServiceHealthEvent', { ...health, latencyMs: n }),
    );
    for (const { offset } of await Promise.all(sent)) assert.ok(offset >= 0);
    const read = (await platform.records('system-health')).map(({ event }) => event);
    const latencies = read.map(({ latencyMs }) => latencyMs).sort((a, b) => a - b);
    assert.deepEqual(latencies, Array.from({ length: 100 }, (_, n) => n));
    assert.ok(read.every(({ source, errorRate }) => source === 'billing' && errorRate === 0.002));

    const old = platform.eventProducer({ sourceService: 'old' });
    await old.produceDataIngestionEvent({
      datasetName: 'prices',
      recordCount: 3,
      sizeBytes: 4096,
      location: 's3://bucket/prices',
    });
    const [{ event }] = await platform.records('data-ingestion');
    assert.deepEqual([event.source, event.recordCount], ['old', 3]);

    // An error crosses the binding.
    await assert.rejects(
      async () => producer.send('ServiceHealthEvent', { ...health, errorRate: 85 }),
      /errorRate/,
    );
    // The library contains OpenSSL, which rejects this file.
    const withoutCertificate = async () => {
      const tls = new TypedProducer({
        bootstrapServers: platform.bootstrapServers,
        securityProtocol: 'SSL',
        sslCaLocation: __filename,
      });
      await tls.send('ServiceHealthEvent', health);
    };
    await assert.rejects(withoutCertificate, /certificates in ssl_ca_location/);
  } finally {
    await platform.stop();
  }
  const runtime = process.versions.bun ? `Bun ${process.versions.bun}` : `Node ${process.version}`;
  console.log(`passed: round trips on ${runtime}, ${process.platform} ${process.arch}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
