'use strict';

// Members of the producers that only this package uses. They are symbols, so that a subclass in a
// service can use every name.

module.exports = {
  connectNow: Symbol('connectNow'),
  count: Symbol('count'),
  disconnectNow: Symbol('disconnectNow'),
  end: Symbol('end'),
  flushBlocking: Symbol('flushBlocking'),
  isUsed: Symbol('isUsed'),
  onFailure: Symbol('onFailure'),
  onRejected: Symbol('onRejected'),
  onCapacity: Symbol('onCapacity'),
  onCompleted: Symbol('onCompleted'),
  packFlat: Symbol('packFlat'),
  packJson: Symbol('packJson'),
  packProtected: Symbol('packProtected'),
  packLenient: Symbol('packLenient'),
  packMessage: Symbol('packMessage'),
  packPlain: Symbol('packPlain'),
  packRaw: Symbol('packRaw'),
  sendLowLevel: Symbol('sendLowLevel'),
  topicOf: Symbol('topicOf'),
  topicPrefix: Symbol('topicPrefix'),
  wait: Symbol('wait'),
  writesJson: Symbol('writesJson'),
};
