'use strict';

const its = require('./internal.js');

/** One `sendMany` that waits for its records. */
class Tally {
  delivered = 0;
  failures = [];
  /** Records that are not settled, and one more until all are sent. */
  left = 1;

  constructor(resolve, reject) {
    this.resolve = resolve;
    this.reject = reject;
  }

  fail(index, error) {
    this.failures.push({ index, error });
  }

  settle(records) {
    this.left -= records;
    if (this.left > 0) return;
    const { delivered, failures } = this;
    if (failures.length === 0) {
      this.resolve({ delivered });
      return;
    }
    failures.sort((one, other) => one.index - other.index);
    const { error } = failures[0];
    error.failures = failures;
    error.delivered = delivered;
    this.reject(error);
  }
}

/** The records of one call of the addon. */
class Group {
  count = 0;
  failures = 0;
  /** Records that the producer has counted as delivered. */
  counted = 0;
  /** Whether they were sent through the low-level producer: all or none, and without counting. */
  aside = false;
  /** The addon's producer that it was sent by. */
  native = null;
  /** Who waits for each record: resolve, reject and topic, one after the other. */
  waiters = null;
  /** Whose records these are, and the index of the first of them there. */
  tally = null;
  first = 0;

  constructor(producer) {
    this.producer = producer;
  }

  /** The next record has somebody who waits for it. */
  wait(resolve, reject, topic) {
    this.waiters ??= new Array(3 * this.count).fill(null);
    this.waiters.push(resolve, reject, topic);
    this.count++;
  }

  /** Nobody waits for the next record. */
  pass() {
    if (this.waiters !== null) this.waiters.push(null, null, null);
    this.count++;
  }

  /** All records are those of one `sendMany`, from its event of that index on. */
  countFor(tally, first) {
    this.tally = tally;
    this.first = first;
  }

  delivered(index, partition, offset, timestamp) {
    const { waiters } = this;
    if (waiters === null) return;
    const resolve = waiters[3 * index];
    if (resolve === null) return;
    this.counted++;
    this.producer[its.count](this, 1, 0);
    resolve({ topic: waiters[3 * index + 2], partition, offset, timestamp });
  }

  failed(index, error) {
    const { waiters, producer } = this;
    this.failures++;
    producer[its.count](this, 0, 1);
    const reject = waiters === null ? null : waiters[3 * index + 1];
    if (reject !== null) {
      producer[its.onRejected](this, waiters[3 * index + 2], error);
      reject(error);
    } else if (this.tally !== null) {
      this.tally.fail(this.first + index, error);
    } else {
      producer[its.onFailure](error);
    }
  }

  /** All outcomes are told. */
  end() {
    const delivered = this.count - this.failures;
    this.producer[its.count](this, delivered - this.counted, 0);
    this.producer[its.onSettled]();
    if (this.tally !== null) {
      this.tally.delivered += delivered;
      this.tally.settle(this.count);
    }
  }
}

module.exports = { Group, Tally };
