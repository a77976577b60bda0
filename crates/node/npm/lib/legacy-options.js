'use strict';

// Converts the options of the drop-in `EventProducer`, and its environment, to settings.

const DELIVERY_TIMEOUT_MS = 45_000;

/** librdkafka's two names of one setting. */
const DELIVERY_TIMEOUTS = ['delivery.timeout.ms', 'message.timeout.ms'];

/** The files of mutual TLS. Unless all are set, TLS is off. */
const FILES = [
  'KAFKA_SSL_CA_LOCATION',
  'KAFKA_SSL_CERTIFICATE_LOCATION',
  'KAFKA_SSL_KEY_LOCATION',
];

/** Options with certificates. */
const CERTIFICATES = [
  'sslCaLocation',
  'sslCaPem',
  'sslCertificateLocation',
  'sslCertificatePem',
  'sslKeyLocation',
  'sslKeyPem',
  'sslKeystoreLocation',
];

function legacyOptions(options) {
  const settings = { ...options };
  const { sourceService = process.env.SERVICE_NAME || 'unknown-service' } = options;
  const { clientId = `${sourceService}-producer` } = options;
  // Events keep a `sourceService` that is not a name; the core needs a valid one.
  const service = typeof sourceService === 'string' && sourceService !== '' ? sourceService : undefined;
  settings.sourceService = service;
  settings.clientId = String(clientId);
  const { bootstrapServers } = options;
  if (typeof bootstrapServers === 'string') {
    const brokers = bootstrapServers.split(',').map((broker) => broker.trim());
    settings.bootstrapServers = brokers.filter(Boolean).join(',') || undefined;
  }
  const { properties } = options;
  if (!DELIVERY_TIMEOUTS.some((name) => properties?.[name] !== undefined)) {
    settings.deliveryTimeoutMs ??= DELIVERY_TIMEOUT_MS;
  }
  settings.securityProtocol ??= protocol(options);
  return { settings, service, sourceService, clientId };
}

/** The security protocol, or undefined to use the environment's. */
function protocol(options) {
  const { tls } = options;
  const named = process.env.KAFKA_SECURITY_PROTOCOL;
  const protocol = (named || 'SSL').toUpperCase();
  if (protocol.startsWith('SASL_')) return tls ? 'SASL_SSL' : undefined;
  if (tls) return 'SSL';
  if (tls === undefined) {
    if (protocol !== 'SSL') return undefined;
    if (hasCertificates(options)) return 'SSL';
    if (named) {
      warn('TLS without client certificates: broker certificates are checked by the system\'s authorities.');
      return 'SSL';
    }
  }
  if (protocol === 'SSL') {
    warn(
      `no TLS: ${tls === undefined ? `${FILES.join(', ')} are not all set` : `tls is ${tls}`}. ` +
        'Set KAFKA_SECURITY_PROTOCOL=PLAINTEXT to silence this warning.',
    );
  }
  return 'PLAINTEXT';
}

function hasCertificates(options) {
  const set = (name) => Boolean(process.env[name]);
  const given = CERTIFICATES.some((name) => options[name] !== undefined && options[name] !== null);
  return given || FILES.every(set) || set('KAFKA_SSL_KEYSTORE_LOCATION');
}

function warn(what) {
  console.warn(`[EventProducer] ${what}`);
}

module.exports = { legacyOptions };
