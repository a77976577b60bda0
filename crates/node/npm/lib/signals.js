'use strict';

// AbortSignals as every Node from 16 on has them: the first ones know no reason.

/** What a call rejects with whose signal is aborted. */
function reasonOf(signal) {
  if (signal.reason !== undefined) return signal.reason;
  const error = new Error('This operation was aborted');
  error.name = 'AbortError';
  error.code = 'ABORT_ERR';
  return error;
}

function throwIfAborted(signal) {
  if (signal !== undefined && signal !== null && signal.aborted) throw reasonOf(signal);
}

/** Rejects when the signal aborts; the record itself cannot be called back. */
function abortable(signal, resolve, reject) {
  if (signal.aborted) {
    reject(reasonOf(signal));
    return undefined;
  }
  const onAbort = () => reject(reasonOf(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  const settled = (settle) => (value) => {
    signal.removeEventListener('abort', onAbort);
    settle(value);
  };
  return { resolve: settled(resolve), reject: settled(reject) };
}

module.exports = { abortable, throwIfAborted };
