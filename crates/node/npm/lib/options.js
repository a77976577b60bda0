'use strict';

// Options as services give them to settings as the addon takes them: JSON.

const native = require('./native.js');

let variables;

/** JavaScript's own view of the environment: in a worker and in Jest it is a copy. */
function environment() {
  variables ??= native.environmentVariables();
  const found = {};
  for (const name of variables) {
    const value = process.env[name];
    if (value !== undefined) found[name] = String(value);
  }
  return found;
}

function text(value) {
  return Buffer.isBuffer(value) ? value.toString('utf8') : value;
}

/** A certificate or several, as one PEM text. */
function pem(value) {
  return Array.isArray(value) ? value.map(text).join('\n') : text(value);
}

function defined(value) {
  return value !== undefined && value !== null;
}

/** `tls` as Node's own `tls.connect` has it. */
function tlsSettings(tls, settings) {
  settings.securityProtocol ??= 'SSL';
  if (defined(tls.ca)) settings.sslCaPem ??= pem(tls.ca);
  if (defined(tls.cert)) settings.sslCertificatePem ??= pem(tls.cert);
  if (defined(tls.key)) settings.sslKeyPem ??= pem(tls.key);
  if (defined(tls.passphrase)) settings.sslKeyPassword ??= String(tls.passphrase);
  if (defined(tls.rejectUnauthorized)) settings.rejectUnauthorized ??= Boolean(tls.rejectUnauthorized);
}

/** JSON of the environment and the settings. What is undefined or null is left to the environment and the defaults. */
function toJson(options) {
  const settings = {};
  for (const name of Object.keys(options)) {
    if (defined(options[name])) settings[name] = options[name];
  }
  const { tls, bootstrapServers, sourceService, schemaRegistryUrl, properties } = settings;
  delete settings.tls;
  delete settings.sourceService;
  delete settings.schemaRegistryUrl;
  if (Array.isArray(bootstrapServers)) settings.bootstrapServers = bootstrapServers.join(',');
  if (defined(sourceService)) settings.serviceName ??= String(sourceService);
  if (tls === false) settings.securityProtocol ??= 'PLAINTEXT';
  else if (defined(tls)) tlsSettings(tls === true ? {} : tls, settings);
  if (defined(schemaRegistryUrl)) {
    const urls = [schemaRegistryUrl].flat();
    settings.registry = { urls, ...settings.registry };
  }
  if (defined(properties)) {
    const entries = Object.entries(properties).map(([name, value]) => [name, String(value)]);
    settings.properties = Object.fromEntries(entries);
  }
  return JSON.stringify({ environment: environment(), settings });
}

module.exports = { toJson };
