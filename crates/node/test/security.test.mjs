// Key stores, keys and logins, in every form in which a service configures them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventProducer, TypedProducer } from '@254carbon/event-producer';
import { closing, name, createTopics, served, withEnvironment } from './support.mjs';

const deliver = async (t, Class, options) => {
  const topic = name('guarded');
  await createTopics(topic);
  const producer = closing(t)(new Class(options));
  if (Class === EventProducer) await producer.produceCustomEvent(topic, 'k', { a: 1 });
  else await producer.sendRaw(topic, { key: 'k', value: '{"a":1}' });
};

test('a key store is taken from the environment, as options and as properties', async (t) => {
  const variables = {
    KAFKA_BOOTSTRAP_SERVERS: served.tls,
    KAFKA_SSL_CA_LOCATION: served.ca,
    KAFKA_SSL_KEYSTORE_LOCATION: served.keystore,
    KAFKA_SSL_KEYSTORE_PASSWORD: served.keyPassword,
  };
  for (const Class of [EventProducer, TypedProducer]) {
    await withEnvironment(variables, () => deliver(t, Class, {}));
    const options = {
      bootstrapServers: served.tls,
      securityProtocol: 'SSL',
      sslCaLocation: served.ca,
      sslKeystoreLocation: served.keystore,
      sslKeystorePassword: served.keyPassword,
    };
    await deliver(t, Class, options);
    const properties = {
      'ssl.ca.location': served.ca,
      'ssl.keystore.location': served.keystore,
      'ssl.keystore.password': served.keyPassword,
    };
    await deliver(t, Class, { bootstrapServers: served.tls, securityProtocol: 'SSL', properties });
  }
});

test('an encrypted key is taken as options and as properties', async (t) => {
  const options = {
    bootstrapServers: served.tls,
    securityProtocol: 'SSL',
    sslCaLocation: served.ca,
    sslCertificateLocation: served.certificate,
    sslKeyLocation: served.encryptedKey,
  };
  const properties = { 'ssl.key.password': served.keyPassword };
  for (const Class of [EventProducer, TypedProducer]) {
    await deliver(t, Class, { ...options, sslKeyPassword: served.keyPassword });
    await deliver(t, Class, { ...options, properties });
  }
});

for (const mechanism of ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512']) {
  test(`${mechanism} logs in, as options and as properties`, async (t) => {
    const broker = { bootstrapServers: served.sasl, securityProtocol: 'SASL_PLAINTEXT' };
    const properties = {
      'sasl.mechanism': mechanism,
      'sasl.username': served.user,
      'sasl.password': served.password,
    };
    const login = {
      saslMechanism: mechanism,
      saslUsername: served.user,
      saslPassword: served.password,
    };
    for (const Class of [EventProducer, TypedProducer]) {
      await deliver(t, Class, { ...broker, properties });
      await deliver(t, Class, { ...broker, ...login });
      const variables = {
        KAFKA_BOOTSTRAP_SERVERS: served.sasl,
        KAFKA_SECURITY_PROTOCOL: 'SASL_PLAINTEXT',
      };
      await withEnvironment(variables, () => deliver(t, Class, { properties }));
    }
  });
}

test('a refused login is reported within seconds, without the password', async (t) => {
  const producer = closing(t)(
    new TypedProducer({
      bootstrapServers: served.sasl,
      securityProtocol: 'SASL_PLAINTEXT',
      saslMechanism: 'PLAIN',
      saslUsername: served.user,
      saslPassword: 'not-this-one',
    }),
  );
  await assert.rejects(producer.connect({ timeoutMs: 15_000 }), (error) => {
    assert.equal(error.kind, 'Authentication');
    assert.doesNotMatch(error.message, /not-this-one/);
    return true;
  });
});
