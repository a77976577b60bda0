'use strict';

// What producers have for this package's own files, under names that no subclass of a service can
// take: the first package had few names, and a subclass may have any other.

module.exports = {
  connectNow: Symbol('connectNow'),
  count: Symbol('count'),
  disconnectNow: Symbol('disconnectNow'),
  end: Symbol('end'),
  flushBlocking: Symbol('flushBlocking'),
  isUsed: Symbol('isUsed'),
  onFailure: Symbol('onFailure'),
  onRejected: Symbol('onRejected'),
  onRoom: Symbol('onRoom'),
  onSettled: Symbol('onSettled'),
  packFlat: Symbol('packFlat'),
  packJson: Symbol('packJson'),
  packProtected: Symbol('packProtected'),
  packMended: Symbol('packMended'),
  packMessage: Symbol('packMessage'),
  packPlain: Symbol('packPlain'),
  packRaw: Symbol('packRaw'),
  sendAside: Symbol('sendAside'),
  topicOf: Symbol('topicOf'),
  topicPrefix: Symbol('topicPrefix'),
  wait: Symbol('wait'),
  writesJson: Symbol('writesJson'),
};
